"""VirtualBox in a root folder of its own: the strictest other reader of packages and VMDKs that can be had.

Debian has it in sid alone (component contrib). Without its kernel module machines cannot start; import, export and all
that is done with disks work. The folder is made as root, in about a minute, and kept; sid moves, and with it the
version.
"""

from __future__ import annotations

import fcntl
import shlex
import shutil
from pathlib import Path
from typing import Final

from tests.build.appliance.tools import run

_ROOT: Final = Path(__file__).parents[2] / "build" / "virtualbox"
_MIRROR: Final = "http://deb.debian.org/debian"
_APT: Final = "DEBIAN_FRONTEND=noninteractive apt-get -qq -o Acquire::Check-Valid-Until=false"
_INSTALL: Final = f"{_APT} update && {_APT} install --yes --no-install-recommends virtualbox"
_MARK: Final = "made"


def manage(folder: Path, *commands: list[str]) -> str:
    """What VirtualBox's ``VBoxManage`` prints for `commands`, in `folder`; machines are forgotten at the end.

    Raises:
        RuntimeError: one failed, VirtualBox could not be made, or this is not root.
    """
    root = _made()
    lines = "\n".join(shlex.join(["VBoxManage", *words]) for words in commands)
    script = (
        f"mount -t proc proc {root}/proc && mount -t tmpfs tmpfs {root}/root && mount --bind {folder} {root}/mnt && "
        f"exec chroot {root} env HOME=/root sh -ec {shlex.quote(f'cd /mnt{chr(10)}{lines}')}"
    )
    return _apart(script)


def _made() -> Path:
    """The root folder."""
    _ROOT.parent.mkdir(exist_ok=True)
    with _ROOT.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (_ROOT / _MARK).exists():
            shutil.rmtree(_ROOT, ignore_errors=True)
            run("debootstrap", "--variant=minbase", "--components=main,contrib", "sid", _ROOT, _MIRROR)
            (_ROOT / "usr/sbin/policy-rc.d").write_text("#!/bin/sh\nexit 101\n")
            (_ROOT / "usr/sbin/policy-rc.d").chmod(0o755)
            shutil.copy("/etc/resolv.conf", _ROOT / "etc/resolv.conf")
            _apart(f"mount -t proc proc {_ROOT}/proc && chroot {_ROOT} sh -ec '{_INSTALL}'")
            (_ROOT / _MARK).touch()
    return _ROOT


def _apart(script: str) -> str:
    """Run `script` with mounts and processes of its own, which end with it."""
    return run("unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-ec", script)
