"""Another host, as far as libvirt can tell: a daemon reached over TCP, TLS and SSH on the loopback device.

Its file system is its own where it matters: the pool's folder does not exist here, and is looked into through the
daemon's view (`RemoteHost.images`). A relay in between counts the bytes, and can cut or stall the line.
"""

from __future__ import annotations

import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import libvirt

from tests.build.libvirtd import Daemon, started
from tests.build.libvirtd import why_not as no_daemon

IMAGES = "/var/lib/libvirt/images"
SMALL = "/var/lib/libvirt/small"
SMALL_BYTES = 4 << 20

_CHUNK_BYTES = 1 << 16
_START_SECONDS = 10


@dataclass(frozen=True, kw_only=True)
class RemoteHost:
    """A host with the pools ``default`` and ``small``.

    Attributes:
        uri: for looking behind the target.
        root: its view of the file system.
        tcp_port: where the daemon takes plain connections.
        ssh_port: where its SSH server listens.
        tcp: connection URI by TCP.
        tls: by TLS, with a certificate of ours.
        ssh: by SSH, with a key of ours.
    """

    uri: str
    root: Path
    tcp_port: int
    ssh_port: int
    tcp: str
    tls: str
    ssh: str

    @property
    def images(self) -> Path:
        """The folder of its pool ``default``, as seen from here."""
        return self.root / IMAGES[1:]

    @property
    def small(self) -> Path:
        """The folder of its pool ``small``, as seen from here."""
        return self.root / SMALL[1:]


@contextmanager
def remote_host(folder: Path) -> Iterator[RemoteHost]:
    """A running host; `folder` is for keys, settings and logs."""
    tcp_port, tls_port, ssh_port = _free_ports(3)
    _make_certificates(folder)
    _make_keys(folder, ssh_port)
    settings = (
        f'listen_tcp = 1\nlisten_tls = 1\nlisten_addr = "127.0.0.1"\nauth_tcp = "none"\n'
        f'tcp_port = "{tcp_port}"\ntls_port = "{tls_port}"\n'
        f'ca_file = "{folder}/cacert.pem"\ncert_file = "{folder}/servercert.pem"\nkey_file = "{folder}/serverkey.pem"\n'
    )
    with started(folder, settings=settings, arguments=["--listen"]) as daemon:
        for port in (tcp_port, tls_port, ssh_port):
            _wait_for(port)
        _make_pools(daemon)
        yield RemoteHost(
            uri=daemon.uri,
            root=daemon.root,
            tcp_port=tcp_port,
            ssh_port=ssh_port,
            tcp=f"qemu+tcp://127.0.0.1:{tcp_port}/system",
            tls=f"qemu+tls://127.0.0.1:{tls_port}/system?pkipath={folder}",
            ssh=f"qemu+ssh://root@127.0.0.1:{ssh_port}/system?command={folder}/ssh",
        )


def why_not() -> str:
    """Why no such host can be had here; empty when one can."""
    return no_daemon("sshd", "ssh", "ssh-keygen", "openssl", "nsenter")


class Relay:
    """Carries bytes between a port of its own and another, and counts those that go there.

    Attributes:
        port: where it listens.
        sent_bytes: how many went to the other port so far.
    """

    def __init__(self, target_port: int, *, after: int | None, act: Callable[[Relay], None], port: int) -> None:
        """Relay to `target_port`, at `port` if it is not 0; `act` once, when more than `after` bytes went there."""
        self._target, self._after, self._act = target_port, after, act
        self._listener = socket.create_server(("127.0.0.1", port))
        self._ends: list[socket.socket] = []
        self.port: int = self._listener.getsockname()[1]
        self.sent_bytes = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        """Break the lines that there are; there may be new ones."""
        ends, self._ends = self._ends, []
        for end in ends:
            _shut(end)

    def close(self) -> None:
        """Break the lines, and take no new ones."""
        _shut(self._listener)
        self.cut()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                here, _ = self._listener.accept()
                there = socket.create_connection(("127.0.0.1", self._target))
                self._ends += [here, there]
                threading.Thread(target=self._carry_there, args=(here, there), daemon=True).start()
                threading.Thread(target=_carry, args=(there, here), daemon=True).start()

    def _carry_there(self, here: socket.socket, there: socket.socket) -> None:
        with suppress(OSError):
            while data := here.recv(_CHUNK_BYTES):
                self.sent_bytes += len(data)
                if self._after is not None and self.sent_bytes > self._after:
                    self._after = None
                    self._act(self)
                there.sendall(data)
        _shut(there)


