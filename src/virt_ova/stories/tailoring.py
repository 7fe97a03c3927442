"""Hardware chosen by looking inside (``--inspect-guest``), between writing the disks and defining the machine.

Not to see anything is no failure: the machine is then as it was planned, which a finding says.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from virt_ova.errors import TargetError, ToolError
from virt_ova.findings import Finding, Severity
from virt_ova.inside.appliance import GuestImage, check_guestfish
from virt_ova.inside.look import look_inside
from virt_ova.plan.host import HostCapabilities
from virt_ova.plan.insight import Insight
from virt_ova.plan.machine import DriveKind, Machine
from virt_ova.plan.options import InstallOptions
from virt_ova.plan.plan import InstallPlan
from virt_ova.plan.tailoring import tailor
from virt_ova.progress import Monitor
from virt_ova.stories.journal import Journal
from virt_ova.stories.scratch import scratch_folder
from virt_ova.target.base import FileKeeper, Target, Volume
from virt_ova.text import printable, quoted

_LONGEST: Final = 500
"""Most characters of what libguestfs complains about."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Fitted:
    """The machines, cut to what was seen of their guests.

    Attributes:
        machines: in the order of the plan.
        insights: what was seen, of each that could be looked into.
        findings: what is to be said of both.
    """

    machines: tuple[Machine, ...]
    insights: tuple[Insight, ...] = ()
    findings: tuple[Finding, ...] = ()


def check_inspection(target: Target, options: InstallOptions) -> None:
    """Refuse what cannot work, before anything is written.

    Raises:
        TargetError: the images will be no files of this host (``E_NOT_SUPPORTED``).
        ToolError: guestfish is missing (``E_TOOL_MISSING``).
    """
    if options.inspect_guest:
        check_files(target, "--inspect-guest")
        check_guestfish()


def check_files(target: Target, option: str) -> None:
    """Refuse a target whose images are no files here. Raises `TargetError` (``E_NOT_SUPPORTED``)."""
    if not (isinstance(target, FileKeeper) and target.keeps_files_here):
        raise TargetError(
            f"{option} needs images that are files on this host, and those on {target.uri} are not",
            code="E_NOT_SUPPORTED",
            hint=f"Leave {option} out, or install on the host itself.",
        )


def fit_machines(
    plan: InstallPlan,
    volumes: Mapping[str, Volume],
    *,
    options: InstallOptions,
    host: HostCapabilities,
    journal: Journal,
    monitor: Monitor,
) -> Fitted:
    """The machines of `plan`, after a look inside the images in `volumes` where `options` ask for that."""
    if not (options.inspect_guest or options.convert):
        return Fitted(machines=plan.machines)
    machines, insights, findings = [], [], list[Finding]()
    for machine in plan.machines:
        step = f"Looking inside {machine.name}"
        monitor.begin(step)
        try:
            with scratch_folder(journal.note) as folder:
                seen = look_inside(guest_images(plan, machine, volumes), folder, can_kvm="kvm" in host.virt_types)
        except ToolError as exc:
            machines.append(machine)
            findings.append(_unseen(machine, exc))
        else:
            insight = replace(seen, machine=machine.name)
            tailored = tailor(machine, insight, options=options, host=host)
            machines.append(tailored.machine)
            insights.append(insight)
            findings += [*_seen(insight), *tailored.findings]
        monitor.end(step)
    return Fitted(machines=tuple(machines), insights=tuple(insights), findings=tuple(findings))


def guest_images(plan: InstallPlan, machine: Machine, volumes: Mapping[str, Volume]) -> Sequence[GuestImage]:
    """The images of the disks of `machine`."""
    formats = {transfer.id: transfer.image_format for transfer in plan.transfers}
    disks = (drive.transfer for drive in machine.drives if drive.kind is DriveKind.DISK and drive.transfer)
    return [GuestImage(path=volumes[each].path, image_format=formats[each]) for each in dict.fromkeys(disks)]


def _seen(insight: Insight) -> Iterator[Finding]:
    name, system = quoted(insight.machine), insight.system or insight.family or "a system that is not known"
    if insight.obstacle:
        message = f"{name} is {system}; its drivers are not known, and its hardware is as planned: {insight.obstacle}"
        yield Finding(code="GUEST_UNSEEN", severity=Severity.WARNING, message=message)
        return
    kernels = f", kernel {', '.join(insight.kernels)}" if insight.kernels else ""
    drivers = ", ".join(insight.boot_drivers) or "no driver that is known"
    message = f"{name} is {system}{kernels}; it starts with {drivers}"
    yield Finding(code="GUEST_SEEN", severity=Severity.INFO, message=message)


def _unseen(machine: Machine, error: ToolError) -> Finding:
    reason = printable(str(error), limit=_LONGEST)
    message = f"{quoted(machine.name)} could not be looked into, and its hardware is as planned: {reason}"
    return Finding(code="GUEST_UNSEEN", severity=Severity.WARNING, message=message)
