"""One disk of a package to a local file."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path

from virt_ova.disk.sink import check_room
from virt_ova.errors import PackageError, PlanError
from virt_ova.findings import Finding
from virt_ova.package.package import Package, PackageDisk, PackageSource, open_package
from virt_ova.package.verify import Signer, Trust
from virt_ova.plan.plan import DiskMode, ImageFormat, Transfer
from virt_ova.policy import TrustPolicy
from virt_ova.progress import Monitor, SilentMonitor
from virt_ova.stories.delivery import Scrutiny
from virt_ova.stories.journal import Journal, begin_new_file
from virt_ova.stories.recover import recover_hinted
from virt_ova.stories.supply import open_supply
from virt_ova.target.newfile import NewFile
from virt_ova.text import quoted


@dataclass(frozen=True, kw_only=True, slots=True)
class ConvertResult:
    """A disk that was converted.

    Attributes:
        disk: its id in the package.
        path: the new image.
        image_format: of the new image.
        mode: how it was placed.
        capacity_bytes: size of the guest's disk.
        trust: how far its bytes were verified.
        signer: who signed the package; None when nobody did, or it was not verified.
        findings: of the package and of the disk.
        elapsed_seconds: from opening the package to the end.
    """

    disk: str
    path: Path
    image_format: ImageFormat
    mode: DiskMode
    capacity_bytes: int
    trust: Trust
    signer: Signer | None = None
    findings: tuple[Finding, ...]
    elapsed_seconds: float


def convert(
    source: PackageSource,
    output: str | os.PathLike[str],
    *,
    disk: str | None = None,
    image_format: ImageFormat = ImageFormat.QCOW2,
    mode: DiskMode = DiskMode.EXPAND,
    verify: bool = True,
    trust_policy: TrustPolicy | None = None,
    monitor: Monitor | None = None,
) -> ConvertResult:
    """Write one disk of a package to the new file `output`.

    Args:
        source: path of an OVA, an OVF or a folder, http(s) URL, ``-`` for standard input, or an open binary file, which
            need not seek.
        output: a file that does not exist yet.
        disk: id of the disk; may be None when the package has only one.
        image_format: of the new file.
        mode: how it is placed.
        verify: check the manifest.
        trust_policy: whom to trust, and what to demand; nobody and nothing when None.
        monitor: is told of progress.

    Raises:
        VirtOvaError: it failed, and `output` was taken back.
    """
    if mode not in {DiskMode.EXPAND, DiskMode.TRANSPLANT, DiskMode.LINK}:
        raise PlanError(
            f"disk mode {mode} needs a host that expands the disk, and a file has none",
            code="E_OPTION",
            hint="Use --disk-mode expand.",
        )
    started, listener = time.monotonic(), monitor or SilentMonitor()
    scrutiny = Scrutiny(verify=verify, policy=trust_policy or TrustPolicy())
    with open_package(source) as package:
        chosen = _choose(package, disk)
        path = Path(output)
        transfer = _transfer(package, chosen, image_format=image_format, mode=mode, image_name=path.name)
        supply = open_supply(package, [transfer], scrutiny, listener)
        check_room(path.parent, sum(supply.check().values()))
        file = NewFile(path)
        with Journal(listener) as journal, recover_hinted(file.uri):
            logbook = begin_new_file(journal, file, package=package.name, monitor=listener)
            delivery = supply.fill(lambda *_: journal.make(f"file {path}", file.create))
            if logbook:
                logbook.note_defined()
            journal.keep()
    image = delivery.images[chosen.id]
    return ConvertResult(
        disk=chosen.id,
        path=path,
        image_format=image_format,
        mode=image.mode,
        capacity_bytes=image.capacity_bytes,
        trust=delivery.appraisal.trust,
        signer=delivery.appraisal.signer,
        findings=(*delivery.package.findings, *delivery.findings),
        elapsed_seconds=round(time.monotonic() - started, 3),
    )


def _transfer(
    package: Package, disk: PackageDisk, *, image_format: ImageFormat, mode: DiskMode, image_name: str
) -> Transfer:
    """What becomes of `disk`."""
    return Transfer(
        id=disk.id,
        member=disk.file_name,
        parents=_parents(package, disk),
        file_format=disk.format,
        capacity_bytes=disk.capacity_bytes or 0,
        image_format=image_format,
        mode=mode,
        image_name=image_name,
    )


def _choose(package: Package, disk_id: str | None) -> PackageDisk:
    ids = ", ".join(quoted(disk.id) for disk in package.disks) or "none"
    chosen = [disk for disk in package.disks if disk_id in {None, disk.id}]
    if len(chosen) == 1:
        return chosen[0]
    found = f"no disk {quoted(disk_id)}" if disk_id is not None else f"{len(chosen)} disks"
    raise PackageError(
        f"the package has {found}, expected one of {ids}",
        code="E_PKG_DISK",
        where=package.name,
        hint="Choose one with --disk ID; 'virt-ova disks' lists them.",
    )


def _parents(package: Package, disk: PackageDisk) -> tuple[str, ...]:
    """Names of the files of the disks that `disk` lies on, the nearest first."""
    names = tuple(parent.file_name for parent in package.parents_of(disk))
    if names and not all((disk.file_name, *names)):
        raise PackageError(
            f"the disk {quoted(disk.id)} holds the difference to another one, expected a file for each of the two",
            code="E_NOT_SUPPORTED",
            where=package.name,
            hint="Merge the disks where they were made, and export the machine again.",
        )
    return names
