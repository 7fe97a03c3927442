"""A plan as JSON and back.

A plan may come back edited, or from somebody else, so reading is strict: an unknown key is an error (a misspelt one
would be lost silently), and what ends up in file names, XML and argument lists is checked as if it came from a package.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import msgspec

from virt_ova.errors import PlanError
from virt_ova.ovf.environment import not_in_xml
from virt_ova.plan.machine import Machine
from virt_ova.plan.naming import check_name, is_image_name
from virt_ova.plan.plan import FORMAT_VERSION, Entity, InstallPlan
from virt_ova.plan.properties import walk_entities
from virt_ova.text import printable, quoted

MAX_PLAN_BYTES = 16 << 20
"""Longest plan that is read; one of a package with a hundred machines has less than 1 MiB."""

_WORD = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}|")
_CONNECTION_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._+:@-]{0,127}|")
_MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}|")


def to_json(plan: InstallPlan) -> str:
    """`plan` as an indented JSON document with a line feed at its end."""
    return msgspec.json.format(msgspec.json.encode(plan), indent=2).decode() + "\n"


def from_json(text: str | bytes) -> InstallPlan:
    """The plan that `text` holds.

    Raises:
        PlanError: it is no plan of this version, contradicts itself, or holds a word that cannot be used
            (``E_PLAN_JSON``); a machine's name cannot be used (``E_NAME``).
    """
    if len(text) > MAX_PLAN_BYTES:
        raise _error(f"the plan is longer than {MAX_PLAN_BYTES} bytes")
    try:
        _check_version(msgspec.json.decode(text, type=_Version).version)
        plan = msgspec.json.decode(text, type=InstallPlan)
        unknown = next(_unknown_keys(msgspec.json.decode(text), msgspec.to_builtins(plan), "$"), None)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as exc:
        raise _error(f"the plan cannot be read: {printable(str(exc))}") from exc
    if unknown is not None:
        raise _error(f"the plan holds {quoted(unknown)}, which is not known")
    _check(plan)
    return plan


@dataclass(frozen=True, kw_only=True, slots=True)
class _Version:
    version: int


def _error(message: str) -> PlanError:
    return PlanError(message, code="E_PLAN_JSON", hint="make it anew with 'virt-ova plan'")


def _check_version(version: int) -> None:
    if version != FORMAT_VERSION:
        raise _error(f"the plan has version {version}, expected {FORMAT_VERSION}")


def _unknown_keys(given: object, understood: object, path: str) -> Iterator[str]:
    """Paths of object keys that decoding passed over."""
    if isinstance(given, dict) and isinstance(understood, dict):
        for key, value in given.items():
            if key in understood:
                yield from _unknown_keys(value, understood[key], f"{path}.{key}")
            else:
                yield f"{path}.{key}"
    elif isinstance(given, list) and isinstance(understood, list | tuple):
        for number, (value, counterpart) in enumerate(zip(given, understood, strict=True)):
            yield from _unknown_keys(value, counterpart, f"{path}[{number}]")


def _check(plan: InstallPlan) -> None:
    _check_distinct("machine", (machine.name for machine in plan.machines))
    _check_distinct("transfer", (transfer.id for transfer in plan.transfers))
    _check_distinct("image", (transfer.image_name for transfer in plan.transfers))
    for transfer in plan.transfers:
        if not is_image_name(transfer.image_name):
            raise _error(f"the image name {quoted(transfer.image_name)} cannot be used, expected a plain file name")
        if transfer.capacity_bytes < 0:
            raise _error(f"transfer {quoted(transfer.id)} has a capacity of {transfer.capacity_bytes} bytes")
    entities = tuple(walk_entities(plan.entities))
    _check_environments(plan, entities)
    for entity in entities:
        _check_settings(entity)
    transfers = {transfer.id for transfer in plan.transfers}
    for machine in plan.machines:
        check_name(machine.name)
        _check_drives(machine, transfers)
        _check_words(machine)


def _check_distinct(kind: str, names: Iterable[str]) -> None:
    name, count = next(iter(Counter(names).most_common(1)), ("", 0))
    if count > 1:
        raise _error(f"the plan has {count} of {kind} {quoted(name)}, expected one")


def _check_environments(plan: InstallPlan, entities: Iterable[Entity]) -> None:
    """Every image that tells a machine something has that machine, and nothing else in it."""
    told = {entity.machine for entity in entities} & {machine.name for machine in plan.machines}
    for transfer in plan.transfers:
        if transfer.environment and (transfer.environment not in told or transfer.member):
            raise _error(
                f"transfer {quoted(transfer.id)} holds the properties of {quoted(transfer.environment)}, expected a "
                "machine among the entities, and no member"
            )


def _check_settings(entity: Entity) -> None:
    _check_distinct("property", (setting.key for setting in entity.properties))
    for setting in entity.properties:
        if setting.password and setting.value is not None:
            raise _error(f"the plan holds a value for the password {quoted(setting.key)}, expected null")
        if not setting.password and setting.value is None:
            raise _error(f"the property {quoted(setting.key)} is null, expected text")
    texts = (entity.id, *(text for each in entity.properties for text in (each.key, each.value or "")))
    if bad := next(filter(None, map(not_in_xml, texts)), ""):
        raise _error(f"a property of {quoted(entity.id)} has the character U+{ord(bad):04X}, which XML cannot hold")


def _check_drives(machine: Machine, transfers: set[str]) -> None:
    _check_distinct("drive", (drive.id for drive in machine.drives))
    for drive in machine.drives:
        if drive.transfer and drive.transfer not in transfers:
            raise _error(f"drive {quoted(drive.id)} is filled by transfer {quoted(drive.transfer)}, which is not there")
        if drive.controller < 0 or drive.unit < 0:
            raise _error(f"drive {quoted(drive.id)} stands at {drive.controller}:{drive.unit}, expected 0 or more")


def _check_words(machine: Machine) -> None:
    """What becomes an XML attribute or part of a comma-separated option is one plain word."""
    words = [machine.architecture, machine.chipset, machine.virt_type, machine.video, machine.sound, machine.usb]
    words += [machine.clock, *(controller.model for controller in machine.controllers)]
    words += [nic.model for nic in machine.nics]
    checks = [(_WORD, words), (_CONNECTION_NAME, [nic.connection.name for nic in machine.nics])]
    checks.append((_MAC, [nic.mac for nic in machine.nics]))
    for pattern, texts in checks:
        for text in texts:
            if not pattern.fullmatch(text):
                raise _error(f"machine {quoted(machine.name)} holds {quoted(text)}, which is no word for hardware")
    cpus = machine.cpus
    if cpus.count < 1 or cpus.cores_per_socket < 1 or cpus.count % cpus.cores_per_socket or machine.memory_bytes < 1:
        raise _error(
            f"machine {quoted(machine.name)} has {cpus.count} processors with {cpus.cores_per_socket} cores per socket "
            f"and {machine.memory_bytes} bytes of memory, which no machine can have",
        )
