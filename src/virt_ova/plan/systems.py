"""Which machines a package makes, in which order and under which names."""

from __future__ import annotations

from dataclasses import dataclass

from virt_ova.errors import PlanError
from virt_ova.findings import Severity
from virt_ova.ovf.envelope import Envelope, Item, VirtualHardware, VirtualSystem
from virt_ova.ovf.hardware import choose_hardware, effective_items
from virt_ova.ovf.references import variables_file
from virt_ova.plan.guest import is_arm
from virt_ova.plan.ledger import Ledger
from virt_ova.plan.machine import Startup
from virt_ova.plan.naming import check_name, machine_name, unique_name
from virt_ova.plan.options import InstallOptions
from virt_ova.plan.plan import PackageIdentity
from virt_ova.plan.turns import MAX_DELAY_SECONDS, turns_of
from virt_ova.text import quoted


@dataclass(frozen=True, kw_only=True, slots=True)
class Blueprint:
    """A system of the package that becomes a machine.

    Attributes:
        system: as the package has it.
        hardware: the section that is realised.
        items: its hardware under the chosen deployment option.
        name: of the machine, safe and unique in the plan.
        collection: name of the outermost collection that it is in; empty when it is in none.
        startup: its turn among the machines; None when it is the only one and nothing is said of it.
        variables_file: id of the package's file with its firmware's variables; empty when there is none.
    """

    system: VirtualSystem
    hardware: VirtualHardware
    items: tuple[Item, ...]
    name: str
    collection: str = ""
    startup: Startup | None = None
    variables_file: str = ""


def choose_systems(
    envelope: Envelope, identity: PackageIdentity, options: InstallOptions, ledger: Ledger
) -> tuple[Blueprint, ...]:
    """The package's systems in the order of their start.

    Raises:
        PlanError: there is none, or one has no hardware (``E_OVF_HARDWARE``) or an ARM processor
            (``E_NOT_SUPPORTED``); the chosen name cannot be used (``E_NAME``).
    """
    turns = turns_of(envelope)
    if not turns:
        raise PlanError("the descriptor has no VirtualSystem, so there is no machine to make", code="E_OVF_HARDWARE")
    chosen: list[Blueprint] = []
    for turn in turns:
        system, hardware = turn.system, _hardware(turn.system, ledger)
        name = _name(system, identity, options, is_only=len(turns) == 1)
        blueprint = Blueprint(
            system=system,
            hardware=hardware,
            items=effective_items(envelope, hardware, options.deployment_option),
            name=unique_name(name, {each.name for each in chosen}),
            collection=turn.collection,
            startup=turn.startup,
            variables_file=variables_file(envelope, hardware),
        )
        _note_name(blueprint, options, ledger)
        _note_turn(blueprint, len(turns), ledger)
        chosen.append(blueprint)
    return tuple(chosen)


def _hardware(system: VirtualSystem, ledger: Ledger) -> VirtualHardware:
    hardware = choose_hardware(system)
    if hardware is None:
        raise PlanError(
            f"system {quoted(system.name or system.id)} has no VirtualHardwareSection, so no machine can be made",
            code="E_OVF_HARDWARE",
            where=system.where,
        )
    if is_arm(system.os):
        raise PlanError(
            f"the guest {quoted(system.os.type)} needs an ARM processor, expected one for x86",
            code="E_NOT_SUPPORTED",
            where=system.where,
        )
    if len(system.hardware) > 1:
        types = quoted(" ".join(hardware.system_types))
        message = f"of {len(system.hardware)} hardware sections the one for {types} is taken"
        ledger.note("HW_ALTERNATIVE", Severity.INFO, message, system.where)
    return hardware


def _name(system: VirtualSystem, identity: PackageIdentity, options: InstallOptions, *, is_only: bool) -> str:
    """The user's name; for one of several machines with the system's behind it; else the package's."""
    own = system.name or system.id or identity.name.removesuffix(".ova").removesuffix(".ovf").removesuffix(".vmx")
    if options.name is None:
        return machine_name(own)
    chosen = check_name(options.name)
    return chosen if is_only else machine_name(f"{chosen}-{own}")


def _note_turn(blueprint: Blueprint, total: int, ledger: Ledger) -> None:
    if (turn := blueprint.startup) is None:
        return
    told = f"is number {turn.position} of {total} to start" if turn.is_started else "is not started with the others"
    if turn.is_started and turn.waits_for_guest:
        told += ", and the next waits until its guest is up"
    elif turn.is_started and turn.delay_seconds:
        most = ", the most it can" if turn.delay_seconds == MAX_DELAY_SECONDS else ""
        told += f", and the next waits {turn.delay_seconds} s{most}"
    ledger.note("START_ORDER", Severity.INFO, f"machine {quoted(blueprint.name)} {told}", blueprint.system.where)


def _note_name(blueprint: Blueprint, options: InstallOptions, ledger: Ledger) -> None:
    own = blueprint.system.name or blueprint.system.id
    if own and options.name is None and own != blueprint.name:
        message = f"system {quoted(own)} becomes machine {quoted(blueprint.name)}"
        ledger.note("NAME_MAPPED", Severity.INFO, message, blueprint.system.where)


def description(system: VirtualSystem) -> str:
    """The annotation, else the product's name, vendor and version."""
    if system.annotation:
        return system.annotation
    product = next(iter(system.products), None)
    if product is None:
        return ""
    version = product.full_version or product.version
    return " ".join(part for part in (product.vendor, product.name, version) if part)
