"""Every parser of what others may send, as a function of octets that must not fail; and seeds.

`tests/test_hostile.py` tries each for a moment, `tools/fuzz` for as long as it is told to. What was
found once stands in `FOUND` and is tried for ever.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from urllib.parse import parse_qs

import msgspec
from hypothesis import strategies as st

from pda import backfill, config, orders
from pda.backfill import BackfillError, LogFile, Mark
from pda.config import ConfigError
from pda.config.settings import Settings
from pda.journal.sealing import ForeignError, Kept, Seal
from pda.journal.sealing import read as unsealed
from pda.maillog import bounce, postfix
from pda.maillog.clients import ClientRules
from pda.maillog.correlate import Correlator, gather
from pda.maillog.events import Failure
from pda.maillog.framing import FrameDecoder, FramingError
from pda.maillog.pipeline import Pipeline
from pda.maillog.pseudonyms import Pseudonyms
from pda.maillog.relp import RelpServer
from pda.maillog.syslog import HeaderReader
from pda.maillog.wholes import whole, worked_out
from pda.store.sheets import Sheets
from pda.times import moment
from pda.web.access_api import AuditQuery
from pda.web.errors import Invalid
from pda.web.feed import ChangesQuery
from pda.web.rules_api import Asked, UnclassifiedQuery
from pda.web.suppressions import SuppressionsQuery
from pda.web.values import read_json, read_text, read_texts
from tests.support import NOW, RULES, RULES_XML, attempt, line, message

LIMIT = 2000
KEPT = Kept([b"<22>one", b"two"], NOW, "UTC", "mx1")
_SECRET = b"s" * 32
_SEAL = Seal(_SECRET)
ANN = Pseudonyms(b"s", [Pseudonyms(b"s", []).hash("rcpt@example.org")])


def frames(data: bytes) -> None:
    """RFC 6587: whole or in pieces it is the same."""
    assert _decoded([data]) == _decoded(data[at : at + 7] for at in range(0, len(data), 7))


def _decoded(pieces: object) -> list[bytes]:
    decoder, found = FrameDecoder(LIMIT), []
    with suppress(FramingError):
        for piece in pieces:  # type: ignore[attr-defined]  # octets
            found += decoder.feed(piece)
            if decoder.error is not None:
                break
        decoder.close()
    assert all(0 < len(frame) <= LIMIT for frame in found)
    return found


def relp(data: bytes) -> None:
    """Whole or in pieces it is the same, and nothing is answered before it is stored."""
    whole, pieces = RelpServer(LIMIT), RelpServer(LIMIT)
    messages = whole.feed(data)
    assert messages == [m for at in range(0, len(data), 7) for m in pieces.feed(data[at : at + 7])]
    assert whole.outgoing() == pieces.outgoing()
    whole.stored(len(messages))
    whole.outgoing()


def journal(data: bytes) -> None:
    """Nothing is read that was not written."""
    with suppress(ForeignError):
        assert all(batch == KEPT for batch in unsealed(data, _SECRET).batches)


def header(data: bytes) -> None:
    """Any line has a header or has none."""
    found = HeaderReader(config.zone("Europe/Prague"), "mx").read(_text(data), NOW)
    assert found is None or isinstance(found.at, int)


def record(data: bytes) -> None:
    """Any text of Postfix's is a record."""
    program, _, text = _text(data).partition("\n")
    for one in (program, "smtp", "qmgr", "smtpd", "cleanup", "rsyslogd"):
        queue_id, said = postfix.read(text, one, "postfix")
        assert len(queue_id) <= 255
        assert said.kind()


def lines(data: bytes) -> None:
    """The whole way of lines: each is counted once, and what they say fits together."""
    pipeline = Pipeline(RULES)
    each = data.split(b"\n")
    told = gather(pipeline.source().read(each, NOW))
    assert pipeline.tally.lines == len(each)
    correlator = Correlator(ClientRules())
    correlator.add(told, {})
    assert not correlator.add(told, {})  # known already
    lives, _ = worked_out(told, ClientRules())
    if lives:
        Sheets().of(lives, [*map(whole, lives)])
    erased = ANN.told(told)
    assert ANN.told(erased) == erased


def rules(data: bytes) -> None:
    """A rule list is taken or refused, with the lines of its mistakes."""
    with suppress(bounce.RuleError):
        bounce.load(data)


def settings(data: bytes) -> None:
    """`pda.toml` is taken or refused."""
    with tempfile.NamedTemporaryFile() as file:
        Path(file.name).write_bytes(data)
        with suppress(ConfigError):
            assert isinstance(config.load(Path(file.name), {}), Settings)


def environment(data: bytes) -> None:
    """The environment is taken or refused."""
    names = sorted(config.environment_names())
    name, value = names[len(data) % len(names)], _text(data).replace("\0", "")
    with tempfile.NamedTemporaryFile() as file, suppress(ConfigError):
        config.load(Path(file.name), {name: value})


def query(data: bytes) -> None:
    """Parameters of the API are taken or refused, each with its name."""
    texts = parse_qs(_text(data), keep_blank_values=True, max_num_fields=None)
    for kind in (AuditQuery, ChangesQuery, SuppressionsQuery, UnclassifiedQuery):
        with suppress(Invalid):
            read_texts(kind, texts, "query")
    with suppress(ValueError):
        read_text(int, _text(data))
    with suppress(ValueError):
        moment(_text(data))


