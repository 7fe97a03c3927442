"""The ``run`` script of a machine in a folder. Pure text."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence

from virt_ova.plan.inputs import Backing
from virt_ova.target.directory.tpm import TPM_COMMAND, TPM_LOCK_FILE, TPM_PID_FILE
from virt_ova.text import printable

_HEAD = """\
#!/bin/sh
# Runs the machine {name}. Its serial console is this terminal: Ctrl-A X ends it, Ctrl-A C is QEMU's monitor.
# Its screen, while it runs, is at vnc.sock in this folder: vncviewer vnc.sock
# Arguments are added to those of QEMU, also behind --: ./run -- -m 4096
# With user networking, so does port 2222 of this host lead to port 22 of the guest:
#   ./run -set netdev.net0.hostfwd=tcp:127.0.0.1:2222-:22
set -eu
# Of what is closed here, QEMU would take the number for one of its own files: a console that goes to a disk.
(: 3<&0) 2>/dev/null || exec </dev/null
(: 3>&1) 2>/dev/null || exec >/dev/null
(: 3>&2) || exec 2>/dev/null
cd -- "$(dirname -- "$(readlink -f -- "$0")")"
[ "${{1-}}" != -- ] || shift
"""
_CHECK = """\

# The disks of this machine lie on a package. If that changes, the guest sees damaged disks.
check() { # file, its size in bytes, when it was written last in seconds since 1970
    if ! found=$(LC_ALL=C stat --dereference --format '%s %.9Y' -- "$1"); then
        echo "run: the package $1 is missing, and disks of this machine lie on it: put it back" >&2
        exit 1
    fi
    if [ "$found" != "$2 $3" ]; then
        echo "run: the package $1 has changed, and disks of this machine lie on it:" >&2
        echo "run: found size and time $found, expected $2 $3" >&2
        echo "run: put the former file back, with its time (touch --date=@$3), or install again" >&2
        exit 1
    fi
}
"""
_TPM = """\

# The TPM ends with QEMU, which takes the place of this shell. Both hold the lock; one of before may be about to end.
exec 9>>{lock_file}
if ! flock --timeout 1 9; then
    echo "run: this machine runs already, its TPM is in use: shut it down first" >&2
    exit 1
fi
rm -f {pid_file}
setpriv --pdeathsig TERM -- {command} &
until [ -s {pid_file} ]; do
    if ! kill -0 "$!" 2>/dev/null; then
        echo "run: swtpm, which emulates the TPM of this machine, does not start" >&2
        exit 1
    fi
    sleep 0.05
done
"""


def run_script(name: str, command: Sequence[str], backings: Iterable[Backing] = (), *, has_tpm: bool = False) -> str:
    """A shell script that runs `command` in its own folder, one option to a line, if `backings` are as they were.

    With `has_tpm`, it starts the machine's TPM before.
    """
    lines: list[str] = []
    for word in command:
        begins_option = word.startswith("-") or not lines
        if begins_option:
            lines.append(shlex.quote(word))
        else:
            lines[-1] += f" {shlex.quote(word)}"
    packages = {backing.path: backing for backing in backings}
    checks = [f"check {shlex.quote(path)} {each.size_bytes} {each.modified}\n" for path, each in packages.items()]
    before = _CHECK + "".join(checks) if checks else ""
    if has_tpm:
        before += _TPM.format(lock_file=TPM_LOCK_FILE, pid_file=TPM_PID_FILE, command=shlex.join(TPM_COMMAND))
    begin = _HEAD.format(name=printable(name)) + (f"{before}\n" if before else "")
    return begin + "exec " + " \\\n    ".join([*lines, '"$@"']) + "\n"
