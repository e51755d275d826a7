"""What the service runs on, for those who look after it.

Owns a short list of facts about the process and the machine; never the environment variables,
command line or paths of secrets.
"""

from __future__ import annotations

import os
import platform
import resource
import sys
import threading
from importlib.metadata import PackageNotFoundError, version

from pda.web.ports import Service

_PARTS = ("trio", "quart-trio", "hypercorn", "rotki-pysqlcipher3", "google-re2", "msgspec")


def environment(service: Service) -> dict[str, str]:
    """Facts by name, ready to be shown."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    facts = {
        "pda": service.version,
        "python": sys.version.split()[0],
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "processors": str(os.cpu_count()),
        "process": str(os.getpid()),
        "threads": str(threading.active_count()),
        "resident memory": f"{service.resident_memory()} octets",
        "most resident memory": f"{used.ru_maxrss * 1024} octets",
        "processor time": f"{used.ru_utime + used.ru_stime:.1f} s",
    }
    return facts | {part: _version(part) for part in _PARTS}


def _version(distribution: str) -> str:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return "not installed as a package"
