"""Which images an install makes, and how each is placed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from virt_ova.disk.base import DiskFormat
from virt_ova.errors import PlanError
from virt_ova.findings import Severity
from virt_ova.ovf.envelope import Item
from virt_ova.ovf.hardware import HostKind, HostReference
from virt_ova.plan.inputs import DiskSource
from virt_ova.plan.ledger import Ledger, label
from virt_ova.plan.machine import DriveKind
from virt_ova.plan.naming import environment_image_name, image_name, variables_image_name
from virt_ova.plan.options import InstallOptions
from virt_ova.plan.plan import DiskMode, ImageFormat, Transfer
from virt_ova.text import quoted


@dataclass(kw_only=True, slots=True)
class Transfers:
    """The images of one plan while it is made.

    Attributes:
        disks: the package's disks, by ``ovf:diskId``.
        files: the package's files that are images, by ``ovf:id``.
        shared: ids of the disks that several machines share.
        options: choices for the install.
        ledger: takes findings.
        by_id: the transfers so far.
    """

    disks: Mapping[str, DiskSource]
    files: Mapping[str, DiskSource]
    shared: frozenset[str] = frozenset()
    options: InstallOptions
    ledger: Ledger
    by_id: dict[str, Transfer] = field(default_factory=dict)
    _used: set[str] = field(default_factory=set)
    _kinds: dict[str, DriveKind] = field(default_factory=dict)
    _counts: dict[tuple[str, DriveKind], int] = field(default_factory=dict)

    def add(self, machine: str, item: Item, kind: DriveKind, reference: HostReference) -> str:
        """Id of the transfer that fills a drive of `machine` with what `reference` names.

        A disk that several drives name becomes an image for each, as none of them may see what another writes, unless
        it is shared; the image of a shared disk, a CD or a floppy is made once.

        Raises:
            PlanError: the package has no such disk or file (``E_OVF_REF``), it is blank and of unknown capacity
                (``E_OVF_VALUE``), or the difference to, or of, a blank disk (``E_NOT_SUPPORTED``).
        """
        source = self._source(item, reference)
        if not (source.member or source.capacity_bytes):
            raise PlanError(
                f"{label(item)} is the blank disk {quoted(reference.id)}, whose capacity is not known",
                code="E_OVF_VALUE",
                where=item.where,
            )
        if source.parents and not all((source.member, *source.parents)):
            raise PlanError(
                f"{label(item)} is the disk {quoted(reference.id)}, which holds the difference to another one, "
                "expected a file for each of the two",
                code="E_NOT_SUPPORTED",
                where=item.where,
                hint="Merge the disks where they were made, and export the machine again.",
            )
        name = reference.id if reference.kind is HostKind.DISK else f"file/{reference.id}"
        transfer_id, copy = name, 1
        is_shared = self.is_shared(kind, reference)
        while transfer_id in self.by_id and not self._is_same(transfer_id, kind, source, is_shared=is_shared):
            copy += 1
            transfer_id = f"{name}#{copy}"
        if transfer_id not in self.by_id:
            self.by_id[transfer_id] = self._transfer(transfer_id, machine, kind, source, is_shared=is_shared)
            self._kinds[transfer_id] = kind
            self._used.add(name)
        return transfer_id

    def add_environment(self, machine: str) -> str:
        """Id of the transfer that is the CD with the OVF environment of `machine`; its size comes later."""
        transfer = Transfer(
            id=f"environment/{machine}",
            capacity_bytes=0,
            image_format=ImageFormat.RAW,
            mode=DiskMode.EXPAND,
            image_name=environment_image_name(machine),
            environment=machine,
        )
        self.by_id[transfer.id] = transfer
        return transfer.id

    def add_variables(self, machine: str, source: DiskSource) -> str:
        """Id of the transfer that is a copy of the EFI variables in `source`, for `machine` alone."""
        transfer = Transfer(
            id=f"variables/{machine}",
            member=source.member,
            capacity_bytes=source.capacity_bytes,
            image_format=ImageFormat.RAW,
            mode=DiskMode.EXPAND,
            image_name=variables_image_name(machine),
        )
        self.by_id[transfer.id] = transfer
        return transfer.id

    def in_package_order(self) -> tuple[Transfer, ...]:
        """All transfers, those without member last, the others as their members stand in the package."""
        offsets = {source.member: source.file_offset for source in [*self.files.values(), *self.disks.values()]}
        return tuple(sorted(self.by_id.values(), key=lambda each: (not each.member, offsets.get(each.member, 0))))

    def is_shared(self, kind: DriveKind, reference: HostReference) -> bool:
        """Whether what `reference` names becomes one image, to which several machines may write."""
        return kind is DriveKind.DISK and reference.kind is HostKind.DISK and reference.id in self.shared

    def unused_disks(self) -> tuple[str, ...]:
        """Ids of the package's disks that no drive has, and no disk that a drive has lies on."""
        below = {name for transfer in self.by_id.values() for name in transfer.parents}
        disks = self.disks.items()
        return tuple(disk_id for disk_id, disk in disks if disk_id not in self._used and disk.member not in below)

    def _source(self, item: Item, reference: HostReference) -> DiskSource:
        sources = self.disks if reference.kind is HostKind.DISK else self.files
        if (source := sources.get(reference.id)) is None:
            raise PlanError(
                f"{label(item)} is filled by {reference.kind} {quoted(reference.id)}, which the package does not have",
                code="E_OVF_REF",
                where=item.where,
            )
        return source

    def _is_same(self, transfer_id: str, kind: DriveKind, source: DiskSource, *, is_shared: bool) -> bool:
        """Whether another drive of that kind is to have the same image."""
        is_same = self._kinds[transfer_id] is kind and self.by_id[transfer_id].member == source.member
        return is_same and (is_shared or kind is not DriveKind.DISK)

    def _transfer(
        self, transfer_id: str, machine: str, kind: DriveKind, source: DiskSource, *, is_shared: bool
    ) -> Transfer:
        number = self._counts.get((machine, kind), 0) + 1
        self._counts[machine, kind] = number
        is_own_disk = kind is DriveKind.DISK and not is_shared
        image_format = (self.options.image_format or ImageFormat.QCOW2) if is_own_disk else ImageFormat.RAW
        return Transfer(
            id=transfer_id,
            member=source.member,
            parents=source.parents,
            file_format=source.file_format,
            capacity_bytes=source.capacity_bytes,
            image_format=image_format,
            mode=self._mode(source) if is_own_disk else DiskMode.EXPAND,
            image_name=image_name(machine, number, kind, image_format),
        )

    def _mode(self, source: DiskSource) -> DiskMode:
        """What the user chose, where the member allows it."""
        wanted = self.options.disk_mode
        if wanted is DiskMode.EXPAND or not source.member:
            return DiskMode.EXPAND
        needs_grains = {DiskMode.TRANSPLANT: "transplanted", DiskMode.HOST_EXPAND: "left to the host to expand"}
        if wanted in needs_grains and (source.parents or source.file_format != DiskFormat.VMDK_STREAM):
            kind = "the difference to another disk" if source.parents else source.file_format
            self.ledger.note(
                "DISK_MODE",
                Severity.INFO,
                f"disk {quoted(source.id)} is {kind}, which cannot be {needs_grains[wanted]}: it is expanded",
            )
            return DiskMode.EXPAND
        return wanted
