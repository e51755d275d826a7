"""Certificates: files → the TLS contexts of our listeners, read again without a restart.

Owns what we show to others, whom of them we ask for a certificate, and which of these we take.
Knows no socket and no setting.
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["Certificates", "TlsError", "TlsFiles"]


class TlsError(Exception):
    """Certificates that cannot be used; the message says which file and why."""


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """PEM files, and who may connect."""

    certificate: Path
    """Ours, with what stands between it and its authority."""
    key: Path
    client_ca: Path | None = None
    """Who connects has to show a certificate by one of these authorities; None: nobody has to."""
    peers: tuple[str, ...] = ()
    """Names of which such a certificate has to have one, `*.` for any one label; empty: any."""


class Certificates:
    """What new connections of a listener use; raises `TlsError` for files that cannot be used."""

    def __init__(self, files: TlsFiles) -> None:
        self.files = files
        self.context = _load(files)
        """To be asked for at each new connection, by who can."""

    def reload(self) -> None:
        """Reads the files again, for connections from now on; a `TlsError` changes nothing.

        Our certificate is swapped within the context that there is, for who holds that; an
        authority cannot be taken out of one.
        """
        fresh = _load(self.files)
        self.context.load_cert_chain(self.files.certificate, self.files.key, password="")
        if self.files.client_ca is not None:
            self.context = fresh

    def admits(self, certificate: Mapping[str, Any] | None) -> bool:
        """Whether who shows this certificate (`getpeercert`) may send."""
        if not self.files.peers:
            return True
        names = set(_names(certificate or {}))
        return any(_matches(name, pattern) for name in names for pattern in self.files.peers)


def _load(files: TlsFiles) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # A ticket that nobody reads would hide our end from a sender that looks for it (omfwd).
    context.num_tickets = 0
    _refuse_if_readable_by_all(files.key)
    try:
        # A key that asks for a password is an error, not a question at the terminal.
        context.load_cert_chain(files.certificate, files.key, password="")
    except (OSError, ValueError) as error:  # SSLError is an OSError
        raise TlsError(
            f"the certificate {files.certificate} cannot be used with the key {files.key}:"
            f" {_said(error)}"
        ) from error
    if files.client_ca is not None:
        try:
            context.load_verify_locations(files.client_ca)
        except (OSError, ValueError) as error:
            raise TlsError(
                f"the authorities {files.client_ca} cannot be read: {_said(error)}"
            ) from error
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def _refuse_if_readable_by_all(key: Path) -> None:
    try:
        mode = key.stat().st_mode
    except OSError as error:
        raise TlsError(f"the key {key} cannot be read: {error.strerror}") from error
    if mode & 0o007:
        raise TlsError(f"the key {key} can be read by everybody: chmod 0600 {key}")


def _said(error: Exception) -> str:
    return getattr(error, "reason", None) or getattr(error, "strerror", None) or str(error)


def _names(certificate: Mapping[str, Any]) -> list[str]:
    """Those of its subjectAltName; the common name only where there are none (RFC 5425 §5.2)."""
    found = [name for kind, name in certificate.get("subjectAltName", ()) if kind == "DNS"]
    if found:
        return found
    subject = certificate.get("subject", ())
    return [value for part in subject for kind, value in part if kind == "commonName"]


def _matches(name: str, pattern: str) -> bool:
    name, pattern = name.lower(), pattern.lower()
    if pattern.startswith("*."):
        return bool(name.partition(".")[0]) and name.partition(".")[2] == pattern[2:]
    return name == pattern
