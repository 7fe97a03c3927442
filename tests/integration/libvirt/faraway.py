"""What tests of another host share: samples, and looks at what is there."""

from __future__ import annotations

import random
import subprocess
from collections.abc import Callable
from pathlib import Path

import libvirt

from tests.build.disks import SECTOR, sparse_vmdk
from tests.build.ova import build_ova, descriptor, with_manifest
from tests.build.remote import Relay, RemoteHost
from virt_ova import InstallResult
from virt_ova.progress import SilentMonitor

GRAIN = 64 << 10


def package(folder: Path, grains: int, *, compressible: bool = False) -> tuple[Path, int]:
    """A package with one disk of so many full grains; and the size of the disk's file."""
    source = random.Random(1)  # noqa: S311 - a sample
    data = {
        number: source.randbytes(GRAIN // 16) * 16 if compressible else source.randbytes(GRAIN)
        for number in range(grains)
    }
    image, capacity = sparse_vmdk(grains * GRAIN // SECTOR, data), str(grains * GRAIN)
    members = with_manifest([("a.ovf", descriptor([("a.vmdk", len(image))], capacity=capacity)), ("a.vmdk", image)])
    return build_ova(folder / "a.ova", members), len(image)


def by_relay(uri: str, real_port: int, line: Relay) -> str:
    """`uri` by way of `line`."""
    return uri.replace(f":{real_port}/", f":{line.port}/")


def left_of(host: RemoteHost) -> list[str]:
    """Machines and volumes on the host, as its daemon lists them and as they lie in its folders."""
    connection = libvirt.open(host.uri)
    pools = connection.listAllStoragePools(0)
    for pool in pools:
        pool.refresh(0)
    listed = [volume for pool in pools for volume in pool.listVolumes()]
    domains = [domain.name() for domain in connection.listAllDomains(0)]
    connection.close()
    assert sorted(listed) == sorted(path.name for path in (*host.images.iterdir(), *host.small.iterdir()))
    return sorted(domains + listed)


def clear(host: RemoteHost) -> None:
    """Leave nothing of one test for the next."""
    connection = libvirt.open(host.uri)
    for domain in connection.listAllDomains(0):
        if domain.isActive():
            domain.destroy()
        domain.undefine()
    connection.close()
    for path in (*host.images.iterdir(), *host.small.iterdir()):
        path.unlink()
    left_of(host)


class Watching(SilentMonitor):
    """Does something whenever bytes were copied."""

    def __init__(self, act: Callable[[], object]) -> None:
        self._act = act
        self.count = 0

    def advance(self, step: str, done_bytes: int) -> None:  # noqa: ARG002 - the protocol's
        self.count += 1
        self._act()


def compare(result: InstallResult, host: RemoteHost, original: Path, image_format: str) -> None:
    """The volume on the host is sound, and the same disk as `original`."""
    (volume,) = result.volumes
    image = host.root / volume.path[1:]
    assert not Path(volume.path).exists()
    assert image.stat().st_mode & 0o7777 == 0o600
    if image_format == "qcow2":
        subprocess.run(["qemu-img", "check", "-q", image], check=True)
    formats = ("-f", "vmdk", "-F", image_format)
    subprocess.run(["qemu-img", "compare", "-q", *formats, original, image], check=True)
