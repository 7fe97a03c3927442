"""How much memory the command line takes at its most."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Final

from tests.build.command import environment

PEAK: Final = """
import re, sys
from virt_ova.cli import main

status = main(sys.argv[1:])
sys.stderr.write("\\npeak " + re.search(r"VmHWM:\\s+(\\d+) kB", open("/proc/self/status").read())[1])
sys.exit(status)
"""


def peak_bytes(*words: str | Path) -> int:
    """Most memory that the command line took; it must succeed."""
    done = subprocess.run(
        [sys.executable, "-c", PEAK, *words], capture_output=True, text=True, check=False, env=environment()
    )
    assert done.returncode == 0, done.stderr
    return int(done.stderr.rpartition("peak ")[2]) << 10
