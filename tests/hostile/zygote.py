"""Runs the command line many times, each in a process of its own that costs a fork.

It reads one JSON object a line: ``words``, the paths ``stdout`` and ``stderr``, and perhaps ``umask``. It answers with
one: ``status`` (negative for a signal), ``peak_bytes``, ``seconds``, and how many ``children`` were left.
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import sys
import time
from typing import Any, Final

from tests.build.command import WITHOUT_QEMU
from virt_ova.cli import main

_SET_CHILD_SUBREAPER: Final = 36
"""Of prctl(2): who loses its parent becomes our child, so that it can be counted."""

_CPU_SECONDS: Final = 60
_FILE_BYTES: Final = 1 << 30


def serve(warm_up: list[str]) -> None:
    """Load what an install needs by an install, then run what is asked for."""
    ctypes.CDLL(None).prctl(_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    os.environ["PATH"] = WITHOUT_QEMU
    status = main(warm_up)
    _answer({"status": status})
    for line in sys.stdin:
        _answer(_run(json.loads(line)))


def _answer(document: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(document) + "\n")
    sys.stdout.flush()


def _run(request: dict[str, Any]) -> dict[str, Any]:
    started = time.monotonic()
    if (child := os.fork()) == 0:
        _become(request)
    _, status, usage = os.wait4(child, 0)
    return {
        "status": os.waitstatus_to_exitcode(status),
        "peak_bytes": usage.ru_maxrss << 10,
        "seconds": time.monotonic() - started,
        "children": _children(),
    }


def _become(request: dict[str, Any]) -> None:
    """What the child does; does not return."""
    status = 99
    try:
        for descriptor, path, flags in (
            (0, os.devnull, os.O_RDONLY),
            (1, request["stdout"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC),
            (2, request["stderr"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC),
        ):
            os.dup2(os.open(path, flags, 0o600), descriptor)
        os.umask(request.get("umask", 0o022))
        resource.setrlimit(resource.RLIMIT_CPU, (_CPU_SECONDS, _CPU_SECONDS))
        resource.setrlimit(resource.RLIMIT_FSIZE, (_FILE_BYTES, _FILE_BYTES))
        status = main(request["words"])
        sys.stdout.flush()
        sys.stderr.flush()
    except SystemExit as exc:
        status = exc.code if isinstance(exc.code, int) else 98
    finally:
        os._exit(status)


def _children() -> int:
    """How many children there are, which are ended."""
    count = 0
    while True:
        try:
            pid, _ = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return count
        count += 1
        if pid == 0:
            return count


if __name__ == "__main__":
    serve(sys.argv[1:])
