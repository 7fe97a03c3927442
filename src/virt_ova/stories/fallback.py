"""Which controller the guest finds its disk on (``--boot-fallback``).

    machine as planned -> tried -> its disk is not found -> on SATA -> tried -> on IDE -> on virtio

Each try runs on an overlay and without a network, and ends when it is clear whether the guest finds its disk; so a
failed one has changed nothing. The machine that is defined in the end has the images as they were installed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

from virt_ova.errors import PlanError, TargetError
from virt_ova.findings import Finding, Severity
from virt_ova.plan.ladder import Rung, ladder, unplugged
from virt_ova.plan.machine import Machine
from virt_ova.plan.options import InstallOptions
from virt_ova.progress import Monitor
from virt_ova.stories.journal import Journal
from virt_ova.target.base import BootReport, DiskState, Target, Trier, Volume
from virt_ova.text import quoted

_CANNOT_HAVE: Final = frozenset({"E_START", "E_NOT_SUPPORTED", "E_PLAN_HARDWARE"})
"""Errors that say that the target cannot run such a machine."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Settled:
    """A machine that was settled on, and what is to be said of it."""

    machine: Machine
    finding: Finding | None = None


def check_fallback(target: Target, options: InstallOptions) -> None:
    """Refuse what cannot work, before anything is written.

    Raises:
        PlanError: nobody said how long a try may take (``E_OPTION``).
        TargetError: the target cannot try machines (``E_NOT_SUPPORTED``).
    """
    if options.boot_fallback and options.wait_boot_seconds is None:
        raise PlanError("boot_fallback needs wait_boot_seconds, which says how long a try may take", code="E_OPTION")
    if options.boot_fallback and not isinstance(target, Trier):
        raise TargetError(
            f"{target.uri} cannot try a machine without changing its disks, expected a folder or libvirt",
            code="E_NOT_SUPPORTED",
            hint="Leave --boot-fallback out.",
        )


def settle(
    machines: Sequence[Machine],
    target: Target,
    *,
    volumes: Mapping[str, Volume],
    options: InstallOptions,
    journal: Journal,
    monitor: Monitor,
) -> list[Settled]:
    """`machines`, tried one after another where `options` ask for that.

    Raises:
        TargetError: a machine cannot be started as planned, or a try cannot be removed.
    """
    if not (options.boot_fallback and options.wait_boot_seconds and isinstance(target, Trier)):
        return [Settled(machine=machine) for machine in machines]
    seconds = options.wait_boot_seconds
    fallback = _Fallback(target=target, volumes=volumes, journal=journal, seconds=seconds, monitor=monitor)
    return [fallback.settle(machine) for machine in machines]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Fallback:
    """Tries machines on `target`, for `seconds` each."""

    target: Trier
    volumes: Mapping[str, Volume]
    journal: Journal
    seconds: float
    monitor: Monitor

    def settle(self, machine: Machine) -> Settled:
        """`machine`, or the first like it that finds its disk elsewhere."""
        planned, *others = ladder(machine)
        report = self._try(planned)
        if report.disk is not DiskState.LOST:
            return Settled(machine=machine, finding=_unclear(machine, report, self.seconds))
        lost = f"{quoted(machine.name)} does not find its disk on {planned.disks_on} ({report.disk_sign})"
        for rung in others:
            if self._finds_disk(rung):
                message = f"{lost}, but on {rung.disks_on}: it was installed with its disk there"
                return Settled(machine=rung.machine, finding=_warning("BOOT_FALLBACK", message))
        elsewhere = " or ".join(rung.disks_on for rung in others)
        message = f"{lost}, nor on {elsewhere}: it was installed as planned"
        return Settled(machine=machine, finding=_warning("BOOT_FALLBACK_FAILED", message))

    def _finds_disk(self, rung: Rung) -> bool:
        try:
            return self._try(rung).disk is DiskState.FOUND
        except TargetError as exc:
            if exc.code not in _CANNOT_HAVE:
                raise
            return False

    def _try(self, rung: Rung) -> BootReport:
        machine = unplugged(rung.machine)
        step = f"Trying {machine.name} with its disk on {rung.disks_on}"
        self.monitor.begin(step)
        create = partial(self.target.define_trial, machine, self.volumes)
        with self.journal.attempt(f"trial of {machine.name}", create) as trial:
            report = trial.watch_disk(self.seconds)
        self.monitor.end(step)
        return report


def _unclear(machine: Machine, report: BootReport, seconds: float) -> Finding | None:
    """What is to be said when a machine was kept although nobody knows whether it finds its disk."""
    if report.disk is not DiskState.UNKNOWN:
        return None
    message = (
        f"within {seconds:g} s nothing told whether {quoted(machine.name)} finds its disk (it came to: "
        f"{report.state}): it was installed as planned"
    )
    return Finding(code="BOOT_FALLBACK_UNCLEAR", severity=Severity.INFO, message=message)


def _warning(code: str, message: str) -> Finding:
    return Finding(code=code, severity=Severity.WARNING, message=message)
