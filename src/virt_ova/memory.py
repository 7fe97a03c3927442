"""What to do when memory runs out: have some in reserve, and let go of what fills the rest.

Python raises `MemoryError` where it happens, and again at the next small thing, as long as the frames of the failure
hold what filled the memory.
"""

from __future__ import annotations

from traceback import clear_frames
from typing import Final

RESERVE_BYTES: Final = 16 << 20


def reserve() -> bytes:
    """Memory that is set aside, to be dropped when there is no other; it is not touched, so it costs address space."""
    return bytes(RESERVE_BYTES)


def let_go(error: BaseException) -> None:
    """Empty the frames that `error`, and those it came of, passed through; nobody can look into them then."""
    link: BaseException | None = error
    while link is not None:
        clear_frames(link.__traceback__)
        link = link.__context__
