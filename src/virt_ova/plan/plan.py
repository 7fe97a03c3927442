"""What will be done: a pure value that round-trips as JSON.

``virt-ova plan`` prints it; edited, it is given back to ``virt-ova install --plan``. It names nothing of the machine it
was made on but the connections and hardware it chose.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from virt_ova.findings import Finding
from virt_ova.plan.machine import Machine

FORMAT_VERSION = 1
"""Raised when an older reader could misunderstand a plan."""


class Outcome(StrEnum):
    """What became of one piece of the package."""

    KEPT = "kept"
    MAPPED = "mapped"
    DROPPED = "dropped"
    ADDED = "added"


class DiskMode(StrEnum):
    """How a disk is placed (see "Three ways to place a disk" in the documentation).

    The last two are for a hypervisor that takes packages, which leaves no choice: nobody asks for them.
    """

    EXPAND = "expand"
    TRANSPLANT = "transplant"
    LINK = "link"
    HOST_EXPAND = "host-expand"
    STREAM = "stream"
    PASS_THROUGH = "pass-through"  # noqa: S105 - a way through


CHOOSABLE_MODES: Final = (DiskMode.EXPAND, DiskMode.TRANSPLANT, DiskMode.LINK, DiskMode.HOST_EXPAND)
"""The modes that a person, or a plan, can ask for."""

FOR_HYPERVISORS: Final = frozenset(DiskMode) - frozenset(CHOOSABLE_MODES)
"""The modes of what is sent to a hypervisor that takes packages."""


class ImageFormat(StrEnum):
    """Format of a new image."""

    QCOW2 = "qcow2"
    RAW = "raw"


@dataclass(frozen=True, kw_only=True, slots=True)
class Decision:
    """What became of one piece of hardware, and why.

    Attributes:
        item: what the package asked for (``SCSI controller 0: lsilogic``), escaped.
        outcome: kept, mapped, dropped, or added by us.
        result: what the machine gets; empty when dropped.
        reason: one sentence.
        where: element path in the descriptor; empty for what was added.
    """

    item: str
    outcome: Outcome
    result: str = ""
    reason: str
    where: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Transfer:
    """One disk image to be made on the target.

    Attributes:
        id: unique in the plan: the disk's id in the package, ``file/ID`` for a File that fills a drive, with ``#2``
            behind for the second image of the same; ``environment/MACHINE`` for a CD made here; ``variables/MACHINE``
            for EFI variables.
        member: name of the package's member; empty for a blank disk, and for an environment.
        parents: names of the members that it holds the difference to, the nearest first; none for a whole disk.
        file_format: what the member is (`virt_ova.disk.base.DiskFormat`), or empty for a blank disk.
        capacity_bytes: size the guest sees.
        image_format: what is written; CDs and floppies are raw.
        mode: how it is placed.
        image_name: file or volume name on the target, made by us.
        environment: name of the machine whose OVF environment the image holds; empty for all other images.
    """

    id: str
    member: str = ""
    parents: tuple[str, ...] = ()
    file_format: str = ""
    capacity_bytes: int
    image_format: ImageFormat
    mode: DiskMode
    image_name: str
    environment: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Setting:
    """The value of a property.

    Attributes:
        key: the full key.
        value: what the guest is told; None for a password, which no plan holds: it is asked for when it is needed.
        password: whether it is one.
    """

    key: str
    value: str | None = field(default=None, repr=False)
    password: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Entity:
    """A system or collection of the package, and what it is told (DSP8027's word).

    Attributes:
        id: ``ovf:id``.
        machine: name of the machine that a system becomes; empty for a collection.
        properties: those that have a value.
        content: of a collection.
    """

    id: str
    machine: str = ""
    properties: tuple[Setting, ...] = ()
    content: tuple[Entity, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class PackageIdentity:
    """Which package the plan was made for: `name` for people, the descriptor's SHA-256 for certainty."""

    name: str
    descriptor_sha256: str


@dataclass(frozen=True, kw_only=True, slots=True)
class InstallPlan:
    """A whole install.

    Attributes:
        version: `FORMAT_VERSION`.
        package: what it was made for.
        deployment_option: the configuration that was chosen; empty when the package has none.
        eulas_accepted: whether whoever made the plan accepted the package's licences.
        machines: in the order they are to be defined; `Startup.position` says in which they start.
        transfers: in the order the members stand in the package.
        entities: what the machines are told; empty when the package has no properties.
        decisions: what became of each piece of hardware.
        findings: what else is worth knowing.
    """

    version: int = FORMAT_VERSION
    package: PackageIdentity
    deployment_option: str = ""
    eulas_accepted: bool = False
    machines: tuple[Machine, ...]
    transfers: tuple[Transfer, ...]
    entities: tuple[Entity, ...] = ()
    decisions: tuple[Decision, ...] = ()
    findings: tuple[Finding, ...] = ()
