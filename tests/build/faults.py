"""The command line on a system whose calls fail."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from tests.build.command import command, environment


def run_failing(faults: list[str], *words: str | Path, only: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run the command line with system calls that fail, each as strace has it: ``fsync:error=EIO:when=1``.

    With `only` those alone fail that are about this file.
    """
    injected = [word for fault in faults for word in ("-e", f"inject={fault}")]
    return _traced([fault.partition(":")[0] for fault in faults], Path("/dev/null"), injected, words, only)


def count_calls(names: Sequence[str], log: Path, *words: str | Path, only: Path | None = None) -> dict[str, int]:
    """How often the command line, which must succeed, makes each of these system calls, in the thread that does most.

    Strace counts the calls to fail by thread, too. It writes to `log`.
    """
    done = _traced(names, log, [], words, only)
    assert done.returncode == 0, done.stderr
    calls = Counter(re.findall(r"^(\d+) +(\w+)\(", log.read_text(errors="replace"), re.MULTILINE))
    return {name: max([count for (_, called), count in calls.items() if called == name], default=0) for name in names}


def _traced(
    names: Sequence[str], log: Path, further: list[str], words: Sequence[str | Path], only: Path | None
) -> subprocess.CompletedProcess[str]:
    strace = shutil.which("strace")
    assert strace, "strace is missing; scripts/setup installs it"
    about = ["-P", str(only)] if only else []
    return subprocess.run(
        [strace, "-f", "-qq", "-o", log, *about, "-e", f"trace={','.join(names)}", *further, *command(*words)],
        capture_output=True,
        text=True,
        check=False,
        env=environment(),
    )
