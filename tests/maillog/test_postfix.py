"""Lines of Postfix's and what they say; and that nobody can forge one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pda.maillog import postfix
from pda.maillog.actions import ACTIONS
from pda.maillog.events.shown import fields
from pda.maillog.syslog import HeaderReader
from tests.support import NOW

Q = "4jXPlN1VQlzJbSD"


def read(text: str, program: str = "smtp", name: str = "postfix") -> dict[str, object]:
    queue_id, record = postfix.read(text, program, name)
    return {"kind": record.kind(), "queue_id": queue_id, **fields(record)}


WAY = "relay=mx[192.0.2.1]:25, conn_use=2, delay=9, delays=9/0/0/0, tls=may, dsn=2.0.0, status=sent (ok)"
DELIVERED: dict[str, object] = {
    "kind": "delivery", "recipient": "a@b.example", "relay": "mx[192.0.2.1]:25", "conn_use": 2,
    "delay": 9.0, "delays": [9, 0, 0, 0], "tls": "may", "dsn": "2.0.0", "status": "sent", "reason": "ok",
}  # fmt: skip
# What a later Postfix may write between the attributes that are known.
OTHER_ATTRIBUTES: list[tuple[str, dict[str, object]]] = [
    (f", foo=<q>, {WAY}", {}),
    (f", orig_to=<root>, f-1=a b, _2=<>, {WAY}", {"orig_to": "root"}),
    (f", a=1, orig_to=root, b=2, {WAY}", {"orig_to": "root"}),
    *[(f", {WAY.replace(after, f'{after}, {new}')}", {})
      for after in (":25", "use=2", "delay=9", "0/0/0", "=may", "2.0.0")
      for new in ("foo=bar", "TLS-1_x=", "to2=<a, b@c>", 'q="a, delay=3, \\", dsn=4.0.0"',
                  'a=<"x>, relay=none"@y>, b=1', "c=(d) [e]")],
    (f", {WAY.replace('mx[192.0.2.1]:25', 'me[/run/a, b=<c>,d]')}", {"relay": "me[/run/a, b=<c>,d]"}),
    (f", a=1, {WAY.replace('mx[192.0.2.1]:25', 'me[private/a,b]')}", {"relay": "me[private/a,b]"}),
]  # fmt: skip
# As Postfix wrote them before 3.5: what looks like an attribute goes on beyond the `>`.
RAW_ADDRESSES = [
    "a>b@c", "a b@c", "a, relay=x@c", "a>, foo=b@c", "a> c@d", 'a"b>@c',
    '"a>, foo=<q>, relay=none, delay=1, dsn=5.0.0, status=bounced (x"@c',
    '"a\\\\\\">, foo=<"@c', "",
]  # fmt: skip
UNKNOWN: dict[str, object] = {"kind": "unknown"}
UNENDED = [
    'a>, foo="b@c',
    "a>, relay=none, b@c",
    "a>, delay=1, status=sent (x@c",
    'a>, b=c, d="@e>, relay=none, delay=1, delays=1/0/0/0, dsn=5.0.0, status=bounced (x',
    'a>, relay=none, x=<"b>, relay=none, delay=1, delays=1/0/0/0, dsn=5.0.0, status=bounced (x',
    '"a',
    '"a>, relay=none, delay=1, delays=1/0/0/0, dsn=5.0.0, status=bounced (x',
    '"a\\">, foo=<q',
]
CONNECTED: dict[str, object] = {
    "kind": "smtpd-client",
    "client_host": "h",
    "client_ip": "192.0.2.7",
}
LOGINS: list[tuple[str, dict[str, object]]] = [
    (", foo=bar", {}),
    (":25, foo=bar, sasl_new=<a, b>, orig_new=", {}),
    (", a=1, sasl_method=PLAIN, b-2=3, sasl_username=me, you, c=<d>",
     {"sasl_method": "PLAIN", "sasl_username": "me, you"}),
    (', sasl_method=PLAIN, sasl_username=me, x="y, z", sasl_sender=he, orig_x=1, orig_queue_id=AAAAAAA1,'
     " orig_y=2, orig_client=g[192.0.2.8], z=3",
     {"sasl_method": "PLAIN", "sasl_username": "me", "sasl_sender": "he", "orig_queue_id": "AAAAAAA1",
      "orig_client": "g[192.0.2.8]"}),
    (", orig_queue_id=AAAAAAA1, sasl_x=1", {"orig_queue_id": "AAAAAAA1"}),
]  # fmt: skip

LINES: list[tuple[str, dict[str, object]]] = [
    (
        f"{Q}: to=<a@b.example>, relay=mx.b.example[192.0.2.1]:25, delay=0.1, delays=0.1/0/0/0,"
        " dsn=2.0.0, status=sent (250 Ok (really))",
        {"kind": "delivery", "recipient": "a@b.example", "relay": "mx.b.example[192.0.2.1]:25",
         "delay": 0.1, "delays": [0.1, 0, 0, 0], "dsn": "2.0.0", "status": "sent",
         "reason": "250 Ok (really)"},
    ),
    (
        f'{Q}: to=<"x>, relay=none"@b.example>, orig_to=<root>, relay=local, conn_use=3, delay=43,'
        " delays=1/2/3/4, tls=may:none, dsn=5.1.1, status=bounced (no, status=sent (x)",
        {"kind": "delivery", "recipient": '"x>, relay=none"@b.example', "orig_to": "root",
         "relay": "local", "conn_use": 3, "tls": "may:none", "status": "bounced",
         "reason": "no, status=sent (x"},
    ),
    (
        f"{Q}: to=<a@b.example>, relay=none, delay=0, new_attribute=5, dsn=4.4.1,"
        " status=deferred (cut off",
        {"kind": "delivery", "status": "deferred", "reason": "cut off", "delay": 0.0},
    ),
    (f"{Q}: to=<a@b>, relay=none, delay=7, status=sent", {"kind": "delivery", "reason": ""}),
    *[(f"{Q}: to=<{raw}>, {WAY}", {**DELIVERED, "recipient": raw}) for raw in RAW_ADDRESSES],
    *[(f"{Q}: to=<{said}>, {WAY}", UNKNOWN) for said in UNENDED],
    (f"{Q}: message-id=<a@b>", {"kind": "message-id", "message_id": "a@b", "message_id_raw": "<a@b>"}),
    (f"{Q}: message-id=a b", {"kind": "message-id", "message_id": "a b"}),
    (f"{Q}: resent-message-id=<a@b>", {"kind": "message-id", "resent": True}),
    (f"{Q}: from=<s@x>, size=12, nrcpt=2 (queue active)",
     {"kind": "qmgr-from", "sender": "s@x", "size": 12, "nrcpt": 2}),
    (f"{Q}: from=<s@x>, foo=<q>, size=12, bar=1, b-2=\"x, y\", nrcpt=2 (queue active)",
     {"kind": "qmgr-from", "sender": "s@x", "size": 12, "nrcpt": 2}),
    (f"{Q}: from=<>, status=expired, returned to sender", {"kind": "expired", "sender": "", "status": "expired"}),
    (f"{Q}: from=<s@x>, status=force-expired, returned to sender", {"kind": "expired", "status": "force-expired"}),
    (f"{Q}: removed", {"kind": "removed"}),
    (f"{Q}: removed (canceled)", {"kind": "removed", "detail": "canceled"}),
    (f"{Q}: sender non-delivery notification: 4jXPlN1kTYzJbRK",
     {"kind": "notification", "notify": "sender", "notify_type": "non-delivery",
      "notification_queue_id": "4jXPlN1kTYzJbRK"}),
    (f"{Q}: client=h.example[2001:db8::1]:25, sasl_method=PLAIN, sasl_username=me, you",
     {"kind": "smtpd-client", "client_host": "h.example", "client_ip": "2001:db8::1",
      "sasl_username": "me, you"}),
    (f"{Q}: uid=0 from=<root> orig_id=ABCDEF0", {"kind": "pickup", "uid": 0, "orig_id": "ABCDEF0"}),
    (
        f"{Q}: info: header client-id: a from b[192.0.2.3]; x from h.example[192.0.2.9];"
        " from=<s@x> to=<r@y> proto=ESMTP helo=<app>",
        {"kind": "header-info", "header_name": "client-id",
         "header_value": "a from b[192.0.2.3]; x", "client_ip": "192.0.2.9", "sender": "s@x"},
    ),
    (f"{Q}: hold: header X: y from local; from=<s@x>", {"kind": "header-action", "action": "hold"}),
    (
        "NOQUEUE: reject: RCPT from unknown[192.0.2.7]: 550 5.1.1 <r@y>: no; from=<s@x> to=<r@y>"
        " proto=ESMTP helo=<z>",
        {"kind": "reject", "queue_id": "NOQUEUE", "where": "RCPT", "reply_code": "550",
         "dsn": "5.1.1", "reason": "550 5.1.1 <r@y>: no", "recipient": "r@y", "helo": "z"},
    ),
    (
        "NOQUEUE: reject: RCPT from h[192.0.2.7]: 550 no; from=<s@x> to=<r@y> proto=ESMTP helo=<z>"
        " sasl_method=PLAIN sasl_username=me, you new=2",
        {"kind": "reject", "reason": "550 no", "sender": "s@x", "recipient": "r@y", "helo": "z",
         "sasl_username": "me, you"},
    ),
    (f"{Q}: reject: mime-error nested: from x from unknown; from=<s@x> to=<unknown>",
     {"kind": "reject", "where": "mime-error", "reason": "nested: from x", "sender": "s@x"}),
    (f"{Q}: placed on hold", {"kind": "queue-op", "operation": "placed on hold"}),
    ("connect from unknown[192.0.2.7]", {"kind": "ignored"}),
    ("Deleted: 3 messages", {"kind": "ignored", "queue_id": ""}),
    ("Expired: 1 message", {"kind": "ignored", "queue_id": ""}),
    ("Requeued: 2 messages", {"kind": "ignored", "queue_id": ""}),
    (f"{Q}: host mx[192.0.2.7] said: 450 later (in reply to RCPT TO command)", {"kind": "ignored"}),
    (f"warning: {Q}: to=<a@b>, relay=none, delay=0, status=sent (x)", {"kind": "ignored"}),
    (f"{Q}: something quite new", {"kind": "unknown"}),
]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "expected"), LINES, ids=lambda x: x[:50] if isinstance(x, str) else ""
)
def test_golden_lines(text: str, expected: dict[str, object]) -> None:
    found = read(text)
    assert found | expected == found


# Of a connection or a daemon, not of a message's way.
KNOWN = [
    ("postscreen", "DISCONNECT [192.0.2.1]:43421"),
    ("postscreen", "entering STRESS mode with 80 connections"),
    ("postscreen", "DATA without valid RCPT from [192.0.2.1]:43421"),
    ("postscreen", "ALLOWLIST VETO [192.0.2.1]:43421"),
    ("postfix-script", "See http://www.postfix.org/COMPATIBILITY_README.html for details"),
    ("postfix-script", 'To disable backwards compatibility use "postconf compatibility_level=3.6"'),
    ("postsuper", "Renamed to match inode number: 1 message"),
    ("smtp", "mx[192.0.2.1]:25: subject_CN=mx, issuer_CN=ca, fingerprint=AA, pkey_fingerprint=BB"),
    ("smtp", "mx[2001:db8::1]:25: Matched subjectAltName: mx"),
    ("smtp", "mx[192.0.2.1]:25: re-using session with untrusted certificate"),
    ("smtp", "SSL_connect:before SSL initialization"),
    ("smtp", "discarding EHLO keywords: 8BITMIME STARTTLS"),
    ("smtp", f"{Q}: discarding EHLO keywords: 8BITMIME"),
    ("smtp", f"{Q}: Used TLS for mx[192.0.2.1]:25"),
    ("smtp", "> mx[192.0.2.1]:25: EHLO me"),
    ("bounce", f"{Q}: not sending trace/success notification for single-bounce message"),
]


@pytest.mark.parametrize(("program", "text"), KNOWN)
def test_what_is_said_of_connections_is_known(program: str, text: str) -> None:
    assert read(text, program)["kind"] == "ignored"


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("removed", "removed"),
        ("requeued", "queue-op"),
        ("sender delay notification: ABCDEF0", "notification"),
        ("from=<a@b>, status=expired, returned to sender", "expired"),
        ("uid=0 from=<root> orig_id=ABCDEF0", "pickup"),
        ("client=h[192.0.2.7], orig_queue_id=ABCDEF0", "smtpd-client"),
        (f"to=<a@b>, {WAY}", "delivery"),
    ],
)
def test_blanks_that_a_template_puts_behind_change_nothing(text: str, kind: str) -> None:
    assert read(f"{Q}: {text} ", "qmgr") == read(f"{Q}: {text}", "qmgr")
    assert read(f"{Q}: {text}", "qmgr")["kind"] == kind


@pytest.mark.parametrize("action", sorted(ACTIONS - {"warning"}))
def test_no_action_is_taken_for_a_queue_id(action: str) -> None:
    """Some logs have lost their ids; lines of a proxy have none."""
    found = read(f"{action}: RCPT from h[192.0.2.7]: 450 no; from=<a@b> to=<c@d>", "smtpd")
    assert (found["queue_id"], found["recipient"]) == ("", "c@d")


@pytest.mark.parametrize(
    ("text", "expected"),
    [(f"to=<a@b.example>{text}", {**DELIVERED, **others}) for text, others in OTHER_ATTRIBUTES]
    + [(f"client=h[192.0.2.7]{text}", {**CONNECTED, **others}) for text, others in LOGINS],
)
def test_other_attributes_change_nothing(text: str, expected: dict[str, object]) -> None:
    assert read(f"{Q}: {text}") == {"queue_id": Q, **expected}


@pytest.mark.parametrize(
    ("program", "text", "lines"),
    [
        ("rsyslogd", "imjournal: 4711 messages lost due to rate-limiting (20000 allowed within 600"
         " seconds)", 4711),
        ("rsyslogd-2177", "imuxsock lost 49 messages from pid 32740 due to rate-limiting", 49),
        ("rsyslogd", "imuxsock[pid 42]: 7 messages lost due to rate-limiting (5 allowed within 3"
         " seconds) [v8.2302.0]", 7),
        ("systemd-journald", "Suppressed 1234 messages from system-postfix.slice", 1234),
        ("systemd-journald", "Forwarding to syslog missed 12 messages.", 12),
    ],
)  # fmt: skip
def test_lines_that_were_lost_before_anybody_could_send_them(
    program: str, text: str, lines: int
) -> None:
    assert read(text, program, "") == {"kind": "lines-lost", "queue_id": "", "lines": lines}
    # Postfix's programs, and whoever writes into their lines, cannot say so.
    assert read(text, "smtpd")["kind"] != "lines-lost"
    assert read(text, "dovecot", "")["kind"] == "ignored"


@pytest.mark.parametrize(
    "text", ["Suppressed 9 messages from nginx.service", "9 messages lost", "x" * 9000]
)
def test_what_loggers_say_besides(text: str) -> None:
    assert read(text, "rsyslogd", "")["kind"] == "ignored"


def test_what_is_not_postfix_is_ignored() -> None:
    text = f"{Q}: to=<a@b>, relay=none, delay=0, dsn=2.0.0, status=sent (x)"
    assert read(text, "dovecot", "")["kind"] == "ignored"
    assert read(text, "smtp", "mailout")["kind"] == "delivery"
    assert read(text, "postfix", "")["kind"] == "delivery"


NAME = "mailout-of-a-company-in-europe-and-asia"  # longer than what is left of a tag


@pytest.mark.parametrize("kept", range(20, 39))
@pytest.mark.parametrize(
    ("program", "text", "kind"),
    [
        ("smtp", f"to=<a@b>, {WAY}", "delivery"),
        ("smtpd", "client=h[192.0.2.7]", "smtpd-client"),
        ("qmgr", "removed", "removed"),
        ("postsuper", "removed", "removed"),
        ("smtp", "something quite new", "unknown"),
    ],
)
def test_no_tag_that_was_cut_hides_a_line(program: str, text: str, kind: str, kept: int) -> None:
    """rsyslog leaves 32 characters: it is read by its text, or unknown where it may be anybody's."""
    tag = f"{NAME[:kept]}/{program}[1234567]:"[:32]
    header = HeaderReader().read(f"<22>Mar 10 10:00:00 mx1 {tag} {Q}: {text}", NOW)
    assert header is not None
    found = read(header.text, header.program, header.syslog_name)
    _, slash, cut = tag.partition("/")
    if not slash:
        assert found == {"kind": "ignored" if kind == "unknown" else "unknown", "queue_id": ""}
    else:
        assert (found["kind"], found["queue_id"]) == (kind, Q)
    if text == "removed" and slash:
        assert found.get("agent", "") == ("postsuper" if cut[:1] == "p" else "")


