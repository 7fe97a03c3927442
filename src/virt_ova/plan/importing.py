"""From a descriptor to a plan for a hypervisor that makes machines out of packages by itself.

It decides on the hardware, and what becomes of each disk. What is left to plan is what the package asks of whoever
installs it: names, networks, the deployment option, properties. So the machines of such a plan have no drives, and the
plan no transfers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Final

from virt_ova.errors import PlanError
from virt_ova.findings import Severity
from virt_ova.ovf.envelope import Envelope, Item
from virt_ova.ovf.hardware import firmware, nics
from virt_ova.ovf.references import is_single
from virt_ova.plan.choices import check_options, note_choices
from virt_ova.plan.host import HostCapabilities
from virt_ova.plan.ledger import Ledger
from virt_ova.plan.machine import Connection, ConnectionKind, Firmware, FirmwareKind, Machine, Nic
from virt_ova.plan.naming import check_name, machine_name
from virt_ova.plan.nics import check_networks, describe
from virt_ova.plan.options import InstallOptions, MachineStyle
from virt_ova.plan.plan import DiskMode, InstallPlan, Outcome, PackageIdentity
from virt_ova.plan.processors import plan_cpus, plan_memory
from virt_ova.plan.properties import chosen_option, plan_entities
from virt_ova.plan.systems import Blueprint, choose_systems, description
from virt_ova.text import quoted

GUEST_INFO: Final = "com.vmware.guestInfo"

_ANY_MODEL: Final = "e1000"
"""Stands in a plan for whatever model the hypervisor makes."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Choice:
    """Something that cannot be chosen here: by which option, how it is known, and what the hypervisor does instead."""

    option: str
    is_made: Callable[[InstallOptions], object]
    reason: str


_TAKES_DISKS: Final = "takes the package's disks as they are"
_MAKES_HARDWARE: Final = "makes the hardware from the descriptor by itself"
_KEEPS_DISKS: Final = "keeps the disks to itself"
_SHOWS_NOTHING: Final = "shows no screens"
_FORGETS: Final = "removes what an import had made that was killed"

_NOT_HERE: Final = (
    _Choice(option="--disk-mode", is_made=lambda it: it.disk_mode is not DiskMode.EXPAND, reason=_TAKES_DISKS),
    _Choice(option="--format", is_made=lambda it: it.image_format, reason=_TAKES_DISKS),
    _Choice(option="--machine", is_made=lambda it: it.machine is not MachineStyle.AUTO, reason=_MAKES_HARDWARE),
    _Choice(option="--disk-bus", is_made=lambda it: it.disk_bus, reason=_MAKES_HARDWARE),
    _Choice(option="--nic-model", is_made=lambda it: it.nic_model, reason=_MAKES_HARDWARE),
    _Choice(option="--keep-mac", is_made=lambda it: it.keep_mac, reason=_MAKES_HARDWARE),
    _Choice(option="--virt-type", is_made=lambda it: it.virt_type, reason=_MAKES_HARDWARE),
    _Choice(option="--boot-fallback", is_made=lambda it: it.boot_fallback, reason=_KEEPS_DISKS),
    _Choice(option="--inspect-guest", is_made=lambda it: it.inspect_guest, reason=_KEEPS_DISKS),
    _Choice(option="--convert", is_made=lambda it: it.convert, reason=_KEEPS_DISKS),
    _Choice(option="--screenshots", is_made=lambda it: it.screenshots, reason=_SHOWS_NOTHING),
    _Choice(option="--resume", is_made=lambda it: it.resume, reason=_FORGETS),
)
"""Those of one reason stand together."""

_NOWHERE: Final = Connection(kind=ConnectionKind.NONE)


def make_import_plan(
    envelope: Envelope, *, identity: PackageIdentity, host: HostCapabilities, options: InstallOptions
) -> InstallPlan:
    """What an install on such a hypervisor will do; arguments and errors as `virt_ova.plan.from_ovf.make_plan`."""
    check_options(envelope, options)
    _check_choices(options)
    ledger = Ledger()
    note_choices(envelope, options, ledger)
    blueprints = choose_systems(envelope, identity, options, ledger)
    check_networks(envelope, (item for each in blueprints for item in each.items), options.networks)
    entities = plan_entities(envelope, [(each.system, each.name) for each in blueprints], options, ledger)
    if entities and not host.tells_properties:
        _note_transports(blueprints, ledger)
    connections = _connections(blueprints, options.networks, host, ledger)
    if makes_group(envelope, host):
        group = options.name or machine_name(envelope.content[0].name or identity.name)
        blueprints = tuple(replace(each, collection=group) for each in blueprints)
    return InstallPlan(
        package=identity,
        deployment_option=chosen_option(envelope, options),
        eulas_accepted=options.accept_eulas,
        machines=tuple(_machine(each, identity, connections, ledger) for each in blueprints),
        transfers=(),
        entities=entities,
        decisions=tuple(ledger.decisions),
        findings=(*envelope.findings, *ledger.findings),
    )


def makes_group(envelope: Envelope, host: HostCapabilities) -> bool:
    """Whether the package becomes one group of machines, whose name is their `Machine.collection`."""
    return host.makes_groups and not is_single(envelope)


