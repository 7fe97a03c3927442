"""The ``run`` script of a machine in a folder. Pure text."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from virt_ova.text import printable

_HEAD = """\
#!/bin/sh
# Runs the machine {name}. Its serial console is this terminal: Ctrl-A X ends it, Ctrl-A C is QEMU's monitor.
# Arguments are added to those of QEMU, also behind --: ./run -- -m 4096
set -eu
cd "$(dirname "$0")"
[ "${{1-}}" != -- ] || shift
"""


def run_script(name: str, command: Sequence[str]) -> str:
    """A shell script that runs `command` in its own folder, one option to a line."""
    lines: list[str] = []
    for word in command:
        begins_option = word.startswith("-") or not lines
        if begins_option:
            lines.append(shlex.quote(word))
        else:
            lines[-1] += f" {shlex.quote(word)}"
    return _HEAD.format(name=printable(name)) + "exec " + " \\\n    ".join([*lines, '"$@"']) + "\n"
