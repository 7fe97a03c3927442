"""Runs the programs that the builder needs."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

TIME = 1_700_000_000
"""When everything is said to have been made: the same input makes the same bytes."""

_ENVIRONMENT = {
    **os.environ,
    "PATH": f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin",  # an ordinary user's PATH lacks mke2fs
    "LC_ALL": "C",
    "E2FSPROGS_FAKE_TIME": str(TIME),
    "SOURCE_DATE_EPOCH": str(TIME),
    "MTOOLS_SKIP_CHECK": "1",
}


def run(*command: str | Path, cwd: Path | None = None) -> str:
    """Run `command` to its end; returns what it printed.

    Raises:
        RuntimeError: it failed; the message holds the command and what it printed.
    """
    done = subprocess.run(
        command, cwd=cwd, env=_ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    if done.returncode:
        line = " ".join(map(str, command))
        raise RuntimeError(f"{line}: exit status {done.returncode}\n{done.stdout}")
    return done.stdout
