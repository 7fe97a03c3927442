"""The real command line on a terminal of its own, with somebody who answers its questions."""

from __future__ import annotations

import os
import pty
import select
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.build.command import command, environment

_SECONDS = 30


@dataclass(frozen=True, kw_only=True, slots=True)
class Talk:
    """What was shown, with ``\\n`` as line end and what was typed where the terminal echoed it, and the exit status."""

    shown: str
    status: int


def talk(words: Sequence[str | Path], answers: Sequence[tuple[str, str]], **variables: str) -> Talk:
    """Run `words` and type each answer once the text in front of it is shown.

    Raises:
        TimeoutError: a text is not shown, or the command does not end.
    """
    arguments = command(*words)
    surroundings = environment(**{"TERM": "dumb", "COLUMNS": "100", "LINES": "24", **variables})
    process, master = pty.fork()
    if process == 0:
        os.execve(arguments[0], arguments, surroundings)  # noqa: S606 - no shell is meant
    shown, start = bytearray(), 0
    for prompt, answer in answers:
        while (found := shown.find(prompt.encode(), start)) < 0:
            if not (data := _read(master)):
                raise TimeoutError(f"{prompt!r} was not shown, but {bytes(shown[start:])!r}")
            shown += data
        start = found + len(prompt)
        os.write(master, answer.encode())
    while data := _read(master):
        shown += data
    os.close(master)
    _, status = os.waitpid(process, 0)
    return Talk(shown=shown.decode().replace("\r\n", "\n"), status=os.waitstatus_to_exitcode(status))


def _read(master: int) -> bytes:
    """Some of what is shown; nothing once the command has ended."""
    if not select.select([master], [], [], _SECONDS)[0]:
        raise TimeoutError("nothing more was shown")
    try:
        return os.read(master, 65536)
    except OSError:
        return b""
