"""Names of members: text from the package becomes a `MemberName` here, and only here.

A member's name is a dictionary key, never a path: nothing is ever created under it. The rules are still those of a path
that stays inside its folder on every system, because names are shown, compared and handed to other programs
(CVE-2021-21972, CVE-2007-4559).
"""

from __future__ import annotations

import unicodedata

from virt_ova.errors import SourceError
from virt_ova.source.base import MemberName
from virt_ova.text import quoted

MAX_NAME_BYTES = 255
"""Longest name, in bytes of UTF-8: NAME_MAX of Linux."""

_CONTROLS = {"Cc", "Zl", "Zp"}
"""Unicode categories of control characters, and of what breaks a line."""


def check_member_name(text: str) -> MemberName:
    """`text` as a member's name; one leading ``./`` says nothing and is dropped.

    Raises:
        SourceError: it is empty, absolute, overlong or no text, has a part that is empty, ``.`` or ``..``, or holds a
            backslash, a colon or a control character (``E_TAR_NAME``).
    """
    name = text.removeprefix("./")
    if problem := _problem(name):
        raise SourceError(
            f"found the name {quoted(text)}, which {problem}; expected a plain name such as 'disk1.vmdk'",
            code="E_TAR_NAME",
        )
    return MemberName(name)


def duplicate_key(name: MemberName) -> str:
    """What two names share when some file system would take them for one: letter case and Unicode form are dropped."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def is_apple_double(name: str) -> bool:
    """Whether macOS put it there beside the real file (``._disk1.vmdk``), to hold what a tar cannot."""
    return name.rpartition("/")[2].startswith("._")


def _problem(name: str) -> str:
    """The first rule that `name` breaks, or nothing."""
    rules = (
        (not name, "is empty"),
        (any("\ud800" <= char <= "\udfff" for char in name), "is not valid Unicode"),
        (len(name.encode(errors="replace")) > MAX_NAME_BYTES, f"is longer than {MAX_NAME_BYTES} bytes"),
        (any(unicodedata.category(char) in _CONTROLS for char in name), "holds a control character"),
        ("\\" in name or ":" in name, "holds a backslash or a colon"),
        (name.startswith("/"), "is absolute"),
        (any(part in {"", ".", ".."} for part in name.split("/")), "has a part that is empty, '.' or '..'"),
    )
    return next((problem for broken, problem in rules if broken), "")
