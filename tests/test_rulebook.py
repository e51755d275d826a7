"""Rule lists from files and addresses: credentials, limits, and what is refused."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import pytest

from pda import config, shipped
from pda.config import ConfigError, RuleSettings
from pda.maillog import bounce
from pda.maillog.events import Failure
from pda.rulebook import RuleBook, read_list
from tests.certificates import Authority

LIST = b"""<bounces>
<regex id="a" category="policy" on="reply"><or>cat</or></regex>
</bounces>"""
BETTER = LIST.replace(b'id="a"', b'id="b"')
BAD = LIST.replace(b"<or>", b"<or>(")
AUTHORIZATION = "Basic cnVsZXM6c2VjcmV0"  # rules:secret
CAT = Failure("cat", "", "bounced", "")


class Handler(BaseHTTPRequestHandler):
    """Serves a list at /rules.xml to whoever knows the password, and what must not be taken."""

    seen: ClassVar[list[tuple[str, str | None]]] = []
    xml = LIST

    def do_GET(self) -> None:
        authorization = self.headers.get("Authorization")
        self.seen.append((self.path, authorization))
        if self.path == "/moved":
            self.send_response(302)
            self.send_header("Location", "/rules.xml")
            self.end_headers()
            return
        known = authorization == AUTHORIZATION or self.path != "/rules.xml"
        self.send_response(200 if known else 401)
        self.end_headers()
        self.wfile.write(b"x" * (2 << 20) if self.path == "/large" else self.xml)

    def log_message(self, *_: object) -> None:
        """Tests are quiet."""


@pytest.fixture
def address(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Of a server with a rule list."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(Handler, "seen", [])
    with serving() as found:
        yield found


@contextmanager
def serving(xml: bytes = LIST, tls: ssl.SSLContext | None = None) -> Iterator[str]:
    """The address of a server with this list."""
    Handler.xml = xml
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"{'https' if tls else 'http'}://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def password_file(tmp_path: Path) -> Path:
    path = tmp_path / "password"
    path.write_text("secret\n")
    path.chmod(0o600)
    return path


def test_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "rules.xml"
    path.write_bytes(LIST)
    book = RuleBook(RuleSettings(str(path)))
    first = book.edition
    assert book.rules.classify(CAT).rule == "a"
    again = book.read()
    assert again.rules is first.rules  # what it remembers is still right
    assert again.loaded_at > first.loaded_at
    path.write_bytes(BETTER)
    book.adopt(book.read())
    assert book.rules.classify(CAT).rule == "b"
    assert book.edition.digest != first.digest


@pytest.mark.parametrize(
    ("content", "said"), [(BAD, "line 2: RE2 refuses"), (None, "cannot be read"), (b"x" * (2 << 20), "1048576 are allowed")]
)  # fmt: skip
def test_a_bad_file_keeps_the_old_rules(tmp_path: Path, content: bytes | None, said: str) -> None:
    path = tmp_path / "rules.xml"
    path.write_bytes(LIST)
    book = RuleBook(RuleSettings(str(path)))
    if content is None:
        path.unlink()
    else:
        path.write_bytes(content)
    with pytest.raises(ConfigError, match=said) as caught:
        book.read()
    book.refuse(caught.value)
    assert said in book.refused
    assert book.rules.classify(CAT).rule == "a"
    path.write_bytes(LIST)
    book.adopt(book.read())
    assert (book.refused, book.refused_at) == ("", 0)


def test_from_an_address_with_credentials(address: str, password_file: Path) -> None:
    settings = RuleSettings(f"{address}/rules.xml", "rules", str(password_file))
    assert RuleBook(settings).rules.classify(CAT).rule == "a"
    assert Handler.seen == [("/rules.xml", AUTHORIZATION)]


def test_over_tls_only_from_a_server_that_is_trusted(
    password_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(Handler, "seen", [])
    authority = Authority(tmp_path)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(*authority.issue("127.0.0.1"))
    with serving(tls=tls) as address:
        settings = RuleSettings(f"{address}/rules.xml", "rules", str(password_file))
        with pytest.raises(ConfigError, match="certificate verify failed"):
            read_list(settings)
        assert Handler.seen == []  # no password for whoever answers
        monkeypatch.setenv("SSL_CERT_FILE", str(authority.file))
        assert RuleBook(settings).rules.classify(CAT).rule == "a"
    assert Handler.seen == [("/rules.xml", AUTHORIZATION)]


def test_a_wrong_password_is_told_and_not_shown(address: str, password_file: Path) -> None:
    password_file.write_text("wrong")
    settings = RuleSettings(f"{address}/rules.xml", "rules", str(password_file))
    with pytest.raises(ConfigError, match="the server answers 401") as caught:
        read_list(settings)
    assert "wrong" not in str(caught.value)


def test_a_redirect_is_not_followed(address: str, password_file: Path) -> None:
    settings = RuleSettings(f"{address}/moved", "rules", str(password_file))
    with pytest.raises(ConfigError, match="the server answers 302"):
        read_list(settings)
    assert [path for path, _ in Handler.seen] == ["/moved"]


def test_a_large_answer_is_not_read_to_its_end(address: str) -> None:
    with pytest.raises(ConfigError, match="1048576 are allowed"):
        RuleBook(RuleSettings(f"{address}/large"))


def test_a_server_that_never_ends_its_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr("pda.fetching.FETCH_S", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as server:
        settings = RuleSettings(f"http://127.0.0.1:{server.getsockname()[1]}/")
        with pytest.raises(ConfigError, match="cannot be read"):
            read_list(settings)


def test_nobody_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with pytest.raises(ConfigError, match=r"/ cannot be read: Connection refused$"):
        read_list(RuleSettings(f"http://127.0.0.1:{port}/"))


def test_an_address_that_does_not_answer_at_the_start(address: str, tmp_path: Path) -> None:
    """The last good list from there stands in, or the one that comes with pda."""
    settings, copy = RuleSettings(f"{address}/list"), tmp_path / "rules.xml"
    Handler.xml = BAD
    book = RuleBook(settings, copy)
    assert len(book.rules.rules) > 50
    assert (book.source, book.is_substitute) == ("the list that comes with pda", True)
    assert "line 2: RE2 refuses" in book.refused
    assert not copy.exists()

    Handler.xml = LIST
    book.adopt(book.read())
    assert (book.source, book.is_substitute, book.refused) == (settings.file, False, "")
    assert copy.read_bytes() == LIST

    Handler.xml = BETTER
    assert RuleBook(settings, copy).rules.classify(CAT).rule == "b"
    Handler.xml = b"<html>back soon</html>"
    again = RuleBook(settings, copy)
    assert again.rules.classify(CAT).rule == "b"
    assert (again.source, again.is_substitute) == (f"the last good list of {settings.file}", True)
    assert again.refused_at


def test_a_copy_that_cannot_be_kept_or_used_hinders_nothing(address: str, tmp_path: Path) -> None:
    settings = RuleSettings(f"{address}/list")
    assert not RuleBook(settings, tmp_path / "nowhere" / "rules.xml").refused
    copy = tmp_path / "rules.xml"
    copy.write_bytes(BAD)
    Handler.xml = BAD
    assert RuleBook(settings, copy).source == "the list that comes with pda"


def test_nothing_stands_in_for_a_file(tmp_path: Path) -> None:
    copy = tmp_path / "copy.xml"
    copy.write_bytes(LIST)
    with pytest.raises(ConfigError, match="No such file"):
        RuleBook(RuleSettings(str(tmp_path / "absent.xml")), copy)
    with pytest.raises(ConfigError, match="Connection refused"):
        RuleBook(RuleSettings("http://127.0.0.1:1/"))


def test_a_password_that_all_can_read(address: str, password_file: Path) -> None:
    password_file.chmod(0o644)
    with pytest.raises(ConfigError, match="chmod 0600"):
        read_list(RuleSettings(address, "rules", str(password_file)))
    with pytest.raises(ConfigError, match=r"rules\.password_file: .* cannot be read"):
        read_list(RuleSettings(address, "rules", "/nonexistent"))


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ('file = "http://rules:secret@127.0.0.1/"', "put the credentials into"),
        ('file = "https:///rules.xml"', "names no host"),
        ('file = "http://[::1/"', "rules.file: "),
        ('file = "http://127.0.0.1/"\nuser = "rules"', "need each other"),
        ('file = "http://a/"\nuser = "a:b"\npassword_file = "/x"', "has no colon"),
    ],
)
def test_settings_that_cannot_work(tmp_path: Path, lines: str, said: str) -> None:
    path = tmp_path / "pda.toml"
    path.write_text(f"[rules]\n{lines}\n")
    with pytest.raises(ConfigError, match=said):
        config.load(path, {})


def test_the_list_that_comes_with_pda_has_no_mistakes() -> None:
    assert bounce.check(read_list(RuleSettings()), shipped.rule_schema()) == []
