"""Starting what was installed: in the order of the package, with its delays."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Final

from virt_ova.interrupt import held_back
from virt_ova.plan.machine import Machine
from virt_ova.progress import Monitor
from virt_ova.target.base import BootReport, Domain

GUEST_SECONDS: Final = 300
"""How long a guest is waited for whose package gives no time."""


def start_all(
    machines: Sequence[Machine], domains: Sequence[Domain], *, watch_seconds: float | None, monitor: Monitor
) -> BootReport | None:
    """Start the domains of `machines` one after the other, and wait in between as their turns say.

    Args:
        machines: in the order of their start.
        domains: of the machines, in the same order.
        watch_seconds: how long to watch each of them come up; None when nobody asked.
        monitor: is told of every start and every wait.

    Returns:
        What was seen of the last one; None when it was not watched.

    Raises:
        TargetError: one cannot be started.
    """
    started = [
        (machine, domain)
        for machine, domain in zip(machines, domains, strict=True)
        if machine.startup is None or machine.startup.is_started
    ]
    report = None
    for number, (machine, domain) in enumerate(started, start=1):
        is_last = number == len(started)
        seconds = watch_seconds
        if seconds is None and not is_last and machine.startup and machine.startup.waits_for_guest:
            seconds = machine.startup.delay_seconds or GUEST_SECONDS
        report = _start(domain, seconds, monitor)
        if not is_last:
            _wait(machine, started[number][0], monitor, is_up=report is not None)
    return report if watch_seconds is not None else None


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
