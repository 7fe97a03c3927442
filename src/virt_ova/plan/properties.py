"""Properties of a package: which there are, which values they get, and what each machine is told.

A property is named by its full key. In a package of several machines the plain key means that property of all of them,
``ID:KEY`` that of one system or collection (a key has no colon: DSP0243 9.5.1). A password never enters a plan: its
place is marked there, and its value is looked up again when the machine is made.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from virt_ova.errors import PlanError
from virt_ova.findings import Severity
from virt_ova.ovf.envelope import Envelope, Property, VirtualSystem, VirtualSystemCollection
from virt_ova.ovf.hardware import default_option
from virt_ova.ovf.references import walk
from virt_ova.plan.ledger import Ledger
from virt_ova.plan.options import InstallOptions
from virt_ova.plan.plan import Entity, InstallPlan, Setting
from virt_ova.plan.values import check_value, problem_of
from virt_ova.text import printable, quoted

_REFERENCE = re.compile(r"\$\{([^${}]{1,200})\}")
_LISTED = 1000
"""Most characters of a list of keys in a message."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Asked:
    """A property of one system or collection.

    Attributes:
        entity_id: ``ovf:id`` of the system or collection.
        definition: what the package says of it.
    """

    entity_id: str
    definition: Property

    @property
    def names(self) -> tuple[str, str]:
        """What it can be called: for all entities, and for this one."""
        return self.definition.key, f"{self.entity_id}:{self.definition.key}"

    def given(self, values: Mapping[str, str]) -> str | None:
        """What `values` have for it, by the more exact name first; None when nothing, or when it is not to be set."""
        plain, exact = self.names
        return values.get(exact, values.get(plain)) if self.definition.user_configurable else None


def properties_of(envelope: Envelope) -> tuple[Asked, ...]:
    """All properties, in document order."""
    return tuple(each for entity in walk(envelope.content) for each in _own(entity))


def check_given(envelope: Envelope, values: Mapping[str, str]) -> None:
    """Refuse values that the package does not take.

    Raises:
        PlanError: one is for no property, for one that is not to be changed, or does not fit (``E_PROPERTY``).
    """
    asked = properties_of(envelope)
    for name, value in values.items():
        named = [each.definition for each in asked if name in each.names]
        if not named:
            raise _unknown(name, asked)
        configurable = [prop for prop in named if prop.user_configurable]
        if not configurable:
            raise PlanError(
                f"the property {quoted(name)} was given a value, and the package lets nobody change it",
                code="E_PROPERTY",
            )
        for prop in configurable:
            check_value(prop, value)


def unanswered(envelope: Envelope, options: InstallOptions) -> tuple[Asked, ...]:
    """The properties that only the user can give: none was given, and the package has none that fits."""
    option = chosen_option(envelope, options)
    return tuple(
        each
        for each in properties_of(envelope)
        if each.definition.user_configurable
        and each.given(options.properties) is None
        and _is_open(each.definition, default_of(each.definition, option))
    )


def chosen_option(envelope: Envelope, options: InstallOptions) -> str:
    """Id of the deployment option; empty when the package has none."""
    return default_option(envelope) if options.deployment_option is None else options.deployment_option


def default_of(prop: Property, option: str) -> str | None:
    """The package's own value under a deployment option; None when there is none."""
    return prop.option_values.get(option, prop.value)


def plan_entities(
    envelope: Envelope, machines: Sequence[tuple[VirtualSystem, str]], options: InstallOptions, ledger: Ledger
) -> tuple[Entity, ...]:
    """What the machines are told; empty when the package has no properties.

    Args:
        envelope: the descriptor.
        machines: the systems that become machines, with the machines' names.
        options: values that were given, and the deployment option.
        ledger: takes findings.

    Raises:
        PlanError: a given value is refused (see `check_given`).
    """
    check_given(envelope, options.properties)
    if not (asked := properties_of(envelope)):
        return ()
    option = chosen_option(envelope, options)
    for each in asked:
        if each.given(options.properties) is None:
            _note_default(each.definition, default_of(each.definition, option), ledger)
    names = {id(system): name for system, name in machines}
    return _masked(_resolved(envelope.content, names, options.properties, option, {}))


