"""Whether a plan can be carried out at all.

A plan is a file that people edit, so nothing in it is believed: every number has its bounds, every word of hardware is
known, and what is named is there. What becomes a file name, an XML attribute or part of an option of QEMU is a plain
word. What one target lacks, that target refuses.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from typing import Final

from virt_ova.errors import PlanError
from virt_ova.ovf.environment import not_in_xml
from virt_ova.plan.bays import units_of
from virt_ova.plan.devices import MAX_PARALLEL, MAX_SERIAL
from virt_ova.plan.machine import Bus, Controller, Drive, DriveKind, FirmwareKind, Machine
from virt_ova.plan.macs import is_host_mac
from virt_ova.plan.naming import check_name, is_image_name
from virt_ova.plan.nics import MODELS as NIC_MODELS
from virt_ova.plan.nics import NETWORKS, connection_problem
from virt_ova.plan.plan import CHOOSABLE_MODES, Entity, ImageFormat, InstallPlan
from virt_ova.plan.processors import MAX_CPUS
from virt_ova.plan.properties import walk_entities
from virt_ova.plan.to_qemu import SCSI_DEVICES, SOUND_DEVICES, USB_DEVICES, VIDEO_DEVICES
from virt_ova.plan.turns import MAX_DELAY_SECONDS
from virt_ova.text import quoted
from virt_ova.units import GIB, MIB

MAX_MEMORY_BYTES: Final = (128 << 10) * GIB
MAX_CAPACITY_BYTES: Final = (64 << 10) * GIB
MAX_SLOTS: Final = 28
"""Devices that find a slot on a PCI bus: 32, without those of the chipset and one to spare."""

MAX_MACHINES: Final = 1000
"""Most machines of one plan."""

_CONTROLLERS: Final = 32
"""Most controllers of a bus, as their index goes."""

_BOOT_ORDERS: Final = 1000

_SHA256: Final = re.compile(r"[0-9a-f]{64}")
_NAMED: Final = frozenset({Bus.SATA, Bus.SCSI})
"""Buses whose controllers a machine names; the others have one in the chipset, or one for each drive."""

_WORDS: Final = {
    "architecture": re.compile("x86_64|i686"),
    "libosinfo_id": re.compile(r"(?:http://[A-Za-z0-9./_-]{1,200})?"),
    "chipset": re.compile(r"pc|q35|pc-(?:i440fx|q35)-[0-9]{1,2}\.[0-9]{1,2}"),
    "virt_type": re.compile("[a-z]{0,16}"),
    "clock": re.compile("utc|localtime"),
    "video": re.compile("|".join(VIDEO_DEVICES) + "|"),
    "sound": re.compile("|".join(SOUND_DEVICES) + "|"),
    "usb": re.compile("|".join(USB_DEVICES) + "|"),
}
"""What the fields of a machine can hold."""


def bad_plan(message: str) -> PlanError:
    """The error for a plan that cannot be used."""
    return PlanError(message, code="E_PLAN_JSON", hint="Make it anew with 'virt-ova plan'.")


def check_plan(plan: InstallPlan) -> None:
    """Refuse a plan that no target could carry out.

    Raises:
        PlanError: it contradicts itself, or holds a number or a word that cannot be used (``E_PLAN_JSON``); a machine's
            name cannot be used (``E_NAME``).
    """
    if not _SHA256.fullmatch(plan.package.descriptor_sha256):
        raise bad_plan(f"the descriptor's SHA-256 is {quoted(plan.package.descriptor_sha256)}, expected 64 hex digits")
    if not plan.machines:
        raise bad_plan("the plan has no machine, expected one")
    _check_distinct("machine", (machine.name for machine in plan.machines))
    _check_transfers(plan)
    entities = tuple(walk_entities(plan.entities))
    _check_environments(plan, entities)
    for entity in entities:
        _check_settings(entity)
    for machine in plan.machines:
        check_name(machine.name)
        _check_words(machine)
        _check_tablet(machine)
        _check_numbers(machine)
        _check_controllers(machine)
        _check_drives(machine)
        _check_boot_orders(machine)
        _check_nics(machine)
        _check_startup(machine)
    _check_distinct("MAC address", (nic.mac for machine in plan.machines for nic in machine.nics if nic.mac))
    _check_made_networks(plan)


def _check_distinct(kind: str, names: Iterable[str]) -> None:
    name, count = next(iter(Counter(names).most_common(1)), ("", 0))
    if count > 1:
        raise bad_plan(f"the plan has {count} of {kind} {quoted(name)}, expected one")


def _check_range(what: str, found: int, least: int, most: int) -> None:
    if not least <= found <= most:
        raise bad_plan(f"{what} is {found}, expected {least} to {most}")


def _check_transfers(plan: InstallPlan) -> None:
    """Every image has a name of its own, and is one that can be made."""
    _check_distinct("transfer", (transfer.id for transfer in plan.transfers))
    _check_distinct("image", (transfer.image_name for transfer in plan.transfers))
    for transfer in plan.transfers:
        if not is_image_name(transfer.image_name):
            raise bad_plan(f"the image name {quoted(transfer.image_name)} cannot be used, expected a plain file name")
        if transfer.mode not in CHOOSABLE_MODES:
            raise bad_plan(f"the disk mode {transfer.mode} cannot be chosen, expected {', '.join(CHOOSABLE_MODES)}")
        if transfer.parents and not all((transfer.member, *transfer.parents)):
            raise bad_plan(
                f"transfer {quoted(transfer.id)} is a difference, expected it and its parents to have members"
            )
        what = f"the capacity of transfer {quoted(transfer.id)}"
        _check_range(what, transfer.capacity_bytes, 0, MAX_CAPACITY_BYTES)
    _check_uses(plan)


def _check_uses(plan: InstallPlan) -> None:
    """Every image fills one drive, or several that say so, or holds the EFI variables of one machine."""
    formats = {transfer.id: transfer.image_format for transfer in plan.transfers}
    filled = [drive for machine in plan.machines for drive in machine.drives if drive.transfer or drive.shared]
    for drive in filled:
        what = f"drive {quoted(drive.id)} is filled by transfer {quoted(drive.transfer)}"
        if drive.transfer not in formats:
            raise bad_plan(f"{what}, which is not there")
        if drive.shared and formats[drive.transfer] is not ImageFormat.RAW:
            raise bad_plan(f"{what} and shared, expected a raw image, the only one that two machines can write to")
    with_variables = [machine for machine in plan.machines if machine.firmware.variables]
    for machine in with_variables:
        name = machine.firmware.variables
        if machine.firmware.kind is not FirmwareKind.EFI or formats.get(name) is not ImageFormat.RAW:
            what = f"machine {quoted(machine.name)} has the variables of transfer {quoted(name)}"
            raise bad_plan(f"{what}, expected EFI firmware and a raw image")
    variables = [machine.firmware.variables for machine in with_variables]
    own = Counter(drive.transfer for drive in filled if drive.kind is DriveKind.DISK and not drive.shared)
    own.update(variables)
    total = Counter([*(drive.transfer for drive in filled), *variables])
    for name in formats:
        if not total[name] or (own[name] and total[name] > 1):
            raise bad_plan(f"transfer {quoted(name)} fills {total[name]} drives, expected one, or only shared ones")


def _check_environments(plan: InstallPlan, entities: Iterable[Entity]) -> None:
    """Every image that tells a machine something has that machine, and nothing else in it."""
    told = {entity.machine for entity in entities} & {machine.name for machine in plan.machines}
    for transfer in plan.transfers:
        if transfer.environment and (transfer.environment not in told or transfer.member):
            raise bad_plan(
                f"transfer {quoted(transfer.id)} holds the properties of {quoted(transfer.environment)}, expected a "
                "machine among the entities, and no member"
            )


def _check_settings(entity: Entity) -> None:
    _check_distinct("property", (setting.key for setting in entity.properties))
    for setting in entity.properties:
        if setting.password and setting.value is not None:
            raise bad_plan(f"the plan holds a value for the password {quoted(setting.key)}, expected null")
        if not setting.password and setting.value is None:
            raise bad_plan(f"the property {quoted(setting.key)} is null, expected text")
    texts = (entity.id, *(text for each in entity.properties for text in (each.key, each.value or "")))
    if bad := next(filter(None, map(not_in_xml, texts)), ""):
        raise bad_plan(f"a property of {quoted(entity.id)} has the character U+{ord(bad):04X}, which XML cannot hold")


def _check_words(machine: Machine) -> None:
    for field, pattern in _WORDS.items():
        text = getattr(machine, field)
        if not pattern.fullmatch(text):
            raise bad_plan(f"machine {quoted(machine.name)} has the {field} {quoted(text)}, which is not known")


def _check_tablet(machine: Machine) -> None:
    if machine.has_tablet and not machine.usb:
        raise bad_plan(f"machine {quoted(machine.name)} has a USB tablet, and no USB controller")


def _check_numbers(machine: Machine) -> None:
    of_machine = f"of machine {quoted(machine.name)}"
    cpus = machine.cpus
    _check_range(f"the number of processors {of_machine}", cpus.count, 1, MAX_CPUS)
    if cpus.cores_per_socket < 1 or cpus.count % cpus.cores_per_socket:
        raise bad_plan(
            f"machine {quoted(machine.name)} has {cpus.count} processors in sockets of {cpus.cores_per_socket} cores, "
            "expected whole sockets"
        )
    _check_range(f"the memory {of_machine}", machine.memory_bytes, MIB, MAX_MEMORY_BYTES)
    if machine.memory_bytes % MIB:
        raise bad_plan(f"the memory {of_machine} is {machine.memory_bytes}, expected a multiple of {MIB}")
    _check_range(f"the number of serial ports {of_machine}", machine.serial_ports, 0, MAX_SERIAL)
    _check_range(f"the number of parallel ports {of_machine}", machine.parallel_ports, 0, MAX_PARALLEL)
    in_slots = [drive for drive in machine.drives if drive.bus in {Bus.VIRTIO, Bus.NVME}]
    extras = [machine.video, machine.sound, machine.usb, machine.has_agent_channel]
    slots = len(in_slots) + len(machine.controllers) + len(machine.nics) + sum(map(bool, extras))
    _check_range(f"the number of PCI devices {of_machine}", slots, 0, MAX_SLOTS)


def _check_controllers(machine: Machine) -> None:
    _check_distinct("controller", (f"{each.bus} {each.index}" for each in machine.controllers))
    for controller in machine.controllers:
        what = f"the index of a controller of machine {quoted(machine.name)}"
        _check_range(what, controller.index, 0, _CONTROLLERS - 1)
        if controller.model not in (SCSI_DEVICES if controller.bus is Bus.SCSI else {""}):
            raise bad_plan(
                f"machine {quoted(machine.name)} has the {controller.bus} controller {quoted(controller.model)}, "
                "which is not known"
            )


def _check_drives(machine: Machine) -> None:
    """Every drive has a place of its own, on a controller that is there."""
    _check_distinct("drive", (drive.id for drive in machine.drives))
    _check_distinct("place", (f"{drive.bus} {drive.controller}:{drive.unit}" for drive in machine.drives))
    controllers = {(each.bus, each.index): each for each in machine.controllers}
    for drive in machine.drives:
        _check_place(machine, drive, controllers.get((drive.bus, drive.controller)))


def _check_boot_orders(machine: Machine) -> None:
    named = [(f"drive {quoted(drive.id)}", drive.boot_order) for drive in machine.drives]
    named += [(f"the network interface {number}", nic.boot_order) for number, nic in enumerate(machine.nics)]
    orders = [(what, order) for what, order in named if order is not None]
    _check_distinct("boot order", (str(order) for _, order in orders))
    for what, order in orders:
        _check_range(f"the boot order of {what}", order, 1, _BOOT_ORDERS)


def _check_place(machine: Machine, drive: Drive, controller: Controller | None) -> None:
    of_drive = f"of drive {quoted(drive.id)}"
    is_single = drive.bus in {Bus.IDE, Bus.FDC}
    _check_range(f"the controller {of_drive}", drive.controller, 0, 0 if is_single else _CONTROLLERS - 1)
    if drive.bus in _NAMED and controller is None:
        raise bad_plan(f"the {drive.bus} controller {drive.controller} {of_drive} is not there")
    if drive.bus is Bus.USB and not machine.usb:
        raise bad_plan(f"the usb controller {of_drive} is not there")
    if drive.bus is Bus.IDE and "q35" in machine.chipset:
        raise bad_plan(f"drive {quoted(drive.id)} is on the bus ide, which chipset {machine.chipset} does not have")
    units = units_of(drive.bus, controller.model if controller else "")
    _check_range(f"the unit {of_drive}", drive.unit, 0, units - 1)


def _check_nics(machine: Machine) -> None:
    has = f"machine {quoted(machine.name)} has the"
    for nic in machine.nics:
        if nic.model not in NIC_MODELS:
            raise bad_plan(f"{has} network interface {quoted(nic.model)}, which is not known")
        if problem := connection_problem(nic.connection):
            raise bad_plan(problem)
        if nic.mac and not is_host_mac(nic.mac):
            raise bad_plan(f"{has} MAC address {quoted(nic.mac)}, expected one of a host, as 52:54:00:12:34:56")


def _check_startup(machine: Machine) -> None:
    if (turn := machine.startup) is None:
        return
    of_machine = f"of machine {quoted(machine.name)}"
    _check_range(f"the position in the start {of_machine}", turn.position, 1, MAX_MACHINES)
    _check_range(f"the start delay {of_machine}", turn.delay_seconds, 0, MAX_DELAY_SECONDS)
    _check_range(f"the stop delay {of_machine}", turn.stop_delay_seconds, 0, MAX_DELAY_SECONDS)


def _check_made_networks(plan: InstallPlan) -> None:
    """A name stands for one network."""
    connections = {nic.connection for machine in plan.machines for nic in machine.nics}
    _check_distinct("network", (each.name for each in connections if each.kind in NETWORKS))
