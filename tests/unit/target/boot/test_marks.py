"""What a console says of the guest's disk. The lines are those that the programs print."""

from __future__ import annotations

import time

import pytest

from virt_ova.target.base import DiskState
from virt_ova.target.boot.marks import EVIDENCE_WIDTH, disk_sign


@pytest.mark.parametrize(
    ("line", "state"),
    [
        (b"[    4.210000] EXT4-fs (sda1): mounted filesystem with ordered data mode. Quota mode: none.", "found"),
        (b"[    4.210000] XFS (dm-0): Mounting V5 Filesystem", "found"),
        (b"[    4.210000] BTRFS info (device vda2): using crc32c (crc32c-intel) checksum algorithm", "found"),
        (b"Begin: Running /scripts/local-bottom ... done.", "found"),
        (b"[  OK  ] Reached target Initrd Root File System.", "found"),
        (b"[    3.1] systemd[1]: Switching root.", "found"),
        (b'[    2.500000] VFS: Cannot open root device "sda1" or unknown-block(0,0): error -6', "lost"),
        (b"[    2.5] Kernel panic - not syncing: VFS: Unable to mount root fs on unknown-block(0,0)", "lost"),
        (b"ALERT!  UUID=5f1c does not exist.  Dropping to a shell!", "lost"),
        (b"Gave up waiting for root file system device.  Common problems:", "lost"),
        (b"dracut-initqueue[412]: Warning: Could not boot.", "lost"),
        (b"ERROR: device 'UUID=5f1c' not found. Skipping fsck.", "lost"),
        (b"Mounting from ufs:/dev/da0p2 failed with error 19.", "lost"),
        (b"mountroot> ", "lost"),
        (b"Entering rescue mode...", "lost"),
        (b"Boot failed: not a bootable disk", "empty"),
        (
            b'BdsDxe: failed to load Boot0001 "UEFI QEMU HARDDISK QM00001 " from PciRoot(0x0)/Sata(0x0): Not Found',
            "empty",
        ),
        (b'BdsDxe: failed to load Boot0002 "UEFI QEMU DVD-ROM QM00003 " from PciRoot(0x0)/Sata(0x1): Not Found', ""),
        (b'BdsDxe: failed to load Boot0003 "UEFI PXEv4 (MAC:525400123456)" from PciRoot(0x0): Not Found', ""),
        (b"No bootable device.", "lost"),
        (b"BdsDxe: No bootable option or device was found.", "lost"),
        (b"UEFI Interactive Shell v2.2", "lost"),
        (b"[  OK  ] Reached target Basic System.", ""),
        (b"Linux version 6.1.0", ""),
    ],
)
def test_signs_are_known(line: bytes, state: str) -> None:
    sign = disk_sign(b"something\r\n" + line + b"\r\nmore\r\n")
    assert (sign.state if sign else "") == state
    assert sign is None or (sign.line, sign.is_final) == (line.decode().strip(), True)


def test_what_the_guest_says_outdoes_the_firmware() -> None:
    said = [
        b"No bootable device.",
        b"Boot failed: not a bootable disk",
        b"ALERT!  x does not exist",
        b"VFS: Mounted root",
    ]
    ranks = [sign.rank for sign in map(disk_sign, said) if sign]
    assert ranks == sorted(ranks, reverse=True)
    together = disk_sign(b"\n".join(said))
    assert together is not None
    assert (together.state, together.line) == (DiskState.FOUND, "VFS: Mounted root")


@pytest.mark.parametrize(
    "line",
    [
        b"dracut-initqueue[365]: Warning: dracut-initqueue timeout - starting timeout scripts",
        b"[ TIME ] Timed out waiting for device /dev/disk/by-uuid/5f1c.",
    ],
)
def test_one_that_still_waits_may_yet_find_its_disk(line: bytes) -> None:
    sign = disk_sign(line)
    assert sign is not None
    assert (sign.state, sign.is_final) == (DiskState.LOST, False)


def test_a_sign_is_escaped_and_cut() -> None:
    sign = disk_sign(b"ALERT!  \xe2\x80\xae\x1b[31m" + b"y" * 300 + b" does not exist")
    assert sign is not None
    assert len(sign.line) <= EVIDENCE_WIDTH + 5
    assert sign.line.startswith("ALERT!  \\u202eyyy")


@pytest.mark.parametrize("piece", [b"dracut-initqueue: ", b"ALERT! ", b"XFS (", b'BdsDxe: failed to load Boot0 "UEFI '])
def test_no_guest_makes_the_search_long(piece: bytes) -> None:
    begun = time.process_time()
    disk_sign(piece * (1 << 15))
    assert time.process_time() - begun < 2