def body(data: bytes) -> None:
    """Bodies of the API are taken or refused."""
    with suppress(Invalid):
        found = read_json(Asked, data)
        RULES.classify(Failure(found.reason, found.dsn, found.status, found.relay))


def order(data: bytes) -> None:
    """Orders over the control socket are understood or not."""
    with suppress(ValueError):  # as `control` has it: octets that are no UTF-8 are one
        msgspec.json.decode(data, type=orders.Order)


def archive(data: bytes) -> None:
    """A log file, plain or packed, is read as far as it can be, in bounded pieces."""
    with tempfile.TemporaryFile() as file:
        file.write(data)
        file.flush()
        os.lseek(file.fileno(), 0, os.SEEK_SET)
        log = LogFile("log", file.fileno())
        with suppress(BackfillError):
            for chunk in backfill.chunks(log, Mark()):
                assert all(len(one) <= 1024 * 1024 for one in chunk.lines)


def _text(data: bytes) -> str:
    return data.decode("utf-8", "backslashreplace")


TARGETS: Mapping[str, Callable[[bytes], None]] = {
    one.__name__: one
    for one in (
        frames, relp, journal, header, record, lines, rules, settings, environment, query, body, order,
        archive,
    )
}  # fmt: skip

_MESSAGE = message(deliveries=[attempt(), attempt("bounced", dsn="5.1.1", reason="said: 550 no")])
_SEEDS: Mapping[str, list[bytes]] = {
    "frames": [b"5 <22>x3 <1>", b"<22>a\n<22>b\0", b"99999999 <", b"12 <22>a\n"],
    "relp": [b"1 open 32 relp_version=0\ncommands=syslog\n\n2 syslog 4 <22>\n3 close 0\n"],
    "journal": [_SEAL.header() + _SEAL.record(1, [KEPT]) + _SEAL.record(2, [KEPT, KEPT])],
    "header": [
        line("x"), b"<22>Mar 10 10:00:00 mx1 postfix/smtp[1]: x", b"<22>1 - - - - - - x",
        b"<22>1 2026-03-10T10:00:00.1+01:00 mx1 postfix/smtp 42 - [a b=\"c\\]\"] x",
        b"2026-03-10 10:00:00 mx1 postfix/smtp[1]: message repeated 3 times: [ x]",
        b"<22>Feb 29 23:59:60 mx1 postfix[1]: x", b"1741600800.123 mx1 postfix/smtp[1]: x",
    ],
    "record": [b"smtp\n" + one.partition(b"]: ")[2] for one in _MESSAGE]
    + [b"smtpd\nNOQUEUE: reject: RCPT from x[192.0.2.1]: 550 5.1.1 <a@b>: no; from=<a@b> to=<c@d>"],
    "lines": [b"\n".join(_MESSAGE), *_MESSAGE],
    "rules": [RULES_XML[:1500], b"<bounceCategories/>", b"<!DOCTYPE x [<!ENTITY a 'b'>]><x>&a;</x>"],
    "settings": [(Path(__file__).parent.parent / "conf/pda.toml").read_bytes()[:900], b"[[receive.listener]]\nlisten='tcp://[::1]:1'\n", b"[clients.bindings.x]\nlocal=1\n"],
    "environment": [b"true", b"tcp://127.0.0.1:1, udp://[::1]:2", b"1e400"],
    "query": [b"limit=5&before=7", b"from=2026-11-02&to=1793606400000", b"a=%00&a=%ff"],
    "body": [b'{"reason": "550 no", "dsn": "5.1.1"}'],
    "order": [b'{"type": "status"}', b'{"type":"edit","edit":{"type":"remove-user","name":"a"}}'],
    "archive": [b"\x1f\x8b\x08\x00", b"\xfd7zXZ\x00", b"BZh9", b"(\xb5/\xfd", b"a\nb"],
}  # fmt: skip

FOUND: Mapping[str, list[bytes]] = {
    "lines": [
        _MESSAGE[3].replace(b"org>", b"org\xf4[a@b>"),  # a backslash in what stands for an address
        _MESSAGE[3].replace(b"<rcpt", b"<\0rcpt"),
    ],
    "order": [b'{"type": "\x80status"}'],
    "body": [b'{"reason": "\x80"}'],
}
"""What a parser once failed at."""


def inputs(target: str) -> st.SearchStrategy[bytes]:
    """Octets near to what a parser is made for."""
    seeds = st.sampled_from(_SEEDS[target])
    piece = st.one_of(
        st.binary(max_size=20),
        st.sampled_from(
            [b"\0", b"\n", b"\xff", b"9" * 30, b"[", b"]: ", b"<", b">", b"=", b"\xc3"]
        ),
        seeds,
    )
    edit = st.tuples(st.integers(0, 600), st.integers(0, 30), piece)
    return st.builds(_edited, seeds, st.lists(edit, max_size=6))


def _edited(seed: bytes, edits: list[tuple[int, int, bytes]]) -> bytes:
    for where, gone, new in edits:
        at = where % (len(seed) + 1)
        seed = seed[:at] + new + seed[at + gone :]
    return seed
