"""Paths that people give, and what the system has to say of them.

A path can be refused in more ways than by `OSError`: Python raises `ValueError` for text that no file name can be made
of. Who opens a path that was given catches `PATH_ERRORS`.
"""

from __future__ import annotations

import os
import re
from typing import Final

from virt_ova.text import printable

PATH_ERRORS: Final = (OSError, ValueError)
"""All that is raised for a path that cannot be used."""

_UNPRINTABLE: Final = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")


def path_problem(exc: BaseException) -> str:
    """Why a path cannot be used, in a few words, by what was raised for it."""
    match exc:
        case OSError(errno=int(number)):
            return os.strerror(number)
        case UnicodeError():
            return "it has a character that no file name here can have"
        case ValueError():
            return "it has a NUL character"
        case _:
            return printable(str(exc)).rstrip(".")


def is_text(path: str) -> bool:
    """Whether a path can stand in XML and JSON and on a terminal: UTF-8, without control characters."""
    return _UNPRINTABLE.search(path) is None
