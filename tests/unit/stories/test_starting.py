"""What is started when, and what is waited for."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from tests.unit.plan.builders import machine
from virt_ova.plan.machine import Machine, Startup
from virt_ova.progress import SilentMonitor
from virt_ova.stories import starting
from virt_ova.target.base import BootReport

Event = tuple[str, str]


class Guest:
    """A domain that remembers what was asked of it."""

    uuid = start_command = ""

    def __init__(self, name: str, events: list[Event]) -> None:
        self.name, self._events = name, events

    def start(self) -> None:
        self._events.append((self.name, "start"))

    def watch(self, seconds: float) -> BootReport:
        self._events.append((self.name, f"watch {seconds:g}"))
        return BootReport(state="login", seconds=1, evidence=self.name)

    def discard(self) -> None:
        raise AssertionError(self.name)


class Steps(SilentMonitor):
    """Remembers the steps, and that each ends before the next begins."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self.open = ""

    def begin(self, step: str, total_bytes: int | None = None) -> None:
        assert (self.open, total_bytes) == ("", None)
        self.open = step
        self.begun.append(step)

    def end(self, step: str) -> None:
        assert step == self.open
        self.open = ""


def run(
    monkeypatch: pytest.MonkeyPatch, turns: Sequence[Startup | None], *, watch_seconds: float | None = None
) -> tuple[list[Event], list[str], list[str]]:
    events: list[Event] = []
    machines: list[Machine] = [machine(name=f"m{number}", startup=turn) for number, turn in enumerate(turns)]
    monkeypatch.setattr("virt_ova.stories.starting.time.sleep", lambda seconds: events.append(("", f"sleep {seconds}")))
    steps = Steps()
    guests = [Guest(each.name, events) for each in machines]
    starts = starting.start_all(machines, guests, watch_seconds=watch_seconds, monitor=steps)
    assert not steps.open
    return events, steps.begun, [report.evidence for report in starting.reports_of(starts)]


def test_one_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    assert run(monkeypatch, [None]) == ([("m0", "start")], ["Starting m0"], [])


def test_one_machine_that_is_watched(monkeypatch: pytest.MonkeyPatch) -> None:
    events, _, reports = run(monkeypatch, [None], watch_seconds=7)
    assert (events, reports) == ([("m0", "watch 7")], ["m0"])


def test_delays_are_kept_but_for_the_last(monkeypatch: pytest.MonkeyPatch) -> None:
    turns = [Startup(position=1, delay_seconds=30), Startup(position=2), Startup(position=3, delay_seconds=99)]
    events, steps, reports = run(monkeypatch, turns)
    assert events == [("m0", "start"), ("", "sleep 30"), ("m1", "start"), ("m2", "start")]
    assert steps == [
        "Starting m0",
        "Waiting 30 s before m1 is started, as the package asks",
        "Starting m1",
        "Starting m2",
    ]
    assert reports == []


def test_the_position_counts_not_the_place_in_the_plan(monkeypatch: pytest.MonkeyPatch) -> None:
    turns = [Startup(position=3), Startup(position=1, delay_seconds=5), Startup(position=2, is_started=False)]
    events, steps, _ = run(monkeypatch, turns)
    assert events == [("m1", "start"), ("", "sleep 5"), ("m0", "start")]
    assert steps[1] == "Waiting 5 s before m0 is started, as the package asks"


def test_a_guest_that_is_waited_for_is_watched_instead_of_the_delay(monkeypatch: pytest.MonkeyPatch) -> None:
    turns = [
        Startup(position=1, delay_seconds=30, waits_for_guest=True),
        Startup(position=2, waits_for_guest=True),
        Startup(position=3, waits_for_guest=True),
    ]
    events, _, reports = run(monkeypatch, turns)
    assert events == [("m0", "watch 30"), ("m1", "watch 300"), ("m2", "start")]
    assert reports == ["m0", "m1"]


def test_who_watches_all_waits_for_delays_too(monkeypatch: pytest.MonkeyPatch) -> None:
    turns = [Startup(position=1, delay_seconds=30), Startup(position=2)]
    events, _, reports = run(monkeypatch, turns, watch_seconds=5)
    assert events == [("m0", "watch 5"), ("", "sleep 30"), ("m1", "watch 5")]
    assert reports == ["m0", "m1"]


def test_what_is_not_to_be_started_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    turns = [
        Startup(position=1, delay_seconds=3),
        Startup(position=2, is_started=False, delay_seconds=9),
        Startup(position=3),
    ]
    events, _, _ = run(monkeypatch, turns)
    assert events == [("m0", "start"), ("", "sleep 3"), ("m2", "start")]
    assert run(monkeypatch, [Startup(position=1, is_started=False)]) == ([], [], [])
