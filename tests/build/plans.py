"""Small plans and guests for tests of targets."""

from __future__ import annotations

from virt_ova.plan.machine import (
    Bus,
    Connection,
    ConnectionKind,
    Controller,
    Cpus,
    Drive,
    DriveKind,
    Firmware,
    FirmwareKind,
    Machine,
    Nic,
)
from virt_ova.plan.plan import DiskMode, ImageFormat, InstallPlan, PackageIdentity, Transfer

USER = Connection(kind=ConnectionKind.USER)


def machine(
    name: str = "box",
    *,
    transfer: str = "disk1",
    chipset: str = "pc",
    virt_type: str = "qemu",
    firmware: FirmwareKind = FirmwareKind.BIOS,
    connection: Connection = USER,
) -> Machine:
    """A machine with one SATA disk (none without `transfer`), a network interface, a serial port, and no screen."""
    disk = Drive(id="d0", kind=DriveKind.DISK, bus=Bus.SATA, transfer=transfer, boot_order=1)
    return Machine(
        name=name,
        cpus=Cpus(count=1),
        memory_bytes=64 << 20,
        chipset=chipset,
        virt_type=virt_type,
        firmware=Firmware(kind=firmware),
        controllers=(Controller(bus=Bus.SATA),),
        drives=(disk,) if transfer else (),
        nics=(Nic(model="e1000", network="VM Network", connection=connection),),
        video="",
    )


def transfer(name: str = "box-disk1.raw", *, capacity: int = 1 << 20, form: ImageFormat = ImageFormat.RAW) -> Transfer:
    """The image ``disk1``."""
    return Transfer(id="disk1", capacity_bytes=capacity, image_format=form, mode=DiskMode.EXPAND, image_name=name)


def plan(one_machine: Machine, one_transfer: Transfer | None = None) -> InstallPlan:
    """A plan for one machine with one image."""
    return InstallPlan(
        package=PackageIdentity(name="box.ova", descriptor_sha256="0" * 64),
        machines=(one_machine,),
        transfers=(one_transfer or transfer(),),
    )


def talking_boot_sector(text: bytes) -> bytes:
    """A boot sector that writes `text`, without NUL, to the first serial port and halts."""
    before = bytes.fromhex("31c0 8ed8 be")  # xor ax, ax; mov ds, ax; mov si, message
    after = bytes.fromhex(
        "bafd03 ec a820 74f8"  # wait: mov dx, 0x3fd; in al, dx; test al, 0x20; jz wait
        "ac 84c0 7406"  # lodsb; test al, al; jz end
        "baf803 ee ebed"  # mov dx, 0x3f8; out dx, al; jmp wait
        "f4 ebfd"  # end: hlt; jmp end
    )
    message = 0x7C00 + len(before) + 2 + len(after)
    return (before + message.to_bytes(2, "little") + after + text + b"\0").ljust(510, b"\0") + b"\x55\xaa"
