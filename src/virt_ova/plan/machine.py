"""A virtual machine as this project sees it: the hub of every dialect.

OVF, libvirt XML, a QEMU command line, vSphere: each is a pair of pure functions to and from `Machine`. It holds the
hardware that *will be*, not what the package asked for; what became of each piece of the package is in the plan's
`Decision` list. Words are those of libvirt's domain XML, because most targets speak them.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Bus(StrEnum):
    """How a drive is attached."""

    IDE = "ide"
    SATA = "sata"
    SCSI = "scsi"
    VIRTIO = "virtio"
    NVME = "nvme"
    USB = "usb"
    FDC = "fdc"


class DriveKind(StrEnum):
    """What a drive is."""

    DISK = "disk"
    CDROM = "cdrom"
    FLOPPY = "floppy"


class FirmwareKind(StrEnum):
    """What boots the machine."""

    BIOS = "bios"
    EFI = "efi"


class ConnectionKind(StrEnum):
    """What a network interface is plugged into."""

    NETWORK = "network"
    BRIDGE = "bridge"
    USER = "user"
    NONE = "none"
    PRIVATE = "private"
    """A network that the install makes, for its machines alone."""

    SHARED = "shared"
    """A network that the install makes, whose machines share the host's way out."""


class StopAction(StrEnum):
    """How a machine is stopped when all that belong together are."""

    POWER_OFF = "power-off"
    SHUTDOWN = "shutdown"
    NONE = "none"


@dataclass(frozen=True, kw_only=True, slots=True)
class Controller:
    """A drive controller. `model` is libvirt's (``lsisas1068``, ``virtio-scsi``), empty for the bus's only one."""

    bus: Bus
    index: int = 0
    model: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Drive:
    """A disk, CD or floppy drive.

    Attributes:
        id: unique in the machine; names the `Transfer` that fills it, if `transfer` is set.
        kind: what it is.
        bus: how it is attached.
        controller: index of the controller of that bus.
        unit: place on the controller, from 0; on IDE 0 and 1 are the primary channel, 2 and 3 the secondary.
        transfer: id of the `Transfer` with its content; empty for an empty drive.
        boot_order: 1 is tried first; None when not booted from.
        read_only: whether the guest may not write.
        shared: whether drives of other machines have the same image, all of them at once.
    """

    id: str
    kind: DriveKind
    bus: Bus
    controller: int = 0
    unit: int = 0
    transfer: str = ""
    boot_order: int | None = None
    read_only: bool = False
    shared: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Connection:
    """What a network interface is plugged into; `name` is the network's or bridge's, empty for user and none.

    Of a network that is to be made the user need not give the name; a machine's connection has one.
    """

    kind: ConnectionKind
    name: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Nic:
    """A network interface.

    Attributes:
        model: libvirt's model name.
        network: the package's name for the network.
        connection: what it is plugged into here.
        mac: fixed address, or empty to let the target choose.
        boot_order: as a drive's.
    """

    model: str
    network: str = ""
    connection: Connection
    mac: str = ""
    boot_order: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Cpus:
    """Virtual processors: `count` in all, `cores_per_socket` of them in a socket."""

    count: int
    cores_per_socket: int = 1


@dataclass(frozen=True, kw_only=True, slots=True)
class Firmware:
    """Firmware of the machine.

    Attributes:
        kind: what it is.
        secure_boot: whether it lets only signed loaders start.
        variables: id of the `Transfer` with the EFI variables to start with; empty for fresh ones.
    """

    kind: FirmwareKind = FirmwareKind.BIOS
    secure_boot: bool = False
    variables: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Startup:
    """The turn of a machine among those that are started and stopped together (DSP0243 9.7).

    Attributes:
        position: from 1; machines are stopped in the reverse order.
        is_started: whether it is started with the others.
        delay_seconds: how long to wait after its start before the next one is started.
        waits_for_guest: whether that wait ends as soon as the guest is up.
        stop_action: how it is stopped.
        stop_delay_seconds: how long to wait for it to stop before the next one is stopped.
    """

    position: int
    is_started: bool = True
    delay_seconds: int = 0
    waits_for_guest: bool = False
    stop_action: StopAction = StopAction.POWER_OFF
    stop_delay_seconds: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Machine:
    """One machine to be made.

    Attributes:
        name: safe for every target (``virt_ova.plan.naming``).
        title: the package's own name, for people.
        package: file name of the package it comes from, for people.
        description: annotation or product text.
        cpus: processors.
        memory_bytes: a multiple of 1 MiB.
        os_type: the package's word for the guest (``debian12_64Guest``).
        libosinfo_id: libosinfo's identifier of the guest (``http://debian.org/debian/11``); empty when not known.
        architecture: ``x86_64``, ``i686``, ``aarch64``.
        chipset: libvirt's machine type (``pc``, ``q35``).
        virt_type: ``kvm``, ``qemu``, or empty to let the target choose.
        firmware: BIOS or EFI.
        controllers: drive controllers.
        drives: in the order the guest should see them.
        nics: in the order the guest should see them.
        serial_ports: how many.
        parallel_ports: how many.
        video: libvirt's model, or empty for none.
        sound: libvirt's model, or empty for none.
        usb: libvirt's controller model, or empty for none.
        has_tablet: whether a pointer on USB tells where it is on the screen, not how far it went.
        has_tpm: whether a TPM 2.0 is emulated.
        has_agent_channel: whether a guest agent finds its port (``org.qemu.guest_agent.0``, on virtio-serial).
        clock: ``utc`` or ``localtime``.
        collection: the package's name for what the machine is a part of, for people; empty when it stands alone.
        startup: its turn among the machines of the package; None when it stands alone.
    """

    name: str
    title: str = ""
    package: str = ""
    description: str = ""
    cpus: Cpus
    memory_bytes: int
    os_type: str = ""
    libosinfo_id: str = ""
    architecture: str = "x86_64"
    chipset: str = "pc"
    virt_type: str = ""
    firmware: Firmware
    controllers: tuple[Controller, ...] = ()
    drives: tuple[Drive, ...] = ()
    nics: tuple[Nic, ...] = ()
    serial_ports: int = 1
    parallel_ports: int = 0
    video: str = "vga"
    sound: str = ""
    usb: str = ""
    has_tablet: bool = False
    has_tpm: bool = False
    has_agent_channel: bool = False
    clock: str = "utc"
    collection: str = ""
    startup: Startup | None = None


def images_of(machine: Machine) -> tuple[str, ...]:
    """Ids of the transfers that `machine` needs: those of its drives, and that of its EFI variables."""
    named = (*(drive.transfer for drive in machine.drives), machine.firmware.variables)
    return tuple(dict.fromkeys(filter(None, named)))
