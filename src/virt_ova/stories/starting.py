"""Starting what was installed: in the order of the package, with its delays."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from virt_ova.interrupt import held_back
from virt_ova.plan.machine import Machine
from virt_ova.progress import Monitor
from virt_ova.target.base import BootReport, Domain

GUEST_SECONDS: Final = 300
"""How long a guest is waited for whose package gives no time."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Start:
    """A domain that was started, and what was seen of it; None when it was not watched."""

    domain: Domain
    report: BootReport | None


def reports_of(starts: Sequence[Start]) -> tuple[BootReport, ...]:
    """What was seen of those that were watched."""
    return tuple(start.report for start in starts if start.report is not None)


def start_all(
    machines: Sequence[Machine], domains: Sequence[Domain], *, watch_seconds: float | None, monitor: Monitor
) -> tuple[Start, ...]:
    """Start the domains of `machines` in the order of their positions, and wait in between as their turns say.

    Args:
        machines: as the plan has them; a plan that was edited may have them in another order than they start in.
        domains: of the machines, in the same order as these.
        watch_seconds: how long to watch each of them come up; None when nobody asked.
        monitor: is told of every start and every wait.

    Returns:
        Each start, in their order.

    Raises:
        TargetError: one cannot be started.
    """
    started = [
        (machine, domain)
        for machine, domain in zip(machines, domains, strict=True)
        if machine.startup is None or machine.startup.is_started
    ]
    started.sort(key=lambda each: each[0].startup.position if each[0].startup else 0)
    starts = []
    for number, (machine, domain) in enumerate(started, start=1):
        is_last = number == len(started)
        seconds = watch_seconds
        if seconds is None and not is_last and machine.startup and machine.startup.waits_for_guest:
            seconds = machine.startup.delay_seconds or GUEST_SECONDS
        report = _start(domain, seconds, monitor)
        starts.append(Start(domain=domain, report=report))
        if not is_last:
            _wait(machine, started[number][0], monitor, is_up=report is not None)
    return tuple(starts)


def _start(domain: Domain, watch_seconds: float | None, monitor: Monitor) -> BootReport | None:
    step = f"Starting {domain.name}"
    report = None
    monitor.begin(step)
    if watch_seconds is None:
        with held_back():
            domain.start()
    else:
        report = domain.watch(watch_seconds)
    monitor.end(step)
    return report


def _wait(machine: Machine, following: Machine, monitor: Monitor, *, is_up: bool) -> None:
    """Wait before `following` is started; not again for a guest that was waited for."""
    turn = machine.startup
    if turn is None or not turn.delay_seconds or (turn.waits_for_guest and is_up):
        return
    step = f"Waiting {turn.delay_seconds} s before {following.name} is started, as the package asks"
    monitor.begin(step)
    time.sleep(turn.delay_seconds)
    monitor.end(step)
