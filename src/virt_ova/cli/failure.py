"""Whatever stopped a run, as one of our errors and as an exit status.

What is none of our errors is a bug, unless the host ran out of memory. It is told in one line like all others; where it
happened is printed when the environment variable ``VIRT_OVA_DEBUG`` is set.
"""

from __future__ import annotations

import errno
import os
import traceback
from typing import Final

from virt_ova.cli.console import say
from virt_ova.cli.parser import UsageError
from virt_ova.errors import RollbackError, VirtOvaError
from virt_ova.interrupt import Interrupted
from virt_ova.memory import MORE_HINT, is_lack_of_memory
from virt_ova.text import printable, without_secrets

DEBUG_VARIABLE: Final = "VIRT_OVA_DEBUG"


def failure_of(exc: BaseException) -> VirtOvaError:
    """The error that tells of `exc`: itself, a stop signal, too little memory, or a bug."""
    if isinstance(exc, VirtOvaError):
        return exc
    if isinstance(exc, Interrupted):
        return VirtOvaError(f"stopped by {exc}", code="E_INTERRUPTED")
    if is_lack_of_memory(exc):
        return VirtOvaError(
            "there is not enough memory",
            code="E_MEMORY",
            hint=MORE_HINT,
        )
    if isinstance(exc, OSError) and exc.errno in {errno.EMFILE, errno.ENFILE}:
        return VirtOvaError(
            "too many files are open, and the system opens no more",
            code="E_MEMORY",
            hint="Raise the limit on open files (ulimit -n), or end other programs.",
        )
    return VirtOvaError(
        f"internal error: {type(exc).__name__}: {printable(without_secrets(str(exc)))}",
        code="E_INTERNAL",
        hint=f"This is a bug: please report it, with what is printed when {DEBUG_VARIABLE}=1 is in the environment.",
    )


def status_of(exc: BaseException) -> int:
    """The exit status for `exc`."""
    match exc:
        case UsageError():
            return 2
        case RollbackError():
            return 3
        case Interrupted():
            return 128 + exc.signum
        case _:
            return 1


def print_trace(exc: BaseException) -> None:
    """Print where `exc` comes from, if it is none of our errors and that is wanted."""
    if os.environ.get(DEBUG_VARIABLE) and not isinstance(exc, VirtOvaError | Interrupted):
        for line in "".join(traceback.format_exception(exc)).splitlines():
            say(line)
