"""What drivers a Linux has, and which of them before there is a disk.

A driver helps to boot when it is built into the kernel or lies in its initramfs. Which kernel will be booted is the
boot loader's choice; so what counts is what all of them have, but for those that are there to rescue or to dump.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Final

from virt_ova.errors import ToolError
from virt_ova.inside.appliance import Appliance
from virt_ova.inside.initramfs import known_module, modules_in
from virt_ova.plan.insight import STORAGE_DRIVERS, Insight
from virt_ova.text import printable

MAX_INITRAMFS_BYTES: Final = 512 << 20
"""Most bytes of an initramfs that are read, as it lies on the disk."""

_MAX_LIST_BYTES: Final = 8 << 20
_MOST_KERNELS: Final = 4
_KERNEL: Final = re.compile(r"(?:vmlinuz|vmlinux|bzImage|kernel)(?:-(?P<version>[A-Za-z0-9._+-]+))?")
_OTHER_PURPOSE: Final = re.compile(r"rescue|kdump|recovery")
_INITRAMFS: Final = ("initrd.img{}", "initramfs{}.img", "initrd{}", "initrd{}.img", "initramfs{}", "initrd{}.gz")
"""Names of what belongs to a kernel with ``-VERSION`` behind its name."""

_MODULE: Final = re.compile(r"(?:.*/)?([A-Za-z0-9_-]+)\.ko(?:\.(?:gz|xz|zst))?")
_NUMBER: Final = re.compile(r"\d+")
_MOUNTED: Final = "/etc/fstab"
_BOOTED: Final = (
    *("/boot/grub/grub.cfg", "/boot/grub2/grub.cfg", "/boot/grub/menu.lst", "/boot/grub/grub.conf"),
    *("/etc/default/grub", "/boot/extlinux/extlinux.conf", "/boot/extlinux.conf", "/etc/kernel/cmdline"),
)
_DISK_NAME: Final = re.compile(rb"/dev/(?:[shv]d[a-z]|nvme\d+n\d+)[a-z0-9]*")
_ROOT: Final = re.compile(rb"\broot=(/dev/(?:[shv]d[a-z]|nvme\d+n\d+)[a-z0-9]*)")


@dataclass(frozen=True, kw_only=True, slots=True)
class _Kernel:
    """A kernel: what it can load when it starts, and later."""

    version: str
    boot_drivers: frozenset[str]
    drivers: frozenset[str]


def look_into_linux(appliance: Appliance, insight: Insight) -> Insight:
    """`insight` with what the Linux that is mounted in `appliance` has. Raises `ToolError`."""
    names = frozenset(_named_disks(appliance))
    insight = replace(insight, named_disks=tuple(sorted(names)))
    files = appliance.lines("ls", "/boot")
    found = [match for name in files if (match := _KERNEL.fullmatch(name)) and not _OTHER_PURPOSE.search(name)]
    versions = sorted({match["version"] or "" for match in found}, key=_by_number, reverse=True)[:_MOST_KERNELS]
    if not versions:
        return replace(insight, obstacle="no kernel was found in /boot")
    try:
        kernels = [_look_into_kernel(appliance, version, files) for version in versions]
    except ToolError as exc:
        hint = f" ({exc.hint})" if exc.hint else ""
        return replace(insight, obstacle=f"{exc.message}{hint}")
    return replace(
        insight,
        kernels=tuple(printable(kernel.version) for kernel in kernels),
        boot_drivers=_common(kernel.boot_drivers & STORAGE_DRIVERS for kernel in kernels),
        drivers=_common(kernel.drivers for kernel in kernels),
    )


def _look_into_kernel(appliance: Appliance, version: str, files: list[str]) -> _Kernel:
    """The kernel ``-version``. Raises `ToolError` (``E_INITRAMFS``) when its initramfs cannot be read."""
    release = _release(appliance, version)
    folder = f"/lib/modules/{release}"
    built_in = frozenset(_modules(appliance.read(f"{folder}/modules.builtin")))
    ending = f"-{version}" if version else ""
    name = next((name for form in _INITRAMFS if (name := form.format(ending)) in files), None)
    early = _initramfs_modules(appliance, f"/boot/{name}") if name else frozenset()
    if not name and not built_in:
        raise ToolError(f"no initramfs of the kernel {printable(version)} was found in /boot", code="E_INITRAMFS")
    installed = frozenset(_installed(appliance, folder)) if release else frozenset()
    boot_drivers = built_in | early
    return _Kernel(version=release or version, boot_drivers=boot_drivers, drivers=boot_drivers | installed)


def _release(appliance: Appliance, version: str) -> str:
    """The folder of the kernel's modules: its version, else the only one that there is; empty without one."""
    folders = appliance.lines("ls", "/lib/modules")
    return version if version in folders else folders[0] if len(folders) == 1 else ""


def _initramfs_modules(appliance: Appliance, path: str) -> frozenset[str]:
    size = appliance.ask("filesize", path)
    if not size.isdecimal() or int(size) > MAX_INITRAMFS_BYTES:
        raise ToolError(
            f"the initramfs {printable(path)} has {printable(size) or 'unknown'} bytes, "
            f"expected at most {MAX_INITRAMFS_BYTES}",
            code="E_INITRAMFS",
        )
    if (fetched := appliance.fetch(path, most_bytes=MAX_INITRAMFS_BYTES)) is None:
        raise ToolError(f"the initramfs {printable(path)} cannot be read", code="E_INITRAMFS")
    return modules_in(fetched)


def _installed(appliance: Appliance, folder: str) -> Iterator[str]:
    """Known modules in the folders of a kernel; ``modules.dep`` has a line for each."""
    if (fetched := appliance.fetch(f"{folder}/modules.dep", most_bytes=_MAX_LIST_BYTES)) is not None:
        yield from _modules(fetched.read_bytes())


def _modules(listing: bytes) -> Iterator[str]:
    """Known modules among the paths that lines begin with."""
    for line in listing.decode(errors="replace").splitlines():
        found = _MODULE.fullmatch(line.partition(":")[0])
        if found and (module := known_module(found[1])):
            yield module


def _named_disks(appliance: Appliance) -> Iterator[str]:
    """Disks that are mounted by their name, or that the kernel is told to boot from."""
    for line in appliance.read(_MOUNTED).splitlines():
        if found := _DISK_NAME.match(line.strip()):
            yield found[0].decode()
    for path in _BOOTED:
        yield from (found[1].decode() for found in _ROOT.finditer(appliance.read(path)))


def _common(sets: Iterable[frozenset[str]]) -> tuple[str, ...]:
    first, *others = sets
    return tuple(sorted(first.intersection(*others)))


def _by_number(version: str) -> list[int]:
    return [int(number) for number in _NUMBER.findall(version)]
