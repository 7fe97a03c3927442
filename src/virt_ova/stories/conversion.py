"""Handing machines that were installed, and not started yet, to ``virt-v2v-in-place`` (``--convert``).

    image -> a copy of it -> converted -> looked into -> machine defined with what the guest has now

The copy is the image as it was installed. It goes when the machine was watched and came up, and stays otherwise: only
then is known whether the conversion was good. virt-v2v-in-place of Debian 12 does not say what hardware it made the
guest ready for (``-O`` is newer); so that is seen by looking inside, which every version allows.
"""

from __future__ import annotations

import shlex
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Final

from virt_ova.disk.duplicate import duplicate
from virt_ova.errors import PlanError, TargetError, ToolError
from virt_ova.findings import Finding, Severity
from virt_ova.inside.appliance import check_guestfish, guestfs_environment, without_advice
from virt_ova.plan.inputs import VolumeSource
from virt_ova.plan.machine import DriveKind, Machine
from virt_ova.plan.options import InstallOptions
from virt_ova.plan.plan import DiskMode, InstallPlan, Transfer
from virt_ova.plan.to_libvirt import domain_xml
from virt_ova.process import find, run
from virt_ova.progress import Monitor
from virt_ova.stories.journal import Journal
from virt_ova.stories.scratch import scratch_folder
from virt_ova.stories.tailoring import check_files
from virt_ova.target.base import BootReport, Target, Volume
from virt_ova.text import printable, quoted

PROGRAM: Final = "virt-v2v-in-place"
PACKAGES: Final = "virt-v2v nbdkit linux-image-amd64"
"""Debian's, with what it needs to read libvirt's XML, and a kernel for libguestfs's appliance."""

_TIMEOUT_SECONDS: Final = 4 * 60 * 60
_REPORTING: Final = "; If reporting bugs"
_ERROR: Final = f"{PROGRAM}: error: "
_CAME_UP: Final = frozenset({"login", "agent", "network"})
"""States of a machine that shows that its conversion was good."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Copy:
    """An image of `machine` as it was installed; `transfer` made the original."""

    machine: str
    transfer: str
    volume: Volume


@dataclass(frozen=True, kw_only=True, slots=True)
class Conversion:
    """What was converted: the copies that there are, and what is to be said of it."""

    copies: tuple[Copy, ...] = ()
    findings: tuple[Finding, ...] = ()


def check_conversion(target: Target, plan: InstallPlan, options: InstallOptions) -> None:
    """Refuse what cannot work, before anything is written.

    Raises:
        PlanError: a disk is linked to the package, or shared by machines (``E_OPTION``).
        TargetError: the images will be no files of this host (``E_NOT_SUPPORTED``).
        ToolError: a program is missing (``E_TOOL_MISSING``).
    """
    if not options.convert:
        return
    check_files(target, "--convert")
    for program in (PROGRAM, "nbdkit"):
        find(program, package=PACKAGES)
    check_guestfish()
    for transfer in plan.transfers:
        if transfer.mode is DiskMode.LINK:
            raise PlanError(
                f"--convert changes disks, and {quoted(transfer.image_name)} would be linked to the package",
                code="E_OPTION",
                hint="Use --disk-mode expand.",
            )
    for machine in plan.machines:
        if any(drive.shared for drive in machine.drives):
            raise PlanError(
                f"--convert changes disks, and {quoted(machine.name)} shares one with other machines",
                code="E_OPTION",
                hint="Leave --convert out.",
            )


def with_room_for_copies(plan: InstallPlan, sizes: Mapping[str, int], options: InstallOptions) -> Mapping[str, int]:
    """`sizes` of images by transfer, twice where a copy is kept."""
    disks = {each for machine in plan.machines for each in _disks(machine)} if options.convert else set()
    return {name: size * (2 if name in disks else 1) for name, size in sizes.items()}


def convert_all(
    plan: InstallPlan,
    target: Target,
    *,
    volumes: Mapping[str, Volume],
    options: InstallOptions,
    journal: Journal,
    monitor: Monitor,
) -> Conversion:
    """Convert the machines of `plan` whose images are in `volumes`, where `options` ask for that.

    Raises:
        TargetError: a copy cannot be made.
        ToolError: a guest cannot be converted (``E_CONVERT``).
    """
    copies, findings = list[Copy](), list[Finding]()
    transfers = {transfer.id: transfer for transfer in plan.transfers}
    for machine in plan.machines if options.convert else ():
        for each in _disks(machine):
            volume = _copy(transfers[each], volumes[each], target, journal, monitor)
            copies.append(Copy(machine=machine.name, transfer=each, volume=volume))
        began = time.monotonic()
        step = f"Converting {machine.name}"
        monitor.begin(step)
        with scratch_folder(journal.note) as folder:
            _convert(machine, transfers, volumes, folder, can_kvm="kvm" in target.capabilities.virt_types)
        monitor.end(step)
        message = f"{quoted(machine.name)} was converted by {PROGRAM} in {time.monotonic() - began:.0f} s"
        findings.append(Finding(code="CONVERTED", severity=Severity.INFO, message=message))
    return Conversion(copies=tuple(copies), findings=tuple(findings))


def let_go(copies: Sequence[Copy], boots: Sequence[BootReport], *, target: Target, journal: Journal) -> Conversion:
    """Remove the copies of machines that came up; those that stay, and what is to be said of all."""
    proved = {boot.machine: boot.state for boot in boots if boot.state in _CAME_UP}
    kept, findings = list[Copy](), list[Finding]()
    for copy in copies:
        name, state = quoted(copy.volume.name), proved.get(copy.machine)
        if state and _is_removed(copy.volume, journal):
            message = f"{name}, the image before it was converted, was removed: {quoted(copy.machine)} came to {state}"
        else:
            kept.append(copy)
            command = _removal_command(copy.volume, target)
            message = f"{name} is the image before it was converted; when the machine has proved itself: {command}"
        findings.append(Finding(code="CONVERT_COPY", severity=Severity.INFO, message=message))
    return Conversion(copies=tuple(kept), findings=tuple(findings))


def _is_removed(copy: Volume, journal: Journal) -> bool:
    try:
        journal.take_back(copy)
    except TargetError:
        return False
    return True


def _removal_command(copy: Volume, target: Target) -> str:
    if copy.pool:
        return shlex.join(["virsh", "-c", target.uri, "vol-delete", "--pool", copy.pool, copy.name])
    return shlex.join(["rm", copy.path])


def _disks(machine: Machine) -> Iterator[str]:
    """Transfers of the machine's disks."""
    return (drive.transfer for drive in machine.drives if drive.kind is DriveKind.DISK and drive.transfer)


