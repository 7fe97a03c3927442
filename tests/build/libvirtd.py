"""A libvirt daemon of the tests' own.

It lives in namespaces of its own: its state, its network devices and its process ids are nobody else's, and the daemon
of the machine is left alone. Its first process is a shell, which reaps what QEMU leaves: libvirt waits for that, and
PID 1 of a container may take its time. ``/dev/kvm`` is hidden from it, because where KVM is there but not for QEMU's
user, libvirt starts QEMU anew for nearly every call. Everything is gone when its process is.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_START_SECONDS = 20

_SETUP = """
set -e
for folder in /run /etc/libvirt /var/lib/libvirt /var/cache/libvirt /var/log/libvirt; do
    mount -t tmpfs -o mode=0755 tmpfs $folder
done
mkdir -p /var/lib/libvirt/qemu /run/lock
devices=/run/devices
mkdir $devices
mount -t tmpfs -o mode=0755 tmpfs $devices
(cd /dev && cp -a null zero full random urandom tty fd stdin stdout stderr $devices)
mkdir $devices/pts $devices/shm $devices/net
mount -t devpts -o newinstance,ptmxmode=0666,mode=0620 devpts $devices/pts
ln -s pts/ptmx $devices/ptmx
[ ! -e /dev/net/tun ] || cp -a /dev/net/tun $devices/net/
for mounted in $(findmnt --list --noheadings --output TARGET | grep ^/dev/); do
    umount --lazy "$mounted"
done
mount --move $devices /dev
ip link set lo up
virtlogd -d
libvirtd --config "$1" &
wait
"""


def why_not() -> str:
    """Why no daemon can be started here; empty when one can."""
    if os.geteuid() != 0:
        return "namespaces for a libvirt daemon need root"
    missing = [
        program for program in ("libvirtd", "virtlogd", "unshare", "findmnt", "ip") if shutil.which(program) is None
    ]
    return f"not installed: {', '.join(missing)}" if missing else ""


@contextmanager
def private_libvirtd(folder: Path) -> Iterator[str]:
    """A running daemon whose socket is in `folder`; the connection URI."""
    config = folder / "libvirtd.conf"
    config.write_text(f'unix_sock_dir = "{folder}"\nunix_sock_rw_perms = "0700"\nauth_unix_rw = "none"\n')
    socket = folder / "libvirt-sock"
    command = ["unshare", "--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc"]
    with (folder / "libvirtd.log").open("wb") as log:
        daemon = subprocess.Popen([*command, "sh", "-c", _SETUP, "sh", config], stdout=log, stderr=log)
    try:
        _wait_for(socket, daemon, folder / "libvirtd.log")
        yield f"qemu+unix:///system?socket={socket}"
    finally:
        daemon.send_signal(signal.SIGKILL)
        daemon.wait()


def _wait_for(socket: Path, daemon: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while not socket.exists():
        if daemon.poll() is not None or time.monotonic() > deadline:
            message = f"libvirtd did not start: {log.read_text()}"
            raise RuntimeError(message)
        time.sleep(0.02)
