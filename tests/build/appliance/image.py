"""The boot disk: an MBR, GRUB, and an ext4 file system (behind an EFI system partition when EFI boots it).

GRUB is put in place by hand, as ``grub-bios-setup`` would: ``boot.img`` into the first sector, ``core.img`` from the
second on, where ``boot.img`` looks for it as built. So neither root nor a loop device is needed.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import struct
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from tests.build.appliance.agent import install_agent
from tests.build.appliance.debian import Parts, fetch_parts
from tests.build.appliance.initramfs import build_initramfs
from tests.build.appliance.spec import DiskSpec
from tests.build.appliance.tools import TIME, run

DEFAULT_CACHE = Path(__file__).parents[3] / "build" / "appliance"
_HERE = Path(__file__).parent
_GUEST = _HERE / "guest"

_SECTOR_BYTES = 512
_MIB = 1024 * 1024
_LABEL = "appliance"
_UUID = "6f3c1a52-9d0e-4b7a-8c21-5e4f7a90b1d3"
_GRUB_MODULES = ("normal", "linux", "search", "search_label", "part_msdos", "ext2", "serial", "terminal", "test")
_GRUB_FIRST = f"search --set=root --label {_LABEL}\nset prefix=($root)/boot/grub\n"
_PARTITION_TYPE_LINUX = 0x83
_PARTITION_TYPE_ESP = 0xEF


@dataclass(frozen=True, kw_only=True, slots=True)
class _Partition:
    """A row of the MBR's table, in MiB."""

    type: int
    start_mib: int
    size_mib: int

    def entry(self, *, active: bool) -> bytes:
        """Sixteen bytes; the old cylinder fields are left at their "too large" value."""
        start, size = (mib * _MIB // _SECTOR_BYTES for mib in (self.start_mib, self.size_mib))
        far = b"\xfe\xff\xff"
        return struct.pack("<B3sB3sII", 0x80 if active else 0, far, self.type, far, start, size)


def build_disk(spec: DiskSpec, cache: Path = DEFAULT_CACHE) -> Path:
    """The disk as a streamOptimized VMDK, made only once for each `spec`, package version and version of this code.

    Raises:
        RuntimeError: a program failed; without lists of packages, ``apt-get update`` helps.
    """
    parts = fetch_parts(spec.firmware, cache)
    vmdk = cache / f"disk-{_fingerprint(spec, parts)}.vmdk"
    if not vmdk.exists():
        with tempfile.TemporaryDirectory(dir=cache) as scratch:
            _compress(_make_raw(spec, parts, Path(scratch), cache), Path(scratch, "disk.vmdk")).rename(vmdk)
    return vmdk


def _fingerprint(spec: DiskSpec, parts: Parts) -> str:
    asked = {**asdict(spec), "without_drivers": sorted(spec.without_drivers)}
    digest = hashlib.sha256(json.dumps([asked, parts.versions]).encode())
    for path in sorted((*_HERE.glob("*.py"), *_GUEST.iterdir())):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def _make_raw(spec: DiskSpec, parts: Parts, scratch: Path, cache: Path) -> Path:
    raw = scratch / "disk.raw"
    with raw.open("wb") as disk:
        disk.truncate(spec.capacity_mib * _MIB)
    partitions: tuple[_Partition, ...]
    if spec.is_efi:
        system = _Partition(type=_PARTITION_TYPE_ESP, start_mib=1, size_mib=15)
        _write_esp(raw, system, _efi_files(spec, parts, scratch), scratch)
        partitions = (system, _Partition(type=_PARTITION_TYPE_LINUX, start_mib=16, size_mib=spec.capacity_mib - 16))
    else:
        partitions = (_Partition(type=_PARTITION_TYPE_LINUX, start_mib=1, size_mib=spec.capacity_mib - 1),)
        _write_bios_grub(raw, parts.loaders[0], scratch)
    _write_partition_table(raw, partitions)
    _write_root(raw, partitions[-1], _root_tree(spec, parts, scratch / "root", cache))
    return raw


def _write_partition_table(raw: Path, partitions: tuple[_Partition, ...]) -> None:
    table = b"".join(partition.entry(active=place == 0) for place, partition in enumerate(partitions))
    signature = b"\x0a\x70\xa0\x0a\0\0"
    with raw.open("r+b") as disk:
        disk.seek(440)
        disk.write(signature + table.ljust(64, b"\0") + b"\x55\xaa")


def _write_bios_grub(raw: Path, grub: Path, scratch: Path) -> None:
    core = _grub_image("i386-pc", grub, scratch, "biosdisk")
    boot = (grub / "usr/lib/grub/i386-pc/boot.img").read_bytes()
    with raw.open("r+b") as disk:
        disk.write(boot[:440].ljust(_SECTOR_BYTES, b"\0") + core.read_bytes())


def _efi_files(spec: DiskSpec, parts: Parts, scratch: Path) -> dict[str, Path]:
    """What stands in ``EFI`` of the system partition. Debian's signed GRUB reads ``EFI/debian/grub.cfg``."""
    if len(parts.loaders) == 1:
        return {spec.loader: _grub_image("x86_64-efi", parts.loaders[0], scratch)}
    grub, shim = parts.loaders
    first = scratch / "signed.cfg"
    first.write_text(_GRUB_FIRST + "configfile $prefix/grub.cfg\n")
    return {
        "BOOT/BOOTX64.EFI": shim / "usr/lib/shim/shimx64.efi.signed",
        "BOOT/grubx64.efi": grub / "usr/lib/grub/x86_64-efi-signed/grubx64.efi.signed",
        "debian/grub.cfg": first,
    }


def _write_esp(raw: Path, partition: _Partition, files: Mapping[str, Path], scratch: Path) -> None:
    esp = scratch / "esp.img"
    run("mkfs.vfat", "-C", "-i", "0a70a00a", esp, str(partition.size_mib * 1024))
    run("mmd", "-i", esp, "::/EFI", "::/EFI/BOOT", "::/EFI/debian")
    for name, file in files.items():
        run("mcopy", "-m", "-i", esp, file, f"::/EFI/{name}")
    with raw.open("r+b") as disk:
        disk.seek(partition.start_mib * _MIB)
        disk.write(esp.read_bytes())


def _grub_image(platform: str, grub: Path, scratch: Path, *modules: str) -> Path:
    """GRUB with all that it needs to read ``/boot/grub/grub.cfg`` from the file system with our label."""
    first, image = scratch / "first.cfg", scratch / "grub.img"
    first.write_text(_GRUB_FIRST)
    folder = grub / "usr/lib/grub" / platform
    options = ("-O", platform, "-d", folder, "-c", first, "-p", "/boot/grub", "-o", image)
    run("grub-mkimage", *options, *_GRUB_MODULES, *modules)
    return image


def _root_tree(spec: DiskSpec, parts: Parts, root: Path, cache: Path) -> Path:
    """A folder with the files of the root file system."""
    for folder in ("bin", "boot/grub", "dev", "etc", "proc", "run", "sys", "tmp", "root"):
        (root / folder).mkdir(parents=True)
    busybox = parts.busybox / "bin/busybox"
    (kernel,) = parts.kernel.glob("boot/vmlinuz-*")
    shutil.copy(busybox, root / "bin/busybox")
    for applet in run(busybox, "--list").split():
        if applet != "busybox":
            (root / "bin" / applet).symlink_to("busybox")
    (root / "sbin").symlink_to("bin")
    shutil.copy(kernel, root / "boot/vmlinuz")
    for name in ("inittab", "rc", "udhcpc"):
        shutil.copy(_GUEST / name, root / "etc" / name)
    (root / "etc/passwd").write_text("root::0:0:root:/root:/bin/sh\n")
    (root / "etc/group").write_text("root:x:0:\n")
    (root / "etc/fstab").write_text(f"LABEL={_LABEL} / ext4 defaults 0 1\n")
    (root / "etc/os-release").write_text('ID=appliance\nPRETTY_NAME="virt-ova appliance"\n')
    (listing,) = parts.kernel.glob("lib/modules/*/modules.builtin")
    modules = root / listing.parent.relative_to(parts.kernel)
    modules.mkdir(parents=True)
    shutil.copy(listing, modules)
    (root / "etc/issue").write_text("virt-ova appliance \\l\n\n")
    initramfs = build_initramfs(parts.kernel, busybox, _GUEST / "init", without=spec.without_drivers)
    (root / "boot/initrd.img").write_bytes(initramfs)
    if spec.agent:
        install_agent(root, cache)
    (root / "boot/grub/grub.cfg").write_text(_grub_configuration(panics=spec.panics))
    return root


def _grub_configuration(*, panics: bool) -> str:
    lines = (_GUEST / "grub.cfg").read_text().splitlines(keepends=True)
    return "".join(line for line in lines if not (panics and line.strip().startswith("initrd ")))


def _write_root(raw: Path, partition: _Partition, tree: Path) -> None:
    """Make the ext4 file system in its place on the disk, with the files of `tree`."""
    for path in (tree, *tree.rglob("*")):
        os.utime(path, (TIME, TIME), follow_symlinks=False)
    features = "^metadata_csum_seed,^orphan_file"  # GRUB 2.06 reads neither
    place = f"offset={partition.start_mib * _MIB},hash_seed={_UUID},root_owner=0:0"
    names = ("-L", _LABEL, "-U", _UUID)
    run("mke2fs", "-q", "-t", "ext4", *names, "-O", features, "-E", place, "-d", tree, raw, f"{partition.size_mib}M")
    _smooth_inodes(f"{raw}?offset={partition.start_mib * _MIB}", count=len(list(tree.rglob("*"))), scratch=tree.parent)


def _smooth_inodes(device: str, *, count: int, scratch: Path) -> None:
    """Give all files to root, with one change time: mke2fs copies those of the tree, which only root could set."""
    root, first = 2, 12  # lost+found is 11
    values = {"uid": "0", "gid": "0", "ctime": f"@{TIME}", "ctime_extra": "0"}
    commands = scratch / "debugfs.commands"
    commands.write_text(
        "".join(
            f"set_inode_field <{inode}> {field} {value}\n"
            for inode in (root, *range(first, first + count))
            for field, value in values.items()
        )
    )
    run("debugfs", "-w", "-f", commands, device)


def _compress(raw: Path, vmdk: Path) -> Path:
    options = "subformat=streamOptimized,adapter_type=lsilogic"
    run("qemu-img", "convert", "-f", "raw", "-O", "vmdk", "-o", options, raw, vmdk)
    with vmdk.open("r+b") as image:  # qemu-img draws the content id: the same disk shall be the same file
        image.seek(_SECTOR_BYTES)
        descriptor = image.read(20 * _SECTOR_BYTES)
        image.seek(_SECTOR_BYTES)
        fixed = re.sub(rb"\nCID=[0-9a-f]+", b"\nCID=a70a00a", descriptor, count=1)
        image.write(fixed[: len(descriptor)].ljust(len(descriptor), b"\0"))
    return vmdk