def test_another_program_whose_name_was_cut_is_not_postfix() -> None:
    for name in ("org.freedesktop.service-of-it-xy", "org.freedesktop.service-of-its/x"):
        where, _, program = name.rpartition("/")
        assert len(name) == 32
        assert read("started", program, where)["kind"] == "ignored"
        assert read(f"{Q}: anything", program, where)["kind"] == "ignored"
        assert read(f"{Q}: removed", program, where) == {"kind": "unknown", "queue_id": ""}
    assert read(f"{Q}: removed", "service-of-its", "org.freedesktop")["kind"] == "ignored"


FORGED = f"{Q}: to=<victim@x>, relay=none, delay=0, delays=0/0/0/0, dsn=5.0.0, status=bounced (x)"
CHOSEN = st.one_of(
    st.just(FORGED), st.just(f"x: {FORGED}"), st.just(f"]: {Q}: removed"), st.text(max_size=60),
    st.text('<>, =()[];:"\\ @fromtostaus', max_size=60),
)  # fmt: skip


@given(CHOSEN)
def test_a_message_id_stays_a_message_id(chosen: str) -> None:
    record = read(f"{Q}: message-id=<{chosen}>", "cleanup")
    expected = {"kind": "message-id", "queue_id": Q, "message_id_raw": f"<{chosen}>"}
    assert record | expected == record


@given(CHOSEN)
def test_a_reply_stays_a_reply(chosen: str) -> None:
    found = read(
        f"{Q}: to=<a@b>, relay=none, delay=0, delays=0/0/0/0, dsn=4.0.0, status=deferred"
        f" (host h[192.0.2.1] said: 450 {chosen} (in reply to RCPT TO command))"
    )
    assert (found["kind"], found["recipient"], found["status"]) == ("delivery", "a@b", "deferred")
    assert chosen in str(found["reason"])


@given(CHOSEN)
def test_a_header_value_stays_in_its_header(chosen: str) -> None:
    found = read(
        f"{Q}: info: header client-id: {chosen} from h[192.0.2.1]; from=<s@x> to=<r@y>", "cleanup"
    )
    assert (found["kind"], found["queue_id"]) == ("header-info", Q)
    assert found["client_ip"] == "192.0.2.1"
    assert found["header_value"] == chosen.strip(" ")


@given(st.text(max_size=200))
def test_any_text_is_read(text: str) -> None:
    read(text)
    read(f"{Q}: {text}")
    read(f"{Q}: to=<{text}")
