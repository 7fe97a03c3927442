"""In which order machines start."""

from __future__ import annotations

import pytest

from tests.unit.plan.builders import envelope, item, plan_of, system
from virt_ova.findings import Severity
from virt_ova.ovf.envelope import Envelope, ResourceType, StartupItem, VirtualSystem, VirtualSystemCollection
from virt_ova.plan.machine import Startup, StopAction
from virt_ova.plan.turns import MAX_DELAY_SECONDS, turns_of

NIC = item(ResourceType.ETHERNET, "1", subtypes="e1000")


def vm(name: str) -> VirtualSystem:
    return system(NIC, id=name, name=name)


def group(
    name: str, *content: VirtualSystem | VirtualSystemCollection, startup: tuple[StartupItem, ...] = ()
) -> VirtualSystemCollection:
    return VirtualSystemCollection(id=name, name=name, content=content, startup=startup)


def said(name: str, order: int, delay: int = 0, **values: object) -> StartupItem:
    return StartupItem(system_id=name, order=order, start_delay=delay, **values)  # type: ignore[arg-type]  # values are the test's


def row(package: Envelope) -> list[tuple[str, int]]:
    turns = turns_of(package)
    starts = [turn.startup for turn in turns if turn.startup]
    assert [start.position for start in starts] == list(range(1, len(turns) + 1))
    return [(turn.system.id, start.delay_seconds) for turn, start in zip(turns, starts, strict=True)]


def test_by_order_then_as_they_stand() -> None:
    shop = group("shop", vm("a"), vm("b"), vm("c"), startup=(said("a", 3), said("c", 1, 30), said("b", 2, 5)))
    assert row(envelope(shop)) == [("c", 30), ("b", 5), ("a", 0)]


def test_those_of_one_order_start_without_a_delay_between_them() -> None:
    shop = group("shop", vm("a"), vm("b"), vm("c"), startup=(said("a", 1, 20), said("b", 1, 40), said("c", 2, 7)))
    assert row(envelope(shop)) == [("a", 0), ("b", 40), ("c", 7)]


def test_what_is_not_started_is_not_waited_for_and_takes_no_wait_away() -> None:
    startup = (said("a", 1, 30), said("b", 1, 90, start_action="none", wait_for_guest=True), said("c", 2))
    assert row(envelope(group("shop", vm("a"), vm("b"), vm("c"), startup=startup))) == [("a", 30), ("b", 0), ("c", 0)]


def test_of_two_items_for_one_system_the_first_counts() -> None:
    startup = (said("a", 2, 7), said("a", 0, 9), said("b", 1))
    assert row(envelope(group("shop", vm("a"), vm("b"), startup=startup))) == [("b", 0), ("a", 7)]


def test_what_no_section_names_comes_first() -> None:
    assert row(envelope(group("shop", vm("a"), vm("b"), startup=(said("a", 1, 9),)))) == [("b", 0), ("a", 9)]


def test_a_collection_starts_whole_and_its_delay_follows_its_last() -> None:
    inner = group("data", vm("x"), vm("y"), startup=(said("x", 1, 10), said("y", 2, 11)))
    outer = group("shop", vm("a"), inner, vm("b"), startup=(said("data", 1, 60), said("b", 2), said("a", 3)))
    assert row(envelope(outer)) == [("x", 10), ("y", 60), ("b", 0), ("a", 0)]
    assert {turn.collection for turn in turns_of(envelope(outer))} == {"shop"}


def test_several_systems_beside_each_other_are_no_collection() -> None:
    turns = turns_of(envelope(vm("a"), vm("b")))
    assert [(turn.collection, turn.startup) for turn in turns] == [("", Startup(position=1)), ("", Startup(position=2))]


def test_a_machine_alone_has_no_turn() -> None:
    assert [turn.startup for turn in turns_of(envelope(vm("a")))] == [None]
    assert [turn.startup for turn in turns_of(envelope(group("shop", vm("a"))))] == [None]


def test_a_section_about_one_machine_is_kept() -> None:
    only = group("shop", vm("a"), startup=(said("a", 1, stop_action="guestShutdown", stop_delay=20),))
    assert [turn.startup for turn in turns_of(envelope(only))] == [
        Startup(position=1, stop_action=StopAction.SHUTDOWN, stop_delay_seconds=20)
    ]


@pytest.mark.parametrize(
    ("word", "action"),
    [("powerOff", StopAction.POWER_OFF), ("none", StopAction.NONE), ("GuestShutdown", StopAction.SHUTDOWN)],
)
def test_stop_actions(word: str, action: StopAction) -> None:
    only = group("shop", vm("a"), startup=(said("a", 1, stop_action=word),))
    (turn,) = turns_of(envelope(only))
    assert turn.startup
    assert turn.startup.stop_action is action


def test_what_is_not_to_be_started() -> None:
    inner = group("data", vm("x"))
    outer = group(
        "shop", vm("a"), inner, startup=(said("a", 1, start_action="none"), said("data", 2, start_action="NONE"))
    )
    assert [turn.startup.is_started for turn in turns_of(envelope(outer)) if turn.startup] == [False, False]


def test_very_long_waits_are_cut() -> None:
    shop = group("shop", vm("a"), vm("b"), startup=(said("a", 1, 1 << 30, stop_delay=1 << 30), said("b", 2)))
    told = [f.message for f in plan_of(envelope(shop)).findings if f.code == "START_ORDER"]
    assert told[0] == "machine 'a' is number 1 of 2 to start, and the next waits 3600 s, the most it can"
    (first, _) = turns_of(envelope(shop))
    assert first.startup
    assert (first.startup.delay_seconds, first.startup.stop_delay_seconds) == (MAX_DELAY_SECONDS, MAX_DELAY_SECONDS)


def test_the_plan_says_it() -> None:
    startup = (
        said("a", 1, 30, wait_for_guest=True), said("b", 2, 5), said("c", 3), said("d", 4, start_action="none"),
    )  # fmt: skip
    plan = plan_of(envelope(group("shop", vm("a"), vm("b"), vm("c"), vm("d"), startup=startup)))
    assert [(f.severity, f.message) for f in plan.findings if f.code == "START_ORDER"] == [
        (Severity.INFO, "machine 'a' is number 1 of 4 to start, and the next waits until its guest is up"),
        (Severity.INFO, "machine 'b' is number 2 of 4 to start, and the next waits 5 s"),
        (Severity.INFO, "machine 'c' is number 3 of 4 to start"),
        (Severity.INFO, "machine 'd' is not started with the others"),
    ]
    assert [machine.collection for machine in plan.machines] == ["shop"] * 4
    assert [machine.startup.waits_for_guest for machine in plan.machines if machine.startup] == [
        True,
        False,
        False,
        False,
    ]
