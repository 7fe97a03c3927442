"""The real command line in a process of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

WITHOUT_QEMU: Final = "/nonexistent"
"""A search path that has no QEMU, which saves the second that it takes to try KVM."""

_CHANGES_OUTPUT: Final = frozenset({"NO_COLOR", "FORCE_COLOR", "LIBVIRT_DEFAULT_URI", "COLUMNS", "LANG", "LC_ALL"})


def command(*words: str | Path) -> list[str]:
    """The arguments that start it."""
    return [sys.executable, "-m", "virt_ova.cli", *map(str, words)]


def environment(path: str = WITHOUT_QEMU, **variables: str) -> dict[str, str]:
    """An environment in which nothing of the user's changes what is printed or allowed."""
    kept = {key: value for key, value in os.environ.items() if key not in _CHANGES_OUTPUT}
    return {**kept, "PATH": path, "XDG_CONFIG_HOME": "/nonexistent", **variables}


def virt_ova(
    *words: str | Path, path: str = WITHOUT_QEMU, cwd: Path | None = None, **variables: str
) -> subprocess.CompletedProcess[str]:
    """Run it to its end; `path` is its search path, `variables` are added to its environment."""
    return subprocess.run(
        command(*words),
        capture_output=True,
        text=True,
        check=False,
        cwd=cwd,
        env=environment(path, **variables),
        timeout=120,
    )


def piped(data: bytes, *words: str | Path, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run it to its end with `data` on standard input, through a pipe."""
    with subprocess.Popen(
        command(*words),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=cwd,
        env=environment(),
    ) as run:
        out, err = run.communicate(data, timeout=120)
        return subprocess.CompletedProcess(words, run.returncode, out.decode(), err.decode())


def stopped(when: Callable[[], object], *words: str | Path, path: str = WITHOUT_QEMU, **variables: str) -> str:
    """What it complains about when Ctrl-C stops it soon after `when` is true; it ends within seconds, and says so.

    `path` and `variables` are as for `virt_ova`.
    """
    surroundings = environment(path, **variables)
    with subprocess.Popen(
        command(*words), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=surroundings
    ) as run:
        while not when():
            time.sleep(0.05)
        time.sleep(0.3)
        sent = time.monotonic()
        run.send_signal(signal.SIGINT)
        _, err = run.communicate(timeout=30)
    assert run.returncode == 130
    assert time.monotonic() - sent < 5
    return err


def error_lines(code: str, message: str, hint: str = "") -> str:
    """What it prints on stderr for an error."""
    return f"virt-ova: error: {message} [{code}]\n" + (f"  hint: {hint}\n" if hint else "")


def json_of(done: subprocess.CompletedProcess[str]) -> Any:  # noqa: ANN401 - JSON
    """The one document on stdout."""
    return json.loads(done.stdout)
