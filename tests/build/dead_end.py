"""A folder that one may not enter."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

_NOBODY: Final = 65534


@contextmanager
def dead_end() -> Iterator[Path]:
    """A folder that may not be entered in the block, in which root is nobody, because root may enter all."""
    is_root = os.geteuid() == 0
    with tempfile.TemporaryDirectory(prefix="virt-ova-tests-") as name:
        Path(name).chmod(0)
        if is_root:
            os.seteuid(_NOBODY)
        try:
            yield Path(name)
        finally:
            if is_root:
                os.seteuid(0)
            Path(name).chmod(0o700)
