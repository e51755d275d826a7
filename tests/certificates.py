"""Certificates for tests, by a small authority."""

from __future__ import annotations

import ssl
from pathlib import Path

import trustme

from pda.tls import TlsFiles


class Authority:
    """Gives out certificates, as files in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._ca = trustme.CA()
        self.file = folder / f"ca-{id(self)}.pem"
        self._ca.cert_pem.write_to_path(self.file)

    def issue(self, *names: str, called: str = "") -> tuple[Path, Path]:
        """A certificate and its key, in files called by the first name unless otherwise."""
        made = self._ca.issue_cert(*names)
        called = called or names[0]
        certificate, key = self.folder / f"{called}.pem", self.folder / f"{called}.key"
        certificate.write_bytes(b"".join(one.bytes() for one in made.cert_chain_pems))
        key.touch(mode=0o600)
        key.write_bytes(made.private_key_pem.bytes())
        return certificate, key

    def files(self, *peers: str, client_ca: bool = False) -> TlsFiles:
        """Of a server on this machine."""
        certificate, key = self.issue("127.0.0.1", "localhost", called="server")
        return TlsFiles(certificate, key, self.file if client_ca else None, peers)

    def context(self, *names: str) -> ssl.SSLContext:
        """For a client that trusts this authority, and has a certificate if it has a name."""
        context = ssl.create_default_context(cafile=self.file)
        if names:
            context.load_cert_chain(*self.issue(*names))
        return context
