"""What to do when memory runs out: have some in reserve, and let go of what fills the rest.

Python raises `MemoryError` where it happens, and again at the next small thing, as long as the frames of the failure
hold what filled the memory.
"""

from __future__ import annotations

import errno
import mmap
from traceback import clear_frames
from typing import Final

RESERVE_BYTES: Final = 16 << 20

MORE_HINT: Final = "Raise the limit on this process (ulimit -v, a container's), or end other programs."

THREAD_BYTES: Final = 9 << 20
"""Address space that a thread needs to begin with: its stack of 8 MiB, and a little more."""


_NO_THREAD: Final = "can't start new thread"
"""What Python says when the system refuses a thread."""

_NO_ROOM_FOR_CODE: Final = "failed to map segment from shared object"
"""What the C library says of a module that it cannot load then."""


def reserve() -> bytes:
    """Memory that is set aside, to be dropped when there is no other; it is not touched, so it costs address space."""
    return bytes(RESERVE_BYTES)


def room_for_thread() -> None:
    """Make sure that a thread can be started now.

    Raises:
        MemoryError: there is no room for it.
    """
    try:
        mmap.mmap(-1, THREAD_BYTES).close()
    except OSError as exc:
        raise MemoryError from exc


def is_lack_of_memory(exc: BaseException) -> bool:
    """Whether `exc` came of too little memory, for which not all have an error of their own."""
    match exc:
        case MemoryError() | OSError(errno=errno.ENOMEM):
            return True
        case RuntimeError():
            return str(exc) == _NO_THREAD
        case ImportError():
            return str(exc).endswith(_NO_ROOM_FOR_CODE)
        case _:
            return False


def let_go(error: BaseException) -> None:
    """Empty the frames that `error`, and those it came of, passed through; nobody can look into them then."""
    link: BaseException | None = error
    while link is not None:
        clear_frames(link.__traceback__)
        link = link.__context__
