"""Debian guests as Debian ships them, made with debootstrap from the mirror that apt is set up for.

One has cloud-init, to see whether a guest understands what an install tells it. The other one has what a conversion
needs, and an initramfs with the driver of one controller alone, as one that was made on VMware with ``MODULES=dep``: on
any other it does not find its disk. Each is made as root, in some minutes, and kept in a cache.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final

from tests.build.appliance import image
from tests.build.appliance.debian import fetch_parts
from tests.build.appliance.package import pack_disk
from tests.build.appliance.spec import ApplianceSpec, DiskSpec
from tests.build.appliance.tools import run
from virt_ova.units import MIB

CAPACITY_MIB: Final = 2048

_LABEL: Final = "appliance"
_WITH_CLOUD_INIT: Final = (
    *("linux-image-amd64", "systemd-sysv", "udev", "kmod", "login", "passwd"),
    *("ifupdown", "isc-dhcp-client", "iproute2", "netbase", "cloud-init"),
)
_FOR_CONVERSION: Final = (
    *("linux-image-amd64", "systemd-sysv", "udev", "kmod", "login", "passwd"),
    *("initramfs-tools", "zstd", "grub2-common", "grub-pc-bin"),
)
_INSTALL: Final = "apt-get -q install -y --no-install-recommends"
_GRUB: Final = f"""serial --unit=0 --speed=115200
terminal_input serial
terminal_output serial
linux /vmlinuz root=LABEL={_LABEL} ro console=ttyS0 net.ifnames=0
initrd /initrd.img
boot
"""
_FILES: Final = {
    "boot/grub/grub.cfg": _GRUB,
    "etc/fstab": f"LABEL={_LABEL} / ext4 errors=remount-ro 0 1\n",
    "etc/hostname": "unnamed\n",
    "etc/machine-id": "",
    "etc/resolv.conf": "",
}
_SMALL: Final = "path-exclude=/usr/share/doc/*\npath-exclude=/usr/share/man/*\npath-exclude=/usr/share/locale/*\n"


def build_cloud_guest(cache: Path = image.DEFAULT_CACHE) -> Path:
    """The disk of the one with cloud-init, as a streamOptimized VMDK of `CAPACITY_MIB`.

    Raises:
        RuntimeError: a program failed, or this is not root.
    """
    return _build("cloud", _WITH_CLOUD_INIT, cache)


def build_strict_guest(output: Path, driver: str, cache: Path = image.DEFAULT_CACHE) -> Path:
    """Write a package of the one that has no storage driver but `driver` to start with, and names lsilogic; its path.

    Raises:
        RuntimeError: a program failed, or this is not root.
    """
    vmdk = _build(f"strict-{driver}", _FOR_CONVERSION, cache, finish=partial(_make_strict, driver))
    disk = DiskSpec(capacity_mib=CAPACITY_MIB)
    return pack_disk(output, ApplianceSpec(name="strict", controller="lsilogic", memory_mib=768, disk=disk), vmdk)


def _build(name: str, packages: tuple[str, ...], cache: Path, *, finish: Callable[[Path], None] | None = None) -> Path:
    """The disk of a guest with `packages`; `finish` is given the folder with its files."""
    vmdk = cache / f"{name}-{hashlib.sha256(Path(__file__).read_bytes()).hexdigest()[:16]}.vmdk"
    if not vmdk.exists():
        (grub,) = fetch_parts("bios", cache).loaders
        with tempfile.TemporaryDirectory(dir=cache) as scratch:
            tree = _root_tree(Path(scratch, "root"), packages)
            if finish:
                finish(tree)
            image._compress(_make_raw(tree, grub, Path(scratch)), Path(scratch, "disk.vmdk")).rename(vmdk)
    return vmdk


def _root_tree(root: Path, packages: tuple[str, ...]) -> Path:
    """A folder with the files of the guest."""
    mirror = re.search(r"^ *500 (\S+/debian) bookworm/main", run("apt-cache", "policy"), re.MULTILINE)
    run("debootstrap", "--variant=minbase", "bookworm", root, mirror[1] if mirror else "http://deb.debian.org/debian")
    (root / "etc/dpkg/dpkg.cfg.d/small").write_text(_SMALL)
    for name in ("etc/resolv.conf", "etc/hosts"):
        shutil.copy(Path("/", name), root / name)
    install = f"DEBIAN_FRONTEND=noninteractive {_INSTALL} {' '.join(packages)} && apt-get clean"
    script = f"mount -t proc proc {root}/proc && chroot {root} sh -c '{install}'"
    run("unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-ec", script)
    (root / "boot/grub").mkdir(exist_ok=True)
    for name, text in _FILES.items():
        (root / name).write_text(text)
    return root


def _make_strict(driver: str, root: Path) -> None:
    """Leave no storage driver but `driver` in the initramfs; what virt-v2v adds shall not speak into the login."""
    settings = root / "etc/systemd/system/guestfs-firstboot.service.d"
    settings.mkdir()
    (settings / "quiet.conf").write_text("[Service]\nStandardOutput=null\nStandardError=null\n")
    tools = root / "etc/initramfs-tools"
    configuration = tools / "initramfs.conf"
    configuration.write_text(configuration.read_text().replace("MODULES=most", "MODULES=list"))
    (tools / "modules").write_text(f"{driver}\nsd_mod\next4\n")
    run("chroot", root, "update-initramfs", "-u")


def _make_raw(tree: Path, grub: Path, scratch: Path) -> Path:
    """A disk that boots: GRUB, and an ext4 file system with the files of `tree`."""
    raw = scratch / "disk.raw"
    with raw.open("wb") as disk:
        disk.truncate(CAPACITY_MIB * MIB)
    partition = image._Partition(type=image._PARTITION_TYPE_LINUX, start_mib=1, size_mib=CAPACITY_MIB - 1)
    image._write_bios_grub(raw, grub, scratch)
    image._write_partition_table(raw, (partition,))
    features = ("-O", "^metadata_csum_seed,^orphan_file")  # GRUB 2.06 reads neither
    size = f"{partition.size_mib}M"
    run("mke2fs", "-q", "-t", "ext4", "-L", _LABEL, *features, "-E", f"offset={MIB}", "-d", tree, raw, size)
    return raw
