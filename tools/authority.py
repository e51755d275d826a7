"""A small authority for trials: its certificate, and those that it gives out.

    tools/new-ca DIR --server pda.example.org --server 192.0.2.1 --client mx1.example.org

makes in DIR, where they are not there yet, `ca.pem` and `ca.key`, and then for the first name of
all servers together and of each client a certificate and a key: `pda.example.org.pem` and `.key`.
Run again, the same authority gives out new ones, as before the old ones expire. Whoever has
`ca.key` can give out certificates too: keep it away from the machines that use them, or use an
authority of your own instead.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import trustme


def write(path: Path, content: bytes, mode: int = 0o600) -> None:
    """Whole or not at all, and never readable by others in between."""
    new = path.with_name(f".{path.name}.{os.getpid()}")
    handle = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "wb") as file:
        file.write(content)
        os.fchmod(file.fileno(), mode)
    new.replace(path)


def authority(folder: Path) -> trustme.CA:
    """The one in this folder, made if there is none."""
    certificate, key = folder / "ca.pem", folder / "ca.key"
    if certificate.exists():
        return trustme.CA.from_pem(certificate.read_bytes(), key.read_bytes())
    ca = trustme.CA(organization_name="pda, for trials")
    write(key, ca.private_key_pem.bytes())
    write(certificate, ca.cert_pem.bytes(), 0o644)
    return ca


def issue(ca: trustme.CA, folder: Path, names: Sequence[str], days: int) -> None:
    """A certificate for these names, in files called by the first of them."""
    until = datetime.now(UTC) + timedelta(days=days)
    made = ca.issue_cert(*names, common_name=names[0], not_after=until)
    write(folder / f"{names[0]}.key", made.private_key_pem.bytes())
    chain = b"".join(one.bytes() for one in made.cert_chain_pems)
    write(folder / f"{names[0]}.pem", chain, 0o644)


def main(argv: Sequence[str] | None = None) -> int:
    """Makes what the command line asks for."""
    parser = argparse.ArgumentParser(
        prog="tools/new-ca", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("folder", type=Path, metavar="DIR")
    for name, text in (
        ("--server", "a name or address of the machine that pda runs on; localhost"),
        ("--client", "a machine that sends"),
    ):
        parser.add_argument(name, action="append", default=[], metavar="NAME", help=text)
    parser.add_argument("--days", type=int, default=825, help="of validity; %(default)s")
    options = parser.parse_args(argv)
    options.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    ca = authority(options.folder)
    for names in [
        options.server or ["localhost", "127.0.0.1", "::1"],
        *([n] for n in options.client),
    ]:
        issue(ca, options.folder, names, options.days)
    print(f"{options.folder}: " + " ".join(sorted(p.name for p in options.folder.iterdir())))
    return 0


if __name__ == "__main__":
    sys.exit(main())
