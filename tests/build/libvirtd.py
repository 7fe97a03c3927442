"""A libvirt daemon of the tests' own.

It lives in namespaces of its own: its state, its network devices and its process ids are nobody else's, and the daemon
of the machine is left alone. Its first process is a shell, which reaps what QEMU leaves: libvirt waits for that, and
PID 1 of a container may take its time. ``/dev/kvm`` is hidden from it, because where KVM is there but not for QEMU's
user, libvirt starts QEMU anew for nearly every call. Everything is gone when its process is.

One that serves other hosts shares the machine's network, and listens on its loopback device alone: see
`tests.build.remote`.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

NOBODY = 65534
"""User and group that may nothing."""

_START_SECONDS = 20

_SETUP = """
set -e
for folder in /run /etc/libvirt /var/lib/libvirt /var/cache/libvirt /var/log/libvirt; do
    mount -t tmpfs -o mode=0755 tmpfs $folder
done
mkdir -p /var/lib/libvirt/qemu /run/lock /run/sshd /run/libvirt
ln -s "$(dirname "$1")/libvirt-sock" /run/libvirt/
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
[ ! -e "$2" ] || "$(command -v sshd)" -f "$2"
config=$1
shift 2
libvirtd --config "$config" "$@" &
wait
"""


@dataclass(frozen=True, kw_only=True)
class Daemon:
    """A running daemon.

    Attributes:
        uri: its connection URI on this host.
        root: the daemon's own view of the file system.
    """

    uri: str
    root: Path


def why_not(*programs: str) -> str:
    """Why no daemon can be started here that needs `programs` too; empty when one can."""
    if os.geteuid() != 0:
        return "namespaces for a libvirt daemon need root"
    wanted = ("libvirtd", "virtlogd", "unshare", "findmnt", "ip", *programs)
    missing = [program for program in wanted if shutil.which(program) is None]
    return f"not installed: {', '.join(missing)}" if missing else ""


@contextmanager
def private_libvirtd(folder: Path) -> Iterator[str]:
    """A running daemon whose socket is in `folder`; the connection URI."""
    with started(folder, namespaces=["--net"]) as daemon:
        yield daemon.uri


@contextmanager
def started(
    folder: Path, *, namespaces: Sequence[str] = (), settings: str = "", arguments: Sequence[str] = ()
) -> Iterator[Daemon]:
    """A running daemon.

    Args:
        folder: for its socket and log; an ``sshd_config`` in it starts an SSH server beside the daemon.
        namespaces: of its own, besides those for mounts and processes.
        settings: more lines for ``libvirtd.conf``.
        arguments: more arguments for ``libvirtd``.
    """
    config = folder / "libvirtd.conf"
    config.write_text(f'unix_sock_dir = "{folder}"\nunix_sock_rw_perms = "0700"\nauth_unix_rw = "none"\n{settings}')
    path = folder / "libvirt-sock"
    command = ["unshare", "--mount", *namespaces, "--pid", "--fork", "--kill-child", "--mount-proc"]
    with (folder / "libvirtd.log").open("wb") as log:
        words: list[str | Path] = [*command, "sh", "-c", _SETUP, "sh", config, folder / "sshd_config", *arguments]
        daemon = subprocess.Popen(words, stdout=log, stderr=log)
    try:
        _wait_for(path, daemon, folder / "libvirtd.log")
        yield Daemon(uri=f"qemu+unix:///system?socket={path}", root=Path(f"/proc/{daemon.pid}/root"))
    finally:
        daemon.send_signal(signal.SIGKILL)
        daemon.wait()


def daemon_process(folder: Path) -> int:
    """The process id of the daemon of `folder`, which is the only libvirtd that has it in its command line."""
    for command in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = command.read_bytes().split(b"\0")
        except OSError:
            continue
        if words[0].endswith(b"libvirtd") and any(os.fsencode(folder) in word for word in words):
            return int(command.parent.name)
    raise AssertionError(folder)


@contextmanager
def session_of_nobody(folder: Path) -> Iterator[str]:
    """A running daemon of a user who may nothing; the connection URI. All users must be able to enter `folder`."""
    home = folder / "home"
    home.mkdir(0o700)
    os.chown(home, NOBODY, NOBODY)
    variables = dict.fromkeys(("HOME", "XDG_RUNTIME_DIR", "XDG_CONFIG_HOME", "XDG_CACHE_HOME"), str(home))
    command = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "libvirtd"]
    with (folder / "libvirtd.log").open("wb") as log:
        daemon = subprocess.Popen(command, env={"PATH": os.environ["PATH"], **variables}, stdout=log, stderr=log)
    try:
        path = home / "libvirt" / "libvirt-sock"
        _wait_for(path, daemon, folder / "libvirtd.log")
        yield f"qemu+unix:///session?socket={path}"
    finally:
        daemon.terminate()
        daemon.wait()


def _wait_for(path: Path, daemon: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while not _answers(path):
        if daemon.poll() is not None or time.monotonic() > deadline:
            message = f"libvirtd did not start: {log.read_text()}"
            raise RuntimeError(message)
        time.sleep(0.02)


def _answers(path: Path) -> bool:
    """Whether somebody listens on the socket `path`."""
    with socket.socket(socket.AF_UNIX) as line:
        return line.connect_ex(str(path)) == 0
