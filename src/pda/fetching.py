"""A rule list from an http: or https: address.

Owns the request, its credentials and its limits. Whatever comes is not looked at.
"""

from __future__ import annotations

import base64
import http.client
import stat
import threading
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from pda.config import ConfigError, RuleSettings
from pda.maillog.bounce.rules import MAX_BYTES

FETCH_S = 10.0
"""Seconds that a list may take, all in all."""


def fetch(settings: RuleSettings) -> bytes:
    """The list at the address of the settings; raises OSError, and `ConfigError`."""
    return _answer(_request(settings))


def _request(settings: RuleSettings) -> urllib.request.Request:
    request = urllib.request.Request(settings.file)  # noqa: S310 the caller has looked at it
    if settings.user:
        password = _password(Path(settings.password_file))
        token = base64.b64encode(f"{settings.user}:{password}".encode()).decode("ascii")
        request.add_unredirected_header("Authorization", f"Basic {token}")
    return request


def _password(path: Path) -> str:
    try:
        if path.stat().st_mode & stat.S_IROTH:
            raise ConfigError(f"rules.password_file: {path} can be read by all: chmod 0600 {path}")
        return path.read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"rules.password_file: {path} cannot be read: {error}") from error


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """The list comes from the address that was named, and from nowhere else."""

    def redirect_request(self, *_: Any) -> None:
        """No other request: the redirect is the answer, and an error."""


def _answer(request: urllib.request.Request) -> bytes:
    """The list, not larger than may be and within `FETCH_S`; raises OSError.

    A thread of its own is waited for: limits of sockets hold for each step only, and a server
    that is slow enough, or the resolver, would never reach them.
    """
    answers: list[bytes | OSError] = []

    def ask() -> None:
        try:
            opener = urllib.request.build_opener(_NoRedirects)
            with opener.open(request, timeout=FETCH_S) as answer:
                answers.append(answer.read(MAX_BYTES + 1))
        except urllib.error.HTTPError as error:
            answers.append(OSError(f"the server answers {error.code} {error.reason}"))
        except urllib.error.URLError as error:
            answers.append(OSError(getattr(error.reason, "strerror", "") or str(error.reason)))
        except (OSError, http.client.HTTPException, ValueError) as error:
            answers.append(OSError(str(error) or type(error).__name__))

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(FETCH_S)
    answer = answers[0] if answers else OSError(f"no answer within {FETCH_S:g} s")
    if isinstance(answer, OSError):
        raise answer
    return answer
