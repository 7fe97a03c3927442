"""What counts of a Linux with several kernels, or none that can be read; real ones are in ``tests/integration``."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import Final, cast

import pytest

from tests.build.appliance.initramfs import entry
from virt_ova.inside import linux
from virt_ova.inside.appliance import Appliance
from virt_ova.inside.linux import look_into_linux
from virt_ova.plan.insight import Insight

FILE: Final = stat.S_IFREG | 0o644


class Tree:
    """Answers as libguestfs does, for a folder."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def lines(self, command: str, path: str) -> list[str]:
        assert command == "ls"
        return sorted(each.name for each in self.inside(path).glob("*"))

    def ask(self, command: str, path: str) -> str:
        assert command == "filesize"
        return str(self.inside(path).stat().st_size)

    def read(self, path: str) -> bytes:
        return self.inside(path).read_bytes() if self.inside(path).is_file() else b""

    def fetch(self, path: str, *, most_bytes: int) -> Path | None:
        assert most_bytes
        return self.inside(path) if self.inside(path).is_file() else None

    def inside(self, path: str) -> Path:
        return self.root / path.removeprefix("/")


def add(root: Path, path: str, content: str | bytes = "") -> None:
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).write_bytes(content.encode() if isinstance(content, str) else content)


def add_kernel(root: Path, version: str, early: str, *, initramfs: str = "initrd.img-{}", later: str = "") -> None:
    add(root, f"boot/vmlinuz-{version}")
    archive = b"".join(entry(f"lib/{name}.ko", FILE) for name in early.split()) + entry("TRAILER!!!", 0)
    add(root, f"boot/{initramfs.format(version)}", archive)
    add(root, f"lib/modules/{version}/modules.builtin", "kernel/drivers/scsi/sd_mod.ko\n")
    add(
        root,
        f"lib/modules/{version}/modules.dep",
        "".join(f"kernel/{name}.ko.xz: kernel/a.ko\n" for name in later.split()),
    )


def seen(root: Path) -> Insight:
    return look_into_linux(cast("Appliance", Tree(root)), Insight())


def test_only_what_all_kernels_have_counts(tmp_path: Path) -> None:
    add_kernel(tmp_path, "5.10.0-9", "ahci virtio_blk e1000", later="vmxnet3 e1000")
    add_kernel(tmp_path, "5.10.0-11", "ahci mptsas", initramfs="initramfs-{}.img", later="e1000 virtio-net")
    add(tmp_path, "boot/vmlinuz-0-rescue-1")
    add(tmp_path, "boot/initramfs-5.10.0-11kdump.img", "not read")
    insight = seen(tmp_path)
    assert insight.kernels == ("5.10.0-11", "5.10.0-9")
    assert insight.boot_drivers == ("ahci", "sd_mod")
    assert insight.drivers == ("ahci", "e1000", "sd_mod")
    assert insight.obstacle == ""


def test_the_newest_kernels_are_looked_at(tmp_path: Path) -> None:
    for number in range(8, 13):
        add_kernel(tmp_path, f"6.{number}", "ahci" if number > 8 else "")
    insight = seen(tmp_path)
    assert insight.kernels == ("6.12", "6.11", "6.10", "6.9")
    assert insight.boot_drivers == ("ahci", "sd_mod")


def test_a_kernel_may_have_all_built_in(tmp_path: Path) -> None:
    add(tmp_path, "boot/bzImage")
    add(tmp_path, "lib/modules/6.6/modules.builtin", "kernel/virtio_blk.ko\nkernel/virtio_pci.ko\n")
    insight = seen(tmp_path)
    assert (insight.kernels, insight.boot_drivers) == (("6.6",), ("virtio_blk", "virtio_pci"))


def test_disks_that_are_named_are_told(tmp_path: Path) -> None:
    add_kernel(tmp_path, "6.1", "")
    add(
        tmp_path,
        "etc/fstab",
        "# /dev/sdz1\nUUID=1 / ext4\n /dev/sda2 none swap\n/dev/nvme0n1p1 /a ext4\n/dev/sr0 /cd auto\n",
    )
    add(tmp_path, "boot/grub/grub.cfg", "linux /vmlinuz root=/dev/vda1 ro\nset root='hd0,msdos1' # /dev/sdy\n")
    assert seen(tmp_path).named_disks == ("/dev/nvme0n1p1", "/dev/sda2", "/dev/vda1")


def test_what_is_not_seen_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert seen(tmp_path).obstacle == "no kernel was found in /boot"
    add(tmp_path, "boot/vmlinuz-6.1")
    assert seen(tmp_path).obstacle == "no initramfs of the kernel 6.1 was found in /boot"
    add(tmp_path, "boot/initrd-6.1", b"MZ\x90\0 is none")
    problem = "it goes on with 4d5a90002069, which is no known format"
    assert seen(tmp_path).obstacle == f"the initramfs cannot be read: {problem}"
    monkeypatch.setattr(linux, "MAX_INITRAMFS_BYTES", 3)
    assert seen(tmp_path).obstacle == "the initramfs /boot/initrd-6.1 has 12 bytes, expected at most 3"
    assert seen(tmp_path).boot_drivers == ()
