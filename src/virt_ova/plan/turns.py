"""In which order the machines of a package start, and what is waited for in between (DSP0243 9.7).

A StartupSection orders what is directly in its collection. Nested ones make one row of machines here: a collection
starts whole where its turn is, and its delay follows its last machine. Those of one order may start together; they
start one after the other, without a delay. What no section names comes first. Of two items for one system the first
counts. Only those that are started are waited for.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Final

from virt_ova.ovf.envelope import Envelope, StartupItem, VirtualSystem, VirtualSystemCollection
from virt_ova.plan.machine import Startup, StopAction

MAX_DELAY_SECONDS: Final = 3600
"""Longest wait between two starts or stops; longer ones are cut to it."""

_NO_ACTION: Final = "none"
_STOP_ACTIONS: Final = {"guestshutdown": StopAction.SHUTDOWN, _NO_ACTION: StopAction.NONE}
"""Words of StartupSection, lower case; all others mean power off."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Turn:
    """A system, the outermost collection that it is in, and when it is started.

    Attributes:
        system: the system.
        collection: the collection's name, or empty.
        startup: None for the only machine of a package that says nothing of it.
    """

    system: VirtualSystem
    collection: str
    startup: Startup | None


@dataclass(frozen=True, kw_only=True, slots=True)
class _Step:
    """A system in the row, before positions are given."""

    system: VirtualSystem
    startup: Startup


def turns_of(envelope: Envelope) -> tuple[Turn, ...]:
    """The systems of the package in the order of their start."""
    steps = list(_row(envelope.content, envelope.startup))
    collections = dict(_outermost(envelope.content))
    is_said = envelope.startup or any(
        each.startup for each in envelope.content if isinstance(each, VirtualSystemCollection)
    )
    return tuple(
        Turn(
            system=step.system,
            collection=collections.get(id(step.system), ""),
            startup=replace(step.startup, position=position) if is_said or len(steps) > 1 else None,
        )
        for position, step in enumerate(steps, start=1)
    )


def _outermost(content: Iterable[VirtualSystem | VirtualSystemCollection]) -> Iterator[tuple[int, str]]:
    """The name of the outermost collection of each system in one, by the system's `id`."""
    for entity in content:
        if isinstance(entity, VirtualSystemCollection):
            yield from ((id(step.system), entity.name) for step in _row(entity.content, ()))


def _row(content: Iterable[VirtualSystem | VirtualSystemCollection], startup: Sequence[StartupItem]) -> Iterator[_Step]:
    """The systems of `content` one after the other."""
    items = {item.system_id: item for item in reversed(startup)}
    ordered = sorted(content, key=lambda each: _order(each, items))
    for _, group in groupby(ordered, key=lambda each: _order(each, items)):
        together = list(group)
        steps = [step for each in together for step in _steps(each, items.get(each.id))]
        asked = [items[each.id] for each in together if each.id in items and _is_started(items[each.id])]
        last = max((number for number, step in enumerate(steps) if step.startup.is_started), default=None)
        for number, step in enumerate(steps):
            yield replace(step, startup=_with_delay(step.startup, asked)) if asked and number == last else step


def _is_started(item: StartupItem) -> bool:
    return item.start_action.lower() != _NO_ACTION


def _order(entity: VirtualSystem | VirtualSystemCollection, items: Mapping[str, StartupItem]) -> int:
    return items[entity.id].order if entity.id in items else 0


def _steps(entity: VirtualSystem | VirtualSystemCollection, item: StartupItem | None) -> list[_Step]:
    """The systems of `entity`, whose item in the section around it is `item`, without a delay at their end."""
    if isinstance(entity, VirtualSystem):
        return [_Step(system=entity, startup=_startup(item))]
    inner = list(_row(entity.content, entity.startup))
    if item is not None and not _is_started(item):
        inner = [replace(step, startup=replace(step.startup, is_started=False)) for step in inner]
    return inner


def _startup(item: StartupItem | None) -> Startup:
    """What the section says of one system; positions and delays come later."""
    if item is None:
        return Startup(position=1)
    return Startup(
        position=1,
        is_started=_is_started(item),
        stop_action=_STOP_ACTIONS.get(item.stop_action.lower(), StopAction.POWER_OFF),
        stop_delay_seconds=min(item.stop_delay, MAX_DELAY_SECONDS),
    )


def _with_delay(startup: Startup, asked: Sequence[StartupItem]) -> Startup:
    """`startup` of the last machine of one order that is started, with the longest delay of that order."""
    return replace(
        startup,
        delay_seconds=min(max(item.start_delay for item in asked), MAX_DELAY_SECONDS),
        waits_for_guest=any(item.wait_for_guest for item in asked),
    )
