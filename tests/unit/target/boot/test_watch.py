"""What a console tells."""

from __future__ import annotations

import pytest

from virt_ova.target.boot.marks import BootState, classify
from virt_ova.target.boot.watch import KEPT_BYTES, BootWatch


@pytest.mark.parametrize(
    ("console", "state"),
    [
        (b"", BootState.NO_OUTPUT),
        (b"\r\n \x1b[2J\x1b[01;01H", BootState.NO_OUTPUT),
        (b"SeaBIOS (version 1.16.2-debian-1.16.2-1)\r\nBooting from Hard Disk...\r\n", BootState.FIRMWARE),
        (b'BdsDxe: loading Boot0001 "UEFI QEMU HARDDISK"\r\n', BootState.FIRMWARE),
        (b"something else", BootState.FIRMWARE),
        (b"GRUB loading.\r\nWelcome to GRUB!\r\n", BootState.BOOTLOADER),
        (b"\x1b[0m\x1b[30m\x1b[47mWelcome to GRUB!\r\n", BootState.BOOTLOADER),
        (b"error: no such partition.\r\nEntering rescue mode...\r\ngrub rescue> ", BootState.BOOTLOADER),
        (b"  Booting `Debian GNU/Linux'\r\n\r\nLoading Linux 6.1.0-18-amd64 ...\r\n", BootState.BOOTLOADER),
        (b"ISOLINUX 6.04 20200816 ETCD\r\n", BootState.BOOTLOADER),
        (b"EFI stub: Loaded initrd from LINUX_EFI_INITRD_MEDIA_GUID device path\r\n", BootState.KERNEL),
        (b"[    0.000000] Linux version 6.1.0-18-amd64 (debian-kernel@lists.debian.org)\r\n", BootState.KERNEL),
        (b"[   12.345678] random: crng init done\r\n", BootState.KERNEL),
        (b"FreeBSD 14.0-RELEASE #0 releng/14.0\r\n", BootState.KERNEL),
        (b"\r\nWelcome to \x1b[1mDebian GNU/Linux 12 (bookworm)\x1b[0m!\r\n", BootState.KERNEL),
        (b"[  1.0] x\r\n[    1.000000] Kernel panic - not syncing: VFS: Unable to mount root fs\r\n", BootState.PANIC),
        (b"panic: mountroot: unable to (re-)mount root.\r\n", BootState.PANIC),
        (b"[    9.000000] x\r\n\r\nDebian GNU/Linux 12 box ttyS0\r\n\r\nbox login: ", BootState.LOGIN),
        (b"Welcome to Alpine Linux 3.19\r\nKernel 6.6\r\n\r\nlocalhost login: \x1b[6n", BootState.LOGIN),
        (b"[    9.000000] x\r\nLast login: Mon Jan  1 00:00:00 UTC 2024 on ttyS0\r\n", BootState.KERNEL),
    ],
)
def test_marks_are_known(console: bytes, state: BootState) -> None:
    assert classify(console) is state


def test_every_state_has_its_word() -> None:
    words = [state.word for state in BootState]
    assert words == ["no-output", "firmware", "bootloader", "kernel", "panic", "login", "agent", "network"]


@pytest.mark.parametrize("size", [1, 7, 4096])
def test_the_state_does_not_depend_on_how_output_arrives(size: int) -> None:
    console = (
        b"SeaBIOS\r\nWelcome to GRUB!\r\n[    0.000000] Linux version 6.1\r\n" + b"noise\r\n" * 50 + b"box login: "
    )
    watch = BootWatch()
    for start in range(0, len(console), size):
        watch.feed(console[start : start + size])
    assert watch.state is BootState.LOGIN
    report = watch.report()
    assert report.state == "login"
    assert report.evidence == "noise\nnoise\nnoise\nnoise\nbox login:"


def test_the_furthest_state_stays() -> None:
    watch = BootWatch()
    watch.feed(b"[    0.000000] Linux version 6.1\r\n")
    reached = watch.reached
    watch.feed(b"SeaBIOS\r\n")
    assert (watch.state, watch.reached) == (BootState.KERNEL, reached)


def test_nothing_seen_is_no_output_at_no_time() -> None:
    report = BootWatch().report()
    assert (report.state, report.seconds, report.evidence) == ("no-output", 0.0, "")


def test_an_address_is_the_furthest_and_part_of_the_evidence() -> None:
    watch = BootWatch()
    watch.feed(b"box login: ")
    assert not watch.saw_both
    watch.saw_address("192.0.2.7\x1b[31m")
    assert watch.saw_both
    assert watch.report().state == "network"
    assert watch.report().evidence == "box login:\naddress 192.0.2.7\\x1b[31m"


def test_evidence_is_short_and_harmless() -> None:
    watch = BootWatch()
    watch.feed(b"\x1b[2J" + "\u202e".encode() + b"x" * 1000 + b"\x9b1m\r\n")
    evidence = watch.report().evidence
    assert len(evidence) < 200
    assert evidence.startswith("\\u202exxx")
    assert evidence.isprintable()


def test_memory_is_bounded() -> None:
    watch = BootWatch()
    for _ in range(20):
        watch.feed(b"y" * 65536)
    watch.feed(b"\nbox login: ")
    assert len(watch._console) == KEPT_BYTES
    assert watch.state is BootState.LOGIN
