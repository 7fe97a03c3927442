"""Which processes emulate the TPM of a machine in a folder."""

from __future__ import annotations

import time
from pathlib import Path

_SECONDS = 10


def tpm_processes(folder: Path) -> list[int]:
    """Process ids of each swtpm that works in `folder`, or was told of it."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            is_swtpm = (process / "comm").read_text().strip() == "swtpm"
            told = f"TPM_PATH={folder}/tpm".encode() in (process / "environ").read_bytes().split(b"\0")
            is_here = told or (process / "cwd").readlink() == folder
        except OSError:  # it has ended
            continue
        if is_swtpm and is_here:
            found.append(int(process.name))
    return found


def assert_tpm_ends(folder: Path) -> None:
    """Wait until there is none, for `_SECONDS` at most."""
    deadline = time.monotonic() + _SECONDS
    while left := tpm_processes(folder):
        assert time.monotonic() < deadline, f"swtpm still runs: {left}"
        time.sleep(0.02)
