"""A Debian guest with cloud-init as Debian ships it, to see whether a guest understands what an install tells it.

Made with debootstrap from the mirror that apt is set up for, as root, in some minutes; kept in a cache.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import tempfile
from pathlib import Path
from typing import Final

from tests.build.appliance import image
from tests.build.appliance.debian import fetch_parts
from tests.build.appliance.tools import run
from virt_ova.units import MIB

CAPACITY_MIB: Final = 2048

_LABEL: Final = "appliance"
_PACKAGES: Final = (
    *("linux-image-amd64", "systemd-sysv", "udev", "kmod", "login", "passwd"),
    *("ifupdown", "isc-dhcp-client", "iproute2", "netbase", "cloud-init"),
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
    """The guest's disk as a streamOptimized VMDK of `CAPACITY_MIB`.

    Raises:
        RuntimeError: a program failed, or this is not root.
    """
    vmdk = cache / f"cloud-{hashlib.sha256(Path(__file__).read_bytes()).hexdigest()[:16]}.vmdk"
    if not vmdk.exists():
        (grub,) = fetch_parts("bios", cache).loaders
        with tempfile.TemporaryDirectory(dir=cache) as scratch:
            raw = _make_raw(_root_tree(Path(scratch, "root")), grub, Path(scratch))
            image._compress(raw, Path(scratch, "disk.vmdk")).rename(vmdk)
    return vmdk


def _root_tree(root: Path) -> Path:
    """A folder with the files of the guest."""
    mirror = re.search(r"^ *500 (\S+/debian) bookworm/main", run("apt-cache", "policy"), re.MULTILINE)
    run("debootstrap", "--variant=minbase", "bookworm", root, mirror[1] if mirror else "http://deb.debian.org/debian")
    (root / "etc/dpkg/dpkg.cfg.d/small").write_text(_SMALL)
    for name in ("etc/resolv.conf", "etc/hosts"):
        shutil.copy(Path("/", name), root / name)
    install = f"DEBIAN_FRONTEND=noninteractive {_INSTALL} {' '.join(_PACKAGES)} && apt-get clean"
    script = f"mount -t proc proc {root}/proc && chroot {root} sh -c '{install}'"
    run("unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-ec", script)
    (root / "boot/grub").mkdir()
    for name, text in _FILES.items():
        (root / name).write_text(text)
    return root


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
