"""A libvirt daemon for these tests alone."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import libvirt
import pytest

from tests.build.libvirtd import private_libvirtd, why_not


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
