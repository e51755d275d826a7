"""A real SMTP server on loopback, in a thread: it keeps what it is given."""

from __future__ import annotations

import socketserver
import ssl
import threading
from base64 import b64decode
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage


@dataclass
class Sink:
    """What came, and what is answered."""

    port: int = 0
    answers: list[str] = field(default_factory=list)
    """To recipients, one after the other; then all are taken."""
    user: str = ""
    """Who has to log in, as `NAME PASSWORD`."""
    mails: list[EmailMessage] = field(default_factory=list)
    recipients: list[str] = field(default_factory=list)
    tls: list[bool] = field(default_factory=list)
    """Whether each mail came over TLS."""
    tries: int = 0
    came: threading.Event = field(default_factory=threading.Event)


class _Session(socketserver.StreamRequestHandler):
    sink: Sink
    context: ssl.SSLContext | None
    implicit: bool

    def setup(self) -> None:
        self.secure = self.implicit
        if self.implicit:
            assert self.context is not None
            self.request = self.context.wrap_socket(self.request, server_side=True)
        super().setup()

    def finish(self) -> None:
        with suppress(OSError):
            super().finish()
        self.request.close()

    def handle(self) -> None:
        self.say("220 sink")
        self.known = not self.sink.user
        while line := self.rfile.readline():
            word, _, rest = line.decode().strip().partition(" ")
            if not self.obey(word.upper(), rest):
                return

    def say(self, text: str) -> None:
        self.wfile.write(text.encode() + b"\r\n")

    def obey(self, word: str, rest: str) -> bool:
        match word:
            case "EHLO":
                starttls = "" if self.secure or self.context is None else "250-STARTTLS\r\n"
                self.say(f"250-sink\r\n{starttls}250 AUTH PLAIN")
            case "STARTTLS":
                assert self.context is not None
                self.say("220 go ahead")
                self.request = self.context.wrap_socket(self.request, server_side=True)
                self.secure = True
                super().setup()
            case "AUTH":
                given = b64decode(rest.partition(" ")[2]).decode().strip("\0").replace("\0", " ")
                self.known = given == self.sink.user
                self.say("235 welcome" if self.known else "535 who are you?")
            case "RCPT":
                self.sink.tries += 1
                answer = self.sink.answers.pop(0) if self.sink.answers else "250 ok"
                answer = answer if self.known else "530 log in first"
                self.say(answer)
                if not answer.startswith("250"):
                    self.sink.came.set()
                else:
                    self.sink.recipients.append(rest.partition("<")[2].partition(">")[0])
            case "DATA":
                self.say("354 go ahead")
                lines = []
                while (line := self.rfile.readline()) not in (b".\r\n", b""):
                    lines.append(line.removeprefix(b"."))
                mail = message_from_bytes(b"".join(lines), policy=policy.default)
                assert isinstance(mail, EmailMessage)
                self.sink.mails.append(mail)
                self.sink.tls.append(self.secure)
                self.say("250 taken")
                self.sink.came.set()
            case "QUIT":
                self.say("221 bye")
                return False
            case _:
                self.say("250 ok")
        return True


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that refuses our certificate goes away."""


@contextmanager
def taking_mail(
    context: ssl.SSLContext | None = None, *, implicit: bool = False, port: int = 0
) -> Iterator[Sink]:
    """A server; with a TLS context it offers STARTTLS, or speaks TLS from the beginning."""
    sink = Sink()
    session = type("_Of", (_Session,), {"sink": sink, "context": context, "implicit": implicit})
    with _Server(("127.0.0.1", port), session) as server:
        sink.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield sink
        finally:
            server.shutdown()
            thread.join()


def free_port() -> int:
    """One on which nobody listens."""
    with _Server(("127.0.0.1", 0), _Session) as server:
        port: int = server.server_address[1]
    return port
