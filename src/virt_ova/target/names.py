"""Names on a target, checked.

Plans are made with safe names, but a plan is a file that people edit; what becomes a path is checked where it does.
"""

from __future__ import annotations

import re
from typing import Final

from virt_ova.errors import TargetError
from virt_ova.text import quoted

_SAFE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._+-]{0,199}")


def check_file_name(name: str, what: str) -> str:
    """`name`, if it can be a file name and nothing else; `what` says of which thing.

    Raises:
        TargetError: it cannot (``E_NAME``).
    """
    if not _SAFE.fullmatch(name):
        raise TargetError(
            f"{what} {quoted(name)} cannot be used, expected at most 200 of A-Z a-z 0-9 . _ + - and blank, "
            "a letter or digit first",
            code="E_NAME",
        )
    return name
