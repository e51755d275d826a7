"""Postfix Deliverability Analytics: the map.

A line's way, in reading order. Each hop hands on values of `maillog.events`; the arrows that are
marked ~ are asynchronous, everything between them is plain function calls on batches of lines.

    receive/              UDP, TCP and RELP sockets → `Lines`, with back-pressure
      listener.py edge.py   what may be listened at; what its sockets share
      udp.py stream.py      datagrams; connections
      wire.py syslog.py relp.py   a connection's octets; what is said on it
    tls.py                certificates, read again without a restart
      maillog/framing.py    RFC 6587: octets → frames
      maillog/relp.py       RELP: octets → messages, and answers to them
    backfill/             log files, plain or packed → the same lines, in chunks
      order.py              which files, the oldest one first
      files.py              opened, unpacked, bounded
      lines.py              chunks of lines; how a file is known again
    reading.py            a file's chunks → parts with what they say, and checkpoints
      apart.py              the same in a process of its own, for large files
    prospects.py          what is done with a file; how its import goes
    importing.py          parts → work
    catchup.py            the configured logs, imported by the service itself
    journal/              what is acknowledged: durable first, then on its way
      keeping.py            when a sender is told; what is read again after a crash
      segments.py sealing.py   its files; what stands in them, encrypted
      checking.py           whether they can be read
      ~
    ingest.py             the two hops inside; what happens when the disk refuses
      work.py               what is on its way there, and what became of it
      maillog/pipeline.py   the whole way of a line on one page:
        maillog/usual.py      most lines, by the block; each other one by what follows
        maillog/syslog.py     header: when, where, which service
        maillog/years.py      the year of a file's stamps that have none
        maillog/postfix.py actions.py   text → one record; what tables and milters did
        maillog/attributes.py   where in it a value ends that somebody else has chosen
        maillog/bounce/       a failure → a verdict, by rules (conf/bounce-rules.xml)
      ~
      store/writer.py       what was told → rows, one transaction
        maillog/correlate.py  what a queue id's lines say together; its lives; bounded memory
        maillog/memory.py     the entries that are remembered, most of them packed
        maillog/lives.py      the lives of a queue id that is used again
        maillog/links.py chain.py   which queue entries are one message
        maillog/clients.py    which application sent it
        maillog/outcome.py    what became of each recipient
        maillog/providers.py  who runs the host it went to
        store/rows.py row.py names.py   its rows; what comes again
        store/facts.py replies.py delays.py packing.py   what of them is packed
        maillog/wholes.py store/sheets.py   rows of new entries, made by who reads a file apart
        store/terms.py pieces.py   what finds it, and where that is kept
        store/address_blocks.py address_runs.py   what finds part of an address; put together
        store/counting.py tally.py   what is counted of them: statistics
        store/stretches.py    when the messages of each stretch of entries were heard of
        store/batch.py lives.py   rows into the database, and what was known out of it
        store/message_ids.py  what surely is not known, without asking
      maillog/pseudonyms.py  erased addresses in whatever a line says
      maillog/rejudge.py    what other rules change of what is known
    store/                SQLCipher; SQL lives here and nowhere else
      driver.py             the database driver, with the system's OpenSSL
      database.py           key, connections, pragmas, the write lock
      schema.py migrations/ tables and how older ones become newer ones
      readers.py            connections for many askers at a time
      wal.py                its write-ahead log
      queries/ verdicts.py   one function per question: filters, pages, lists, stories, statistics
      imports.py            which log files were read, and how far
      journal.py            the secret of the journal
      edits.py audit.py     what somebody asks to be changed, and the account of it
      accounts.py sessions.py  users and tokens; browsers in which somebody has logged in
      removal.py retention.py erasure.py  what is too old, who was erased; what is refused for it
      coverage.py           what the log should have said and did not
      upkeep.py             the database as a whole: check, backup, restore, another key
      outbox.py webhooks.py   what is to be sent, and who is told of changes
      rejects.py            what was refused, at the door and in the queue
      alerts.py             what was found wrong, and its figures
      bounced.py suppressions.py   evidence against addresses, and advice
      addresses.py          what is known of many addresses or messages at a time
        address_sums.py summing.py   of those who are written to often; how it is summed up
      feed.py               what changed, in the order in which it became known
    web/                  what is asked over HTTP
      app.py                the application
      connection.py proxies.py   a request as it comes in, and as a proxy's client made it
      gate.py origin.py networks.py   what it passes first
      sessions.py cookie.py the log-in of browsers
      auth.py logins.py passwords.py throttle.py   who may ask; what a wrong password costs
      asking.py errors.py   questions to the store from Trio; what cannot be served
      editing.py            edits that are asked for over HTTP, on their way to the writer
      original_api.py       the interface of the archived original, exactly
        entries.py environment.py   its log entries and their selection; its server-info
      v1.py                 /api/v1: which rooms it has
        routes.py values.py   how a route of it is declared: types, validation, who may ask
        lists.py messages.py rows.py formats.py   the mail as pages and exports; one message
          streams.py            a body that is made while it is sent
        feed.py webhooks.py   what changed, as a feed and as a stream; who is told of it
        suppressions.py rejects.py   what is known of addresses, and advised; what was refused
        stats.py coverage_api.py   counts, rates and delays; what is missing
        rules_api.py access_api.py erasure_api.py   rules; who may ask; who was erased
        alerts_api.py         what is wrong
        api.py inventory.py   status, /healthz, /metrics; clients, hosts, imports
        openapi.py problems.py  its description from the declarations; the shape of its errors
      pages/                the pages for people (its own map inside)
      ports.py              what the web needs of the running service

    maillog/events/       the vocabulary; imports nothing of ours
    news.py               who waits for a commit
    outgoing.py outbox.py webhooks.py posting.py destinations.py   what is sent to others, until it
                          has arrived
    alerts/               what is wrong, and who is told
      conditions.py course.py   figures → what is wrong; when that is told
      wording.py            what is told
      mail.py hook.py sending.py   how it is sent
      faults.py room.py     errors in the service's own log; the intervals
    service.py            wiring: order of start and stop, signals
    listening.py serving.py   its syslog listeners; its HTTP server
    bindings.py           who may claim which client id, as the correlator takes it
    notify.py logs.py slow.py  what systemd is told; the service's own log
    reload.py             settings read again: what takes effect at once
    housekeeping.py       what the service does to the store by itself
    checkpoints.py        keeps the write-ahead log small
    rooms.py              the parts that write, under one lock
    alone.py              what commands do themselves while no service runs
    tuning.py             the interpreter, where many lines are read
    shipped.py            the rule list that comes with pda
    rulebook.py           the rules in force: where their list comes from; what is asked of them
      fetching.py           a list at an address
      drafts.py             a new rule, into a list and into its file
    orders.py control.py  orders to the running service over a local socket: its two ends
    metrics.py            Prometheus' view of all counters
    paces.py rates.py     how quickly some of them grow: samples, and the rates out of them
    trying.py             the lines of a message to try with, sent to the service itself
    times.py texts.py     moments as they are written; texts of a log, harmless where they are shown
    config/               pda.toml + environment → checked `Settings`
      settings.py values.py checks.py reading.py
    client/ answers.py    the API for Python programs; needs nothing of ours
    cli.py                the command line (__main__.py: `python -m pda`)
      cli_rules.py cli_backfill.py cli_access.py cli_db.py cli_alerts.py
      cli_shared.py         what its commands share
      output.py output_imports.py   what they print

Imports go downhill (tests/test_architecture.py): `maillog` imports only `maillog` and does no I/O,
`store` only `maillog.events`, `web` only `store`, `maillog.events`, `times` and `texts`, `receive`
only `maillog.framing`, `maillog.relp` and `tls`, `journal` only `receive` and `store.database`,
`control` only `orders`, `orders` only `store`, `backfill`, `times`, `texts` and `config` nothing of
ours; `service`, `rooms` and `cli` see all.
"""
