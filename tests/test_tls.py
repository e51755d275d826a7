"""Certificates: which files can be used, who may connect, and reading them again."""

from __future__ import annotations

import re
import ssl
from pathlib import Path
from typing import Any

import pytest

from pda.tls import Certificates, TlsError, TlsFiles
from tests.certificates import Authority


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


def shown_by(server: ssl.SSLContext, client: ssl.SSLContext) -> dict[str, Any]:
    """The certificate that a client gets to see."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ours = server.wrap_bio(to_server, to_client, server_side=True)
    theirs = client.wrap_bio(to_client, to_server, server_hostname="127.0.0.1")
    for _ in range(4):
        for side in (theirs, ours):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
    return theirs.getpeercert() or {}


def test_files_that_cannot_be_used_are_one_sentence(authority: Authority) -> None:
    good = authority.files()
    other = authority.issue("other")[1]
    nothing = authority.folder / "nothing"
    open_to_all = authority.issue("open")[1]
    open_to_all.chmod(0o644)
    for files, sentence in (
        (TlsFiles(good.certificate, nothing), f"the key {nothing} cannot be read: No such file"),
        (TlsFiles(nothing, good.key), f"the certificate {nothing} cannot be used with the key"),
        (TlsFiles(good.certificate, other), "cannot be used with the key .*: KEY_VALUES_MISMATCH"),
        (TlsFiles(good.certificate, open_to_all), "can be read by everybody: chmod 0600"),
        (TlsFiles(good.certificate, good.key, nothing), f"the authorities {nothing} cannot be"),
        (TlsFiles(good.certificate, good.key, good.key), "the authorities .* cannot be read: "),
    ):
        with pytest.raises(TlsError, match=sentence):
            Certificates(files)


def test_a_key_with_a_password_asks_nobody(authority: Authority) -> None:
    certificate, key = authority.issue("127.0.0.1")
    lines = key.read_text().splitlines()
    lines[1:1] = [
        "Proc-Type: 4,ENCRYPTED",
        "DEK-Info: AES-128-CBC,00000000000000000000000000000000",
        "",
    ]
    key.write_text("\n".join(lines))
    with pytest.raises(TlsError, match="cannot be used"):
        Certificates(TlsFiles(certificate, key))


@pytest.mark.parametrize("asks", [False, True], ids=["for no certificate", "for a certificate"])
def test_files_are_read_again(authority: Authority, asks: bool) -> None:
    certificates = Certificates(authority.files(client_ca=asks))
    client = authority.context("mx1")
    before = shown_by(certificates.context, client)
    authority.files()
    assert shown_by(certificates.context, client) == before
    held = certificates.context
    certificates.reload()
    after = shown_by(certificates.context, client)
    assert after["serialNumber"] != before["serialNumber"]
    assert shown_by(held, client) == after  # who holds the context has the new one too


def test_files_that_cannot_be_used_change_nothing(authority: Authority) -> None:
    certificates = Certificates(authority.files())
    client = authority.context()
    before = shown_by(certificates.context, client)
    Path(certificates.files.key).write_bytes(authority.issue("other")[1].read_bytes())
    with pytest.raises(TlsError, match=re.escape(str(certificates.files.key))):
        certificates.reload()
    assert shown_by(certificates.context, client) == before


@pytest.mark.parametrize(
    ("peers", "names", "admitted"),
    [
        ((), (), True),
        (("mx1",), ("mx1",), True),
        (("mx1", "MX2.example.org"), ("mx2.EXAMPLE.org",), True),
        (("mx1",), ("mx10", "mx1.example.org"), False),
        (("mx1",), (), False),
        (("*.example.org",), ("mx1.example.org",), True),
        (("*.example.org",), ("a.mx1.example.org",), False),
        (("*.example.org",), ("example.org",), False),
        (("*.example.org",), (".example.org",), False),
        (("mx1.example.org",), ("*.example.org",), False),
    ],
)
def test_who_may_send_by_its_certificate(
    authority: Authority, peers: tuple[str, ...], names: tuple[str, ...], admitted: bool
) -> None:
    certificates = Certificates(authority.files(*peers))
    shown = {"subjectAltName": tuple(("DNS", name) for name in names)}
    assert certificates.admits(shown) is admitted


def test_the_common_name_counts_only_where_there_is_no_other(authority: Authority) -> None:
    certificates = Certificates(authority.files("mx1"))
    subject = ((("commonName", "mx1"),),)
    assert certificates.admits({"subject": subject})
    assert not certificates.admits({"subject": subject, "subjectAltName": (("DNS", "other"),)})
    assert not certificates.admits(None)