def with_passwords(plan: InstallPlan, envelope: Envelope, values: Mapping[str, str]) -> tuple[Entity, ...]:
    """The plan's entities with the passwords in their places: those of `values`, else the package's own.

    Raises:
        PlanError: a password is not to be had, or was given and is not in the plan; or a given value is refused
            (``E_PROPERTY``).
    """
    check_given(envelope, values)
    _check_expected(plan, envelope, values)
    resolved = _resolved(envelope.content, {}, values, plan.deployment_option, {})
    known = {(entity.id, each.key): each for entity in walk_entities(resolved) for each in entity.properties}
    return tuple(_filled(entity, known) for entity in plan.entities)


def _check_expected(plan: InstallPlan, envelope: Envelope, values: Mapping[str, str]) -> None:
    """Refuse a password that no machine would be told, because the plan was made without it."""
    planned = {(entity.id, each.key) for entity in walk_entities(plan.entities) for each in entity.properties}
    for each in properties_of(envelope):
        is_given = each.definition.password and each.given(values) is not None
        if is_given and (each.entity_id, each.definition.key) not in planned:
            raise PlanError(
                f"the password {quoted(each.definition.key)} was given, and the plan was made without it",
                code="E_PROPERTY",
                hint="Give it to 'virt-ova plan' as well, which keeps its place and not its value.",
            )


def value_of(entities: Iterable[Entity], key: str) -> str | None:
    """The first value of a property in document order; None when it has none, or is a password."""
    settings = (setting for entity in walk_entities(entities) for setting in entity.properties)
    return next((setting.value for setting in settings if setting.key == key), None)


def surroundings(entities: Sequence[Entity], machine: str) -> tuple[Entity, tuple[Entity, ...]]:
    """What `machine` is told: of itself, with what it takes over from its collections, and of its siblings.

    Raises:
        PlanError: `entities` have no such machine (``E_PLAN_SOURCE``).
    """
    path = _path(entities, machine)
    if not path:
        raise PlanError(f"the plan does not say what the machine {quoted(machine)} is told", code="E_PLAN_SOURCE")
    told: dict[str, Setting] = {}
    for entity in reversed(path):
        for setting in entity.properties:
            told.setdefault(setting.key, setting)
    own = path[-1]
    siblings = tuple(each for each in path[-2].content if each is not own) if len(path) > 1 else ()
    return replace(own, properties=tuple(told.values())), siblings


def told_to_all(
    told: Iterable[Setting], entities: Iterable[Entity], envelope: Envelope, option: str
) -> tuple[Setting, ...]:
    """Which of `told`, the settings of several machines, a hypervisor is given that takes one value for all of them.

    Where the package itself has different values it is given none, and reads them in the descriptor.

    Raises:
        PlanError: others were chosen, which differ (``E_NOT_SUPPORTED``).
    """
    values: dict[str, set[Setting]] = {}
    for setting in told:
        values.setdefault(setting.key, set()).add(setting)
    apart = {key for key, found in values.items() if len(found) > 1}
    resolved = walk_entities(_resolved(envelope.content, {}, {}, option, {}))
    usual = {(entity.id, each.key): each.value for entity in resolved for each in entity.properties}
    for entity in walk_entities(entities):
        for each in entity.properties:
            if each.key in apart and each.value != usual.get((entity.id, each.key)):
                raise PlanError(
                    f"the property {quoted(each.key)} has several values, this hypervisor takes one for all machines",
                    code="E_NOT_SUPPORTED",
                    hint="Give one for all, or leave all as the package has them and change them in the machines.",
                )
    return tuple(found.pop() for key, found in values.items() if key not in apart)


def walk_entities(entities: Iterable[Entity]) -> Iterator[Entity]:
    """Every entity, outer before inner."""
    for entity in entities:
        yield entity
        yield from walk_entities(entity.content)


