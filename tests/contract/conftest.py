"""The targets that the contract is held against."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import libvirt
import pytest

from tests.build.libvirtd import private_libvirtd, why_not
from tests.build.targets import open_plain
from virt_ova.target.base import Target
from virt_ova.target.libvirt.target import LibvirtTarget

SMALL_BYTES = 4 << 20
"""Size of the file system that is too small."""


@dataclass(frozen=True, kw_only=True)
class Bench:
    """One kind of target, with what a test needs to look behind it.

    Attributes:
        name: which.
        open: opens the target; an argument is the pool, where there are pools.
        open_small: opens one that has only `SMALL_BYTES` of room.
        folder: where its images are.
        names: names of everything on it that is not a file.
        occupy: puts a foreign machine of that name on it.
        takes_bytes: whether images can be written.
        runs: whether machines can be started.
    """

    name: str
    open: Callable[..., Target]
    open_small: Callable[[], Target]
    folder: Path
    names: Callable[[], frozenset[str]]
    occupy: Callable[[str], None]
    takes_bytes: bool = True
    runs: bool = True

    def snapshot(self) -> tuple[frozenset[str], frozenset[tuple[str, int, int]]]:
        """All that is there: names, and files with their inode and size."""
        files = self.folder.rglob("*") if self.folder.is_dir() else iter(())
        seen = {(str(path.relative_to(self.folder)), path.lstat().st_ino, path.lstat().st_size) for path in files}
        folders = {name for name, _, _ in seen if (self.folder / name).is_dir()}
        return self.names(), frozenset((name, inode, 0 if name in folders else size) for name, inode, size in seen)


@pytest.fixture(scope="session")
def open_folder() -> Iterator[Path]:
    """A folder that QEMU's own user can pass through, which pytest's are not."""
    with tempfile.TemporaryDirectory(prefix="virt-ova-tests-") as name:
        Path(name).chmod(0o711)
        yield Path(name)


@pytest.fixture(scope="session")
def small_folder(open_folder: Path) -> Iterator[Path]:
    """A file system with `SMALL_BYTES` of room."""
    folder = open_folder / "small"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={SMALL_BYTES}", "tmpfs", folder], capture_output=True, check=False
    )
    if mounted.returncode != 0:
        pytest.skip("mounting needs root")
    yield folder
    subprocess.run(["umount", folder], check=True)


@pytest.fixture(scope="session")
def libvirt_uri(open_folder: Path, small_folder: Path) -> Iterator[str]:
    """A daemon of our own, with the pools ``images`` and ``small``."""
    if reason := why_not():
        pytest.skip(reason)
    with private_libvirtd(open_folder) as uri:
        connection = libvirt.open(uri)
        for name, path in (("images", open_folder / "images"), ("small", small_folder)):
            path.mkdir(exist_ok=True)
            connection.storagePoolCreateXML(
                f"<pool type='dir'><name>{name}</name><target><path>{path}</path></target></pool>", 0
            )
        yield uri
        connection.close()


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "needs_bytes: of the targets only those that take an image's bytes")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Each kind of target in turn, as far as the test can do with it."""
    if "bench" in metafunc.fixturenames:
        kinds = ["dir", "libvirt-in-place", "libvirt-stream"]
        if metafunc.definition.get_closest_marker("needs_bytes") is None:
            kinds.append("libvirt-test")
        metafunc.parametrize("bench", kinds, indirect=True)


@pytest.fixture
def bench(request: pytest.FixtureRequest) -> Iterator[Bench]:
    """A kind of target."""
    make = {
        "dir": _directory,
        "libvirt-in-place": _libvirt,
        "libvirt-stream": _libvirt,
        "libvirt-test": _libvirt_test,
    }
    yield from make[request.param](request)


def _directory(request: pytest.FixtureRequest) -> Iterator[Bench]:
    folder: Path = request.getfixturevalue("tmp_path") / "machines"
    small: Path = request.getfixturevalue("small_folder")
    yield Bench(
        name="dir",
        open=lambda pool=None: open_plain(f"dir:{folder}", pool=pool),
        open_small=lambda: open_plain(f"dir:{small}"),
        folder=folder.parent,
        names=frozenset,
        occupy=lambda name: (folder / name).mkdir(parents=True),
    )


def _libvirt(request: pytest.FixtureRequest) -> Iterator[Bench]:
    uri: str = request.getfixturevalue("libvirt_uri")
    in_place = request.node.callspec.params["bench"] == "libvirt-in-place"
    connection = libvirt.open(uri)

    def open_pool(pool: str = "images") -> Target:
        return LibvirtTarget(libvirt.open(uri), uri=uri, pool=pool, in_place=in_place)

    yield Bench(
        name="libvirt",
        open=open_pool,
        open_small=lambda: open_pool("small"),
        folder=request.getfixturevalue("open_folder") / "images",
        names=lambda: _names(connection),
        occupy=lambda name: _occupy(connection, name, "qemu"),
    )
    _clear(connection)
    connection.close()


def _libvirt_test(request: pytest.FixtureRequest) -> Iterator[Bench]:
    connection = libvirt.open("test:///default")
    yield Bench(
        name="test",
        open=lambda pool=None: open_plain("test:///default", pool=pool),
        open_small=lambda: open_plain("test:///default"),
        folder=request.getfixturevalue("tmp_path"),
        names=lambda: _names(connection),
        occupy=lambda name: _occupy(connection, name, "test"),
        takes_bytes=False,
        runs=False,
    )
    _clear(connection)
    connection.close()


def _names(connection: libvirt.virConnect) -> frozenset[str]:
    domains = {f"domain {domain.name()} {domain.UUIDString()}" for domain in connection.listAllDomains(0)}
    pools = connection.listAllStoragePools(0)
    return frozenset(domains | {f"volume {volume}" for pool in pools for volume in pool.listVolumes()})


def _occupy(connection: libvirt.virConnect, name: str, kind: str) -> None:
    connection.defineXML(
        f"<domain type='{kind}'><name>{name}</name><memory>65536</memory><os><type>hvm</type></os></domain>"
    )


def _clear(connection: libvirt.virConnect) -> None:
    """Remove the foreign machine, if there is one."""
    for domain in connection.listAllDomains(libvirt.VIR_CONNECT_LIST_DOMAINS_INACTIVE):
        domain.undefine()
