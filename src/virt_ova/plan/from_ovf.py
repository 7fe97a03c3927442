"""From an OVF descriptor to an install plan: the policy of this project, in one pass.

    systems  ->  one machine each: names, board, processors, storage, network, the rest
             ->  transfers, in the order of the package
             ->  decisions and findings: what became of each piece, and why

Pure: what the package's files are and what the host can do comes in as values.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from virt_ova.errors import PlanError
from virt_ova.findings import Severity
from virt_ova.ovf.envelope import Envelope, OperatingSystem, VirtualSystem
from virt_ova.ovf.hardware import disk_ids
from virt_ova.ovf.reading import scaled
from virt_ova.plan.berths import plan_berths
from virt_ova.plan.board import choose_board
from virt_ova.plan.bootorder import with_boot_order
from virt_ova.plan.choices import check_options, note_choices
from virt_ova.plan.circumstances import Circumstances
from virt_ova.plan.devices import plan_agent_channel, plan_devices
from virt_ova.plan.drives import drive_origins, plan_drives
from virt_ova.plan.environments import needs_environment, with_environment
from virt_ova.plan.guest import Guest, describe_guest, guest_by_name
from virt_ova.plan.host import HostCapabilities
from virt_ova.plan.inputs import DiskSource
from virt_ova.plan.ledger import Ledger
from virt_ova.plan.machine import Connection, Machine
from virt_ova.plan.macs import check_macs
from virt_ova.plan.nics import check_networks, named_networks, nic_origins, plan_nics
from virt_ova.plan.options import InstallOptions
from virt_ova.plan.plan import Entity, InstallPlan, Outcome, PackageIdentity
from virt_ova.plan.processors import plan_cpus, plan_memory
from virt_ova.plan.properties import chosen_option, plan_entities, value_of
from virt_ova.plan.settings import note_settings
from virt_ova.plan.systems import Blueprint, choose_systems, description
from virt_ova.plan.transfers import Transfers
from virt_ova.plan.variables import plan_variables
from virt_ova.text import quoted

_NO_DATABASE = "libosinfo's database is not installed here: what the guest supports is guessed from its name alone"


def make_plan(
    envelope: Envelope,
    *,
    identity: PackageIdentity,
    disks: Mapping[str, DiskSource],
    files: Mapping[str, DiskSource],
    host: HostCapabilities,
    options: InstallOptions,
    guests: Mapping[OperatingSystem, Guest] | None,
) -> InstallPlan:
    """What an install will do.

    Args:
        envelope: the descriptor.
        identity: which package it is.
        disks: every disk of the DiskSection that can be had, by ``ovf:diskId``; blank ones included.
        files: every File that can fill a CD, floppy or disk drive without a Disk, by ``ovf:id``.
        host: what the target offers.
        options: what the user chose.
        guests: what libosinfo knows of the package's operating systems; None where it is not installed.

    Raises:
        PlanError: there is nothing to install (``E_OVF_HARDWARE``); the guest's processor, or a disk, is
            not to be had (``E_NOT_SUPPORTED``); an option does not fit the package or the host (``E_OPTION``,
            ``E_NAME``, ``E_NETWORK``, ``E_VIRT_TYPE``, ``E_MAC``); the host lacks the firmware (``E_FIRMWARE``); a
            drive refers to nothing (``E_OVF_REF``); a property is refused (``E_PROPERTY``); a quantity is beyond any
            machine (``E_OVF_VALUE``).
    """
    check_options(envelope, options)
    if options.fix_hardware:
        raise PlanError(
            "--fix-hardware is for ESXi and vCenter, which make the hardware themselves; here it is planned",
            code="E_OPTION",
            hint="Leave --fix-hardware out.",
        )
    ledger = Ledger()
    note_choices(envelope, options, ledger)
    if guests is None:
        ledger.note("GUEST_DATABASE", Severity.INFO, _NO_DATABASE)
    blueprints = choose_systems(envelope, identity, options, ledger)
    check_networks(envelope, (item for each in blueprints for item in each.items), options.networks)
    entities = plan_entities(envelope, [(each.system, each.name) for each in blueprints], options, ledger)
    transfers = Transfers(
        disks=_sized(envelope, disks, entities),
        files=files,
        shared=_shared_disks(envelope, blueprints, ledger),
        options=options,
        ledger=ledger,
    )
    workshop = _Workshop(
        identity=identity,
        host=host,
        options=options,
        networks=named_networks(options.networks, base=options.name or blueprints[0].collection or blueprints[0].name),
        guests=guests or {},
        entities=entities,
        transfers=transfers,
        ledger=ledger,
    )
    interfaces = {disk.id: disk.interface for disk in envelope.disks}
    machines = []
    for blueprint in blueprints:
        ledger.prefix = f"{blueprint.name}: " if len(blueprints) > 1 else ""
        machines.append(_plan_machine(blueprint, workshop, interfaces))
    ledger.prefix = ""
    check_macs(machines)
    for disk_id in transfers.unused_disks():
        message = f"disk {quoted(disk_id)} is attached to no machine and is not installed"
        ledger.note("DISK_UNUSED", Severity.WARNING, message)
    return InstallPlan(
        package=identity,
        deployment_option=chosen_option(envelope, options),
        eulas_accepted=options.accept_eulas,
        machines=tuple(machines),
        transfers=transfers.in_package_order(),
        entities=entities,
        decisions=tuple(ledger.decisions),
        findings=(*envelope.findings, *ledger.findings),
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class _Workshop:
    """What all machines of a plan have in common."""

    identity: PackageIdentity
    host: HostCapabilities
    options: InstallOptions
    networks: Mapping[str, Connection]
    guests: Mapping[OperatingSystem, Guest]
    entities: tuple[Entity, ...]
    transfers: Transfers
    ledger: Ledger


def _sized(
    envelope: Envelope, disks: Mapping[str, DiskSource], entities: tuple[Entity, ...]
) -> Mapping[str, DiskSource]:
    """`disks`, the blank ones among them with the capacities that properties give (DSP0243 9.1).

    Raises:
        DescriptorError: the value is no number of bytes (``E_OVF_VALUE``, ``E_OVF_UNIT``).
    """
    sized = dict(disks)
    for disk in envelope.disks:
        source = disks.get(disk.id)
        if source is None or source.member or (text := value_of(entities, disk.capacity_property)) is None:
            continue
        where = f"capacity of disk {quoted(disk.id)}: property {quoted(disk.capacity_property)}"
        capacity = scaled(text.strip(), disk.capacity_units, where=where)
        sized[disk.id] = replace(source, capacity_bytes=capacity)
    return sized


def _shared_disks(envelope: Envelope, blueprints: Sequence[Blueprint], ledger: Ledger) -> frozenset[str]:
    """Ids of the disks that several machines share, which the package has to say itself (DSP0243 9.1)."""
    shared = []
    for disk in (disk for disk in envelope.disks if disk.shared):
        sharers = [each.name for each in blueprints if disk.id in disk_ids(each.items)]
        message = f"disk {quoted(disk.id)} is meant to be shared, but no two machines have it"
        if len(sharers) > 1:
            shared.append(disk.id)
            names = ", ".join(map(quoted, sharers))
            message = f"disk {quoted(disk.id)} is one raw image, which these machines share: {names}"
        ledger.note("DISK_SHARED", Severity.INFO, message)
    return frozenset(shared)


def _virt_type(host: HostCapabilities, options: InstallOptions) -> str:
    if options.virt_type is None:
        return next(iter(host.virt_types), "")
    if host.virt_types and options.virt_type not in host.virt_types:
        raise PlanError(
            f"the host cannot run machines of type {quoted(options.virt_type)}, it can: {', '.join(host.virt_types)}",
            code="E_VIRT_TYPE",
            hint="Leave --virt-type out to get the best there is.",
        )
    return options.virt_type


def _plan_machine(blueprint: Blueprint, workshop: _Workshop, interfaces: Mapping[str, str]) -> Machine:
    system, hardware, items = blueprint.system, blueprint.hardware, blueprint.items
    host, options, ledger = workshop.host, workshop.options, workshop.ledger
    guest = _recognise(system, workshop)
    board = choose_board(hardware, items, host, options, ledger)
    cpus = plan_cpus(items, ledger)
    memory_bytes = plan_memory(items, ledger)
    around = Circumstances(board=board, host=host, guest=guest, options=options)
    berths = plan_berths(items, around, ledger)
    drives = plan_drives(items, berths, machine=blueprint.name, interfaces=interfaces, transfers=workshop.transfers)
    nics = plan_nics(items, hardware.system_types, workshop.networks, around, ledger)
    origins = drive_origins(items, berths) | nic_origins(items)
    drives, nics = with_boot_order(drives, nics, system.boot, origins, ledger)
    if needs_environment(blueprint, workshop.entities, options, ledger):
        drives = with_environment(drives, berths, machine=blueprint.name, transfers=workshop.transfers)
    firmware = plan_variables(blueprint, board, host, workshop.transfers, ledger)
    devices = plan_devices(items, around, ledger)
    note_settings(blueprint, ledger)
    virt_type = _virt_type(host, options)
    return Machine(
        name=blueprint.name,
        title=system.name or system.id,
        package=workshop.identity.name,
        description=description(system),
        cpus=cpus,
        memory_bytes=memory_bytes,
        os_type=system.os.type,
        libosinfo_id=guest.id,
        chipset=board.chipset,
        virt_type=virt_type,
        firmware=firmware,
        controllers=berths.bays.controllers,
        drives=drives,
        nics=nics,
        serial_ports=devices.serial_ports,
        parallel_ports=devices.parallel_ports,
        video=devices.video,
        sound=devices.sound,
        usb=devices.usb,
        has_tablet=devices.has_tablet,
        has_tpm=devices.has_tpm,
        has_agent_channel=plan_agent_channel(guest, virt_type, host, ledger),
        clock="localtime" if guest.keeps_local_time else "utc",
        collection=blueprint.collection,
        startup=blueprint.startup,
    )


def _recognise(system: VirtualSystem, workshop: _Workshop) -> Guest:
    """The system's guest, as libosinfo knows it, else by its name alone."""
    guest = workshop.guests.get(system.os) or guest_by_name(system.os)
    workshop.ledger.setting(Outcome.KEPT, "guest", str(guest), describe_guest(guest, system.os))
    return guest
