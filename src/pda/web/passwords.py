"""Passwords: argon2id hashes, and what they cost.

Owns the parameters. Hashing takes some 50 ms and 19 MiB on purpose: never in the event loop.
"""

from __future__ import annotations

import secrets
from functools import cache
from typing import Final

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

MOST_PASSWORD: Final = 1024
"""Octets in UTF-8: what is longer is refused before any work is done on it."""

# OWASP's least parameters for argon2id; about 50 ms.
_HASHER = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)


def hash_password(password: str) -> str:
    """An argon2id hash for the store; raises ValueError for a password that cannot be used."""
    if not password:
        raise ValueError("an empty password is no password")
    if len(password.encode()) > MOST_PASSWORD:
        raise ValueError(f"the password is longer than {MOST_PASSWORD} octets")
    return _HASHER.hash(password)


def is_password(stored: str, password: str) -> bool:
    """Whether it is the one of this hash; an empty hash is nobody's, and costs as much."""
    try:
        return _HASHER.verify(stored or _decoy(), password)
    except (VerificationError, InvalidHashError):
        return False


@cache
def _decoy() -> str:
    """An unknown user costs as much as a known one."""
    return _HASHER.hash(secrets.token_hex())