def _copy(transfer: Transfer, volume: Volume, target: Target, journal: Journal, monitor: Monitor) -> Volume:
    """A copy of an image that was written."""
    image = Path(transfer.image_name)
    name = f"{image.stem}.before-conversion{image.suffix}"
    step = f"Copying {transfer.image_name} to {name}"
    path = Path(volume.path)
    monitor.begin(step)
    try:
        with path.open("rb") as file:
            size_bytes = path.stat().st_size
            create = partial(target.create_volume, replace(transfer, image_name=name), size_bytes)
            copy = journal.make(f"volume {name}", create)
            duplicate(file, copy.sink)
    except OSError as exc:
        raise TargetError(f"{quoted(volume.path)} cannot be read: {exc.strerror}", code="E_IO") from exc
    monitor.end(step)
    return copy


def _convert(
    machine: Machine,
    transfers: Mapping[str, Transfer],
    volumes: Mapping[str, Volume],
    folder: Path,
    *,
    can_kvm: bool,
) -> None:
    """Let the program, which works in `folder`, change the images of `machine`. Raises `ToolError` (``E_CONVERT``)."""
    sources = {
        name: VolumeSource(image_format=transfers[name].image_format, path=volume.path)
        for name, volume in volumes.items()
    }
    description = folder / "domain.xml"
    description.write_text(domain_xml(machine, sources=sources))
    try:
        done = run(
            [PROGRAM, "--root", "single", "-i", "libvirtxml", str(description)],
            package=PACKAGES,
            timeout_seconds=_TIMEOUT_SECONDS,
            environment=guestfs_environment(folder, can_kvm=can_kvm),
            check=False,
        )
    except ToolError as exc:
        raise _failed(machine, exc.message) from exc
    if done.status:
        said = without_advice(done.stderr.partition(_REPORTING)[0].rpartition(_ERROR)[2])
        raise _failed(machine, said or f"{PROGRAM} ended with {done.status}, and gave no reason")


def _failed(machine: Machine, reason: str) -> ToolError:
    return ToolError(
        f"{quoted(machine.name)} could not be converted: {printable(reason, limit=1000)}",
        code="E_CONVERT",
        hint="Install it without --convert; --inspect-guest chooses hardware that the guest has drivers for.",
    )
