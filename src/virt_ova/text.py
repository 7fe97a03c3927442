"""Text from a package on its way to a person.

Names, annotations and product strings are data: control characters, bidirectional overrides and overlong text are
made visible here, and only here, before they enter a message, a table or a log.
"""

from __future__ import annotations

import re
import unicodedata

LIMIT = 200
"""Most characters of package text shown at once."""

_PASSWORD = re.compile(r"(://(?!(?:[^/?#:]*@)?\[[0-9a-f:.]*\])[^/?#:]*):(?!\d*(?:[/?#]|$)).*@", re.IGNORECASE)
"""Up to the last ``@``, for a password may hold anything, and users of a vCenter are ``jo@vsphere.local``; digits alone
are a port, and colons in brackets an IPv6 address."""

_SECRET_PARAMETER = re.compile(r"[^=]*(?:password|passwd|secret|token)", re.IGNORECASE)
_HIDDEN = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}


def printable(text: str, *, limit: int = LIMIT) -> str:
    """`text` on one line, with control, format and unassigned characters escaped, cut at `limit` characters."""
    shown = text if len(text) <= limit else text[: limit - 1] + "…"
    return "".join(_escape(char) if unicodedata.category(char) in _HIDDEN else char for char in shown)


def quoted(text: str) -> str:
    """`text` as `printable` shows it, in single quotes, for use inside a message."""
    return f"'{printable(text)}'"


def without_secrets(uri: str) -> str:
    """`uri` without the password that somebody may have put before its host, and without parameters named as secret."""
    path, _, query = _PASSWORD.sub(r"\1@", uri).partition("?")
    kept = "&".join(each for each in query.split("&") if not _SECRET_PARAMETER.match(each))
    return f"{path}?{kept}" if kept else path


def _escape(char: str) -> str:
    return char.encode("unicode_escape").decode("ascii")