def group_name(plan: InstallPlan) -> str:
    """Name of the group that the machines of a plan become.

    Raises:
        PlanError: the machines are in several (``E_PLAN_HARDWARE``), or the name cannot be used (``E_NAME``).
    """
    names = sorted({machine.collection for machine in plan.machines})
    if len(names) != 1:
        raise PlanError(
            f"the machines are in {len(names)} collections ({', '.join(map(quoted, names))}), expected one for all",
            code="E_PLAN_HARDWARE",
            hint="Give all machines of the plan the same collection, which is the name of their vApp.",
        )
    return check_name(names[0])


def connections_of(plan: InstallPlan) -> Mapping[str, Connection]:
    """Where each network of the package goes.

    Raises:
        PlanError: two machines have one network in two places (``E_PLAN_HARDWARE``).
    """
    found: dict[str, Connection] = {}
    for nic in (nic for machine in plan.machines for nic in machine.nics):
        if found.setdefault(nic.network, nic.connection) != nic.connection:
            raise PlanError(
                f"network {quoted(nic.network)} goes to {describe(found[nic.network])} and to "
                f"{describe(nic.connection)}, expected one place for each network on this hypervisor",
                code="E_PLAN_HARDWARE",
            )
    return found


def check_import_plan(plan: InstallPlan, fresh: InstallPlan) -> None:
    """Refuse an edited plan that wants what only the hypervisor decides.

    Args:
        plan: what is to be done.
        fresh: what would be planned now.

    Raises:
        PlanError: machines differ by more than names and connections (``E_PLAN_HARDWARE``).
    """
    if (
        tuple(map(_decided_elsewhere, plan.machines)) != tuple(map(_decided_elsewhere, fresh.machines))
        or plan.transfers
    ):
        raise PlanError(
            "the plan changes hardware or disks, which this hypervisor decides by itself from the descriptor",
            code="E_PLAN_HARDWARE",
            hint="Of such a plan names, networks, the deployment option and properties can be edited. A plan that was "
            "made for another target must be made again.",
        )


def _decided_elsewhere(machine: Machine) -> Machine:
    """The machine without what is decided here."""
    nameless = tuple(replace(nic, connection=_NOWHERE) for nic in machine.nics)
    return replace(machine, name="machine", collection="", title="", package="", description="", nics=nameless)


def _check_choices(options: InstallOptions) -> None:
    """Refuse what somebody chose and what would not happen. Raises `PlanError` (``E_OPTION``)."""
    chosen = [choice for choice in _NOT_HERE if choice.is_made(options)]
    if chosen:
        problems = [
            f"{', '.join(choice.option for choice in group)} cannot be had on a hypervisor that {reason}"
            for reason, group in groupby(chosen, key=lambda choice: choice.reason)
        ]
        raise PlanError(
            "; ".join(problems),
            code="E_OPTION",
            hint=f"Leave {', '.join(choice.option for choice in chosen)} out.",
        )


def _connections(
    blueprints: tuple[Blueprint, ...], chosen: Mapping[str, Connection], host: HostCapabilities, ledger: Ledger
) -> dict[str, Connection]:
    """Where each network goes: where the user said, else to the host's network of that name, else to its usual one."""
    connections = dict(chosen)
    for item in (item for each in blueprints for item in nics(each.items)):
        name = next(iter(item.connections), "")
        if name in connections:
            continue
        connections[name] = host.default_connection
        if name in host.networks:
            connections[name] = replace(host.default_connection, name=name)
        message = f"network {quoted(name)} is not named by an option and goes to {describe(connections[name])}"
        ledger.note("NETWORK_DEFAULT", Severity.INFO, message, item.where)
    return connections


def _note_transports(blueprints: tuple[Blueprint, ...], ledger: Ledger) -> None:
    """Guests are told by VMware Tools; say so where the package has another way."""
    for blueprint in blueprints:
        transports = blueprint.hardware.transports
        if GUEST_INFO not in transports:
            expected = f"by {quoted(' '.join(transports))}" if transports else "in a way that the package does not say"
            message = (
                f"the guest expects its properties {expected}, which a host without vCenter has not: they are in "
                "guestinfo.ovfEnv, and a guest that does not ask VMware Tools for it misses them"
            )
            ledger.note("OVF_TRANSPORT", Severity.WARNING, message, blueprint.system.where)


def _nic(item: Item, connections: Mapping[str, Connection]) -> Nic:
    network = next(iter(item.connections), "")
    return Nic(model=_ANY_MODEL, network=network, connection=connections[network])


def _machine(
    blueprint: Blueprint,
    identity: PackageIdentity,
    connections: Mapping[str, Connection],
    ledger: Ledger,
) -> Machine:
    system, items = blueprint.system, blueprint.items
    unsaid = Ledger()  # what is noted of hardware that the hypervisor makes would not be true
    wanted = firmware(blueprint.hardware)
    ledger.setting(Outcome.KEPT, f"hardware of {blueprint.name}", "as the descriptor says", "the hypervisor makes it")
    return Machine(
        name=blueprint.name,
        title=system.name or system.id,
        package=identity.name,
        description=description(system),
        cpus=plan_cpus(items, unsaid),
        memory_bytes=plan_memory(items, unsaid),
        os_type=system.os.type,
        firmware=Firmware(kind=FirmwareKind(wanted.kind), secure_boot=wanted.secure_boot),
        nics=tuple(_nic(item, connections) for item in nics(items)),
        collection=blueprint.collection,
        startup=blueprint.startup,
    )
