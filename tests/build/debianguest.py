"""A whole Debian as it is found in the field: packages, an initramfs made by initramfs-tools, GRUB's tools, systemd.

Its initramfs has the driver of one controller alone, as one that was made on VMware with ``MODULES=dep``: on any other
it does not find its disk, until somebody makes its initramfs anew. It takes minutes to build, and is kept.
"""

from __future__ import annotations

import hashlib
import tempfile
from pathlib import Path

from tests.build.appliance.debian import fetch_parts
from tests.build.appliance.image import DEFAULT_CACHE, _compress, _Partition, _write_bios_grub, _write_partition_table
from tests.build.appliance.tools import run

CAPACITY_MIB = 2048
LABEL = "appliance"
_MIB = 1 << 20
_START_MIB = 1
_PACKAGES = (
    *("linux-image-amd64", "initramfs-tools", "grub2-common", "grub-pc-bin", "systemd-sysv", "udev", "zstd", "kmod"),
)
_FSTAB = f"LABEL={LABEL} / ext4 errors=remount-ro 0 1\n"
_GRUB = 'GRUB_TIMEOUT=1\nGRUB_CMDLINE_LINUX="console=tty0 console=ttyS0,115200"\nGRUB_DISABLE_OS_PROBER=true\n'
_GRUB_CONFIGURATION = """\
serial --unit=0 --speed=115200
terminal_output console serial
set timeout=1
menuentry "Debian" {{
    linux /boot/vmlinuz-{kernel} root=LABEL={label} ro console=tty0 console=ttyS0,115200
    initrd /boot/initrd.img-{kernel}
}}
"""
_LINUX = 0x83


def build_debian(driver: str = "mptsas", cache: Path = DEFAULT_CACHE) -> Path:
    """A disk as a streamOptimized VMDK, with a Debian that has no storage driver but `driver` in its initramfs."""
    digest = hashlib.sha256(driver.encode() + Path(__file__).read_bytes()).hexdigest()[:16]
    vmdk = cache / f"debian-{digest}.vmdk"
    if not vmdk.exists():
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache) as scratch:
            raw = _make_raw(driver, Path(scratch), cache)
            _compress(raw, Path(scratch, "disk.vmdk")).rename(vmdk)
    return vmdk


def _make_raw(driver: str, scratch: Path, cache: Path) -> Path:
    root, raw = scratch / "root", scratch / "disk.raw"
    run("debootstrap", "--variant=minbase", f"--include={','.join(_PACKAGES)}", "bookworm", root)
    _configure(root, driver)
    with raw.open("wb") as disk:
        disk.truncate(CAPACITY_MIB * _MIB)
    _write_bios_grub(raw, fetch_parts("bios", cache).loaders[0], scratch)
    size_mib = CAPACITY_MIB - _START_MIB
    _write_partition_table(raw, (_Partition(type=_LINUX, start_mib=_START_MIB, size_mib=size_mib),))
    features = "^metadata_csum_seed,^orphan_file"  # GRUB 2.06 reads neither
    place = f"offset={_START_MIB * _MIB}"
    run("mke2fs", "-q", "-t", "ext4", "-L", LABEL, "-O", features, "-E", place, "-d", root, raw, f"{size_mib}M")
    return raw


def _configure(root: Path, driver: str) -> None:
    (kernel,) = (path.name.removeprefix("vmlinuz-") for path in root.glob("boot/vmlinuz-*"))
    (root / "etc/fstab").write_text(_FSTAB)
    (root / "etc/hostname").write_text("appliance\n")
    (root / "etc/default/grub").write_text(_GRUB)
    (root / "boot/grub").mkdir(exist_ok=True)
    (root / "boot/grub/grub.cfg").write_text(_GRUB_CONFIGURATION.format(kernel=kernel, label=LABEL))
    tools = root / "etc/initramfs-tools"
    configuration = tools / "initramfs.conf"
    configuration.write_text(configuration.read_text().replace("MODULES=most", "MODULES=list"))
    (tools / "modules").write_text(f"{driver}\nsd_mod\next4\n")
    for left in (root / "boot").glob("initrd.img*"):
        left.unlink()
    run("chroot", root, "update-initramfs", "-c", "-k", kernel)
    run("chroot", root, "passwd", "--delete", "root")
    run("chroot", root, "apt-get", "clean")
