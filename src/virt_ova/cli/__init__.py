"""The command line: a thin layer over the library, one module per verb.

Exit status: 0 done, 1 failed, 2 usage, 3 undoing a failed install left something behind, 128 + N stopped by signal N
(130 for Ctrl-C).
"""

from __future__ import annotations

import gc
import signal
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Final

from virt_ova.interrupt import STOP_SIGNALS, ignore_stop_signals, raise_on_stop_signals

_MANY_OBJECTS: Final = 50_000
"""So many new objects are looked through for cycles; after every 700, as Python has it, costs a tenth of loading."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status.

    Stop signals wait while modules are loaded, for one that is torn while it is loaded fails in some way of its own;
    and they are ignored at the end, when there is a status already. What is there then goes with the process, and is
    not looked through for what could be freed: that would take a tenth of what it takes to load all modules.
    """
    gc.set_threshold(_MANY_OBJECTS)
    signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
    raise_on_stop_signals()
    command = import_module("virt_ova.cli.command")
    status: int = command.run(sys.argv[1:] if argv is None else list(argv))
    ignore_stop_signals()
    gc.freeze()
    return status