def _own(entity: VirtualSystem | VirtualSystemCollection) -> list[Asked]:
    """The entity's own properties; of two with one key, the first."""
    found: dict[str, Asked] = {}
    for product in entity.products:
        for prop in product.properties:
            found.setdefault(prop.key, Asked(entity_id=entity.id, definition=prop))
    return list(found.values())


def _unknown(name: str, asked: Sequence[Asked]) -> PlanError:
    keys = dict.fromkeys(each.definition.key for each in asked if each.definition.user_configurable)
    there = printable(", ".join(f"'{key}'" for key in keys), limit=_LISTED) or "none"
    return PlanError(
        f"the package has no property {quoted(name)}, those that can be set are: {there}",
        code="E_PROPERTY",
        hint="'virt-ova inspect' lists them.",
    )


def _is_open(prop: Property, default: str | None) -> bool:
    return default is None or (prop.password and not default) or bool(problem_of(prop, default))


def _note_default(prop: Property, default: str | None, ledger: Ledger) -> None:
    if default is None:
        message = f"the property {quoted(prop.key)} has no value: the guest is not told of it"
        ledger.note("PROPERTY_MISSING", Severity.WARNING, message)
    elif problem := problem_of(prop, default):
        ledger.note("PROPERTY_DEFAULT", Severity.WARNING, f"told as the package has it, but {problem}")


def _resolved(
    content: Iterable[VirtualSystem | VirtualSystemCollection],
    machines: Mapping[int, str],
    values: Mapping[str, str],
    option: str,
    outer: Mapping[str, Setting],
) -> tuple[Entity, ...]:
    """Entities with all their values, passwords included; `outer` are the settings of the collections around."""
    entities = []
    for entity in content:
        settings = [setting for each in _own(entity) if (setting := _setting(each, each.given(values), option, outer))]
        inside = entity.content if isinstance(entity, VirtualSystemCollection) else ()
        visible = {**outer, **{setting.key: setting for setting in settings}}
        entities.append(
            Entity(
                id=entity.id,
                machine=machines.get(id(entity), ""),
                properties=tuple(settings),
                content=_resolved(inside, machines, values, option, visible),
            )
        )
    return tuple(entities)


def _setting(asked: Asked, given: str | None, option: str, outer: Mapping[str, Setting]) -> Setting | None:
    """The property's value: what was given as it is, else the package's own, in which ``${KEY}`` is a collection's."""
    prop = asked.definition
    if given is not None:
        return Setting(key=prop.key, value=given, password=prop.password)
    if (default := default_of(prop, option)) is None:
        return None
    named = [outer[key] for key in _REFERENCE.findall(default) if key in outer]
    value = _REFERENCE.sub(lambda found: (outer[found[1]].value or "") if found[1] in outer else found[0], default)
    return Setting(key=prop.key, value=value, password=prop.password or any(each.password for each in named))


def _masked(entities: Iterable[Entity]) -> tuple[Entity, ...]:
    """`entities` without the passwords."""
    return tuple(
        replace(
            entity,
            properties=tuple(replace(each, value=None) if each.password else each for each in entity.properties),
            content=_masked(entity.content),
        )
        for entity in entities
    )


def _filled(entity: Entity, known: Mapping[tuple[str, str], Setting]) -> Entity:
    settings = []
    for setting in entity.properties:
        found = known.get((entity.id, setting.key), setting) if setting.value is None else setting
        if found.value is None:
            raise PlanError(
                f"the password {quoted(setting.key)} is not known: a plan does not hold it",
                code="E_PROPERTY",
                hint="Give it with --property-file, in the environment, or when asked on a terminal.",
            )
        settings.append(found)
    content = tuple(_filled(each, known) for each in entity.content)
    return replace(entity, properties=tuple(settings), content=content)


def _path(entities: Iterable[Entity], machine: str) -> tuple[Entity, ...]:
    """The entity that is `machine`, with the collections around it in front; empty when it is not there."""
    for entity in entities:
        inner = (entity,) if entity.machine == machine else _path(entity.content, machine)
        if inner:
            return inner if inner[0] is entity else (entity, *inner)
    return ()
