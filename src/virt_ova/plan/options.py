"""What the person who installs may choose."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from virt_ova.plan.machine import Connection
from virt_ova.plan.plan import DiskMode, ImageFormat
from virt_ova.policy import TrustPolicy


@dataclass(frozen=True, kw_only=True, slots=True)
class InstallOptions:
    """Choices for one install; every one has a default.

    Attributes:
        name: name of the machine; the package's own when None.
        pool: storage pool; the target's default when None.
        disk_mode: how disks are placed.
        image_format: format of new disk images.
        networks: package network name to connection; what is not named gets the target's default.
        deployment_option: id of the configuration; the package's default when None.
        properties: values of properties by full key (``[class.]key[.instance]``), or by ``ID:KEY`` for those of one
            system or collection; not in the repr, because it can hold passwords.
        accept_eulas: the package's licences were read, and are accepted.
        virt_type: ``kvm`` or ``qemu``; what the host can do when None.
        start: start the machine when it is installed.
        wait_boot_seconds: watch the started machine for so long; None means do not watch.
        boot_fallback: when the guest does not find its disk in that time, try it on other controllers.
        verify: check the manifest.
        strict: refuse a package or a plan of which there is a warning.
        trust_policy: whom to trust, and what to demand of the package.
    """

    name: str | None = None
    pool: str | None = None
    disk_mode: DiskMode = DiskMode.EXPAND
    image_format: ImageFormat = ImageFormat.QCOW2
    networks: Mapping[str, Connection] = field(default_factory=dict)
    deployment_option: str | None = None
    properties: Mapping[str, str] = field(default_factory=dict, repr=False)
    accept_eulas: bool = False
    virt_type: str | None = None
    start: bool = False
    wait_boot_seconds: float | None = None
    boot_fallback: bool = False
    verify: bool = True
    strict: bool = False
    trust_policy: TrustPolicy = field(default_factory=TrustPolicy)
