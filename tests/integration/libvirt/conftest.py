"""A libvirt daemon for these tests alone."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import libvirt
import pytest

from tests.build.appliance import ApplianceSpec, build_appliance
from tests.build.libvirtd import private_libvirtd, why_not
from tests.build.remote import RemoteHost, remote_host
from tests.build.remote import why_not as why_no_host
from tests.integration.libvirt.faraway import clear


@dataclass(frozen=True, kw_only=True)
class Daemon:
    """A running daemon: its URI, a connection for looking behind the target, and a folder that QEMU may enter."""

    uri: str
    connection: libvirt.virConnect
    folder: Path

    def add_pool(self, name: str) -> Path:
        """A persistent, inactive pool; its folder."""
        folder = self.folder / name
        folder.mkdir()
        xml = f"<pool type='dir'><name>{name}</name><target><path>{folder}</path></target></pool>"
        self.connection.storagePoolDefineXML(xml, 0)
        return folder


@pytest.fixture
def daemon() -> Iterator[Daemon]:
    """A fresh daemon without pools and networks."""
    if reason := why_not():
        pytest.skip(reason)
    with tempfile.TemporaryDirectory(prefix="virt-ova-tests-") as name:
        folder = Path(name)
        folder.chmod(0o711)
        with private_libvirtd(folder) as uri:
            connection = libvirt.open(uri)
            yield Daemon(uri=uri, connection=connection, folder=folder)
            connection.close()


@pytest.fixture(scope="session")
def running_host() -> Iterator[RemoteHost]:
    if reason := why_no_host():
        pytest.skip(reason)
    with tempfile.TemporaryDirectory(prefix="virt-ova-remote-") as name:
        folder = Path(name)
        folder.chmod(0o711)
        with remote_host(folder) as running:
            yield running


@pytest.fixture
def host(running_host: RemoteHost) -> Iterator[RemoteHost]:
    """Another host; empty."""
    yield running_host
    clear(running_host)


@pytest.fixture(scope="session")
def appliance(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A package whose guest says much while it boots."""
    return build_appliance(tmp_path_factory.mktemp("appliance") / "appliance.ova", ApplianceSpec())


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder for temporary files; empty."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    return tmp_path
