"""The command line on a system whose calls fail."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from tests.build.command import command, environment


def run_failing(faults: list[str], *words: str | Path, only: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run the command line with system calls that fail, each as strace has it: ``fsync:error=EIO:when=1``.

    With `only` those alone fail that are about this file.
    """
    strace = shutil.which("strace")
    assert strace, "strace is missing; scripts/setup installs it"
    traced = ",".join(fault.partition(":")[0] for fault in faults)
    injected = [word for fault in faults for word in ("-e", f"inject={fault}")]
    about = ["-P", str(only)] if only else []
    return subprocess.run(
        [strace, "-f", "-qq", "-o", "/dev/null", *about, "-e", f"trace={traced}", *injected, *command(*words)],
        capture_output=True,
        text=True,
        check=False,
        env=environment(),
    )