@contextmanager
def relay(
    target_port: int, *, after: int | None = None, act: Callable[[Relay], None] = Relay.cut, port: int = 0
) -> Iterator[Relay]:
    """A running `Relay`."""
    running = Relay(target_port, after=after, act=act, port=port)
    try:
        yield running
    finally:
        running.close()


def _carry(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(_CHUNK_BYTES):
            target.sendall(data)
    _shut(target)


def _shut(end: socket.socket) -> None:
    with suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)
    end.close()


def _make_pools(daemon: Daemon) -> None:
    """Both pools, in folders that only the daemon sees."""
    inside = ["nsenter", "--mount", "--target", daemon.root.parent.name]
    _quietly(*inside, "mkdir", IMAGES, SMALL)
    _quietly(*inside, "mount", "-t", "tmpfs", "-o", f"size={SMALL_BYTES}", "tmpfs", SMALL)
    connection = libvirt.open(daemon.uri)
    for name, path in (("default", IMAGES), ("small", SMALL)):
        xml = f"<pool type='dir'><name>{name}</name><target><path>{path}</path></target></pool>"
        connection.storagePoolDefineXML(xml, 0).create(0)
    connection.close()


def _make_certificates(folder: Path) -> None:
    """A certificate authority, and certificates of it for the daemon and for us."""
    new = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
    ca: list[str | Path] = ["-subj", "/CN=authority", "-keyout", folder / "cakey.pem", "-out", folder / "cacert.pem"]
    _quietly(*new, *ca)
    signed: list[str | Path] = [
        "-CA",
        folder / "cacert.pem",
        "-CAkey",
        folder / "cakey.pem",
        "-addext",
        "basicConstraints=CA:FALSE",
    ]
    for name in ("server", "client"):
        own = ["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"]
        files: list[str | Path] = ["-keyout", folder / f"{name}key.pem", "-out", folder / f"{name}cert.pem"]
        _quietly(*new, *signed, *own, *files)


def _make_keys(folder: Path, port: int) -> None:
    """Keys and settings of an SSH server and its client, and the client as a program of its own: ``ssh``."""
    for name in ("hostkey", "userkey"):
        _quietly("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / name)
    host_key = (folder / "hostkey.pub").read_text()
    (folder / "known_hosts").write_text(f"remote {host_key}")
    (folder / "sshd_config").write_text(
        f"ListenAddress 127.0.0.1\nPort {port}\nHostKey {folder}/hostkey\nAuthorizedKeysFile {folder}/userkey.pub\n"
        f"PermitRootLogin prohibit-password\nStrictModes no\nUsePAM no\nPidFile none\n"
    )
    (folder / "ssh_config").write_text(
        f"HostKeyAlias remote\nIdentityFile {folder}/userkey\nUserKnownHostsFile {folder}/known_hosts\n"
    )
    (folder / "ssh").write_text(f'#!/bin/sh\nexec ssh -F {folder}/ssh_config "$@"\n')
    (folder / "ssh").chmod(0o700)


def _quietly(*command: str | Path) -> None:
    subprocess.run(command, check=True, capture_output=True)


def _free_ports(count: int) -> list[int]:
    probes = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [int(probe.getsockname()[1]) for probe in probes]
    for probe in probes:
        probe.close()
    return ports


def _wait_for(port: int) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while True:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except ConnectionRefusedError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)
        else:
            return
