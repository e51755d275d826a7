"""The database driver, with the system's OpenSSL in it where there is one.

Owns how the driver is loaded. The wheel brings an OpenSSL of its own: built without the processor's
instructions for AES, so that a page takes three times as long to read, and out of reach of the
system's security updates. Its functions are looked for in the whole process before in the wheel
(ld.so(8), scope of symbols), and those of all releases of OpenSSL 3 are the same to a caller.
"""

from __future__ import annotations

import ctypes
import sys
from contextlib import suppress

_LIBRARY = "libcrypto.so.3"

if "pysqlcipher3" not in sys.modules:  # else some functions of the one would meet some of the other
    with suppress(OSError):  # a system without it: the wheel's own does the same, more slowly
        ctypes.CDLL(_LIBRARY, mode=ctypes.RTLD_GLOBAL)

from pysqlcipher3 import dbapi2  # noqa: E402

__all__ = ["dbapi2"]
