"""The initramfs: busybox, the drivers of every virtual machine's hardware, and ``guest/init``.

Debian's kernel package has no ``modules.dep`` (depmod runs at installation), so dependencies are read from the modules
themselves. The archive is cpio "newc", as the kernel's ``Documentation/driver-api/early-userspace/buffer-format.rst``
has it.
"""

from __future__ import annotations

import gzip
import re
import stat
from collections.abc import Collection, Iterator
from pathlib import Path

_DRIVERS = (
    *("virtio_pci", "ata_piix", "ahci", "nvme", "virtio_blk", "virtio_scsi"),
    *("sym53c8xx", "mptspi", "mptsas", "vmw_pvscsi", "BusLogic", "sd_mod", "sr_mod"),
    *("e1000", "e1000e", "pcnet32", "vmxnet3", "8139cp", "virtio_net"),
    "virtio_console",
    *("crc32c_generic", "ext4", "isofs", "efivarfs"),
)
_DEPENDS = re.compile(rb"\0depends=([^\0]*)\0")
_FOLDERS = ("bin", "dev", "drivers")


def build_initramfs(kernel: Path, busybox: Path, init: Path, *, without: Collection[str]) -> bytes:
    """The gzipped initramfs.

    Args:
        kernel: folder that the kernel package was unpacked into.
        busybox: a static busybox.
        init: the first program.
        without: drivers to leave out.
    """
    drivers = _load_order([name for name in _DRIVERS if name not in without], _modules(kernel))
    archive = b"".join(
        (
            *(entry(name, stat.S_IFDIR | 0o755) for name in _FOLDERS),
            entry("dev/console", stat.S_IFCHR | 0o600, device=(5, 1)),
            entry("init", stat.S_IFREG | 0o755, init.read_bytes()),
            entry("bin/busybox", stat.S_IFREG | 0o755, busybox.read_bytes()),
            *(entry(f"drivers/{path.name}", stat.S_IFREG | 0o644, path.read_bytes()) for path in drivers),
            entry("drivers/order", stat.S_IFREG | 0o644, "".join(f"{path.name}\n" for path in drivers).encode()),
            entry("TRAILER!!!", 0),
        )
    )
    return gzip.compress(archive, compresslevel=6, mtime=0)


def _modules(kernel: Path) -> dict[str, Path]:
    return {path.stem.replace("-", "_"): path for path in kernel.glob("lib/modules/*/kernel/**/*.ko")}


def _load_order(names: Collection[str], modules: dict[str, Path]) -> list[Path]:
    """The modules `names` and all that they need, each after what it needs."""
    ordered: dict[str, Path] = {}
    for name in names:
        for needed in _needs(name, modules):
            ordered.setdefault(needed, modules[needed])
    return list(ordered.values())


def _needs(name: str, modules: dict[str, Path]) -> Iterator[str]:
    """The names of `name`'s dependencies, deepest first, then `name`."""
    found = _DEPENDS.search(modules[name].read_bytes())
    if found is None:
        raise RuntimeError(f"{modules[name]}: no list of dependencies")
    for dependency in filter(None, found[1].decode().split(",")):
        yield from _needs(dependency.replace("-", "_"), modules)
    yield name


def entry(name: str, mode: int, content: bytes = b"", *, device: tuple[int, int] = (0, 0)) -> bytes:
    """One member: thirteen fields of eight hex digits, the name, the content, both padded to four bytes."""
    encoded = name.encode() + b"\0"
    fields = (0, mode, 0, 0, 1, 0, len(content), 0, 0, *device, len(encoded), 0)
    header = b"070701" + b"".join(b"%08X" % field for field in fields)
    return _padded(header + encoded) + _padded(content)


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)
