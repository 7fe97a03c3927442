"""What the person who installs may choose."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from virt_ova.plan.machine import Bus, Connection
from virt_ova.plan.plan import DiskMode, ImageFormat
from virt_ova.policy import TrustPolicy


class MachineStyle(StrEnum):
    """What the hardware is chosen for.

    ``auto`` is the package's own hardware where the machine can boot from it; ``faithful`` is that wherever QEMU
    has the same chip; ``virtio`` is virtio for disks and network, for guests that have its drivers.
    """

    AUTO = "auto"
    FAITHFUL = "faithful"
    VIRTIO = "virtio"


@dataclass(frozen=True, kw_only=True, slots=True)
class InstallOptions:
    """Choices for one install; every one has a default.

    Attributes:
        name: name of the machine; the package's own when None.
        pool: storage pool; the target's default when None.
        disk_mode: how disks are placed.
        image_format: format of new disk images; qcow2 when None.
        networks: package network name to connection; what is not named gets the target's default.
        deployment_option: id of the configuration; the package's default when None.
        properties: values of properties by full key (``[class.]key[.instance]``), or by ``ID:KEY`` for those of one
            system or collection; not in the repr, because it can hold passwords.
        accept_eulas: the package's licences were read, and are accepted.
        machine: what the hardware is chosen for.
        disk_bus: puts every disk on this bus, whatever `machine` says.
        nic_model: makes every network interface this model, whatever `machine` says.
        inspect_guest: look inside the guest's disks, and choose hardware that it has drivers for.
        convert: let ``virt-v2v-in-place`` make the guest ready for virtio; looks inside as well.
        keep_mac: take the network interfaces' addresses over from the package.
        virt_type: ``kvm`` or ``qemu``; what the host can do when None.
        start: start the machine when it is installed.
        wait_boot_seconds: watch the started machine for so long; None means do not watch.
        boot_fallback: when the guest does not find its disk in that time, try it on other controllers.
        screenshots: a picture of each watched machine's screen is wanted; where there can be none, that is an error.
        verify: check the manifest.
        resume: take up an install of the same that was killed; its images that are whole are used.
        strict: refuse a package or a plan of which there is a warning.
        trust_policy: whom to trust, and what to demand of the package.
        fix_hardware: change what ESXi is known to refuse, in the descriptor that is sent to it.
    """

    name: str | None = None
    pool: str | None = None
    disk_mode: DiskMode = DiskMode.EXPAND
    image_format: ImageFormat | None = None
    networks: Mapping[str, Connection] = field(default_factory=dict)
    deployment_option: str | None = None
    properties: Mapping[str, str] = field(default_factory=dict, repr=False)
    accept_eulas: bool = False
    machine: MachineStyle = MachineStyle.AUTO
    disk_bus: Bus | None = None
    nic_model: str | None = None
    inspect_guest: bool = False
    convert: bool = False
    keep_mac: bool = False
    virt_type: str | None = None
    start: bool = False
    wait_boot_seconds: float | None = None
    boot_fallback: bool = False
    screenshots: bool = False
    verify: bool = True
    resume: bool = False
    strict: bool = False
    trust_policy: TrustPolicy = field(default_factory=TrustPolicy)
    fix_hardware: bool = False
