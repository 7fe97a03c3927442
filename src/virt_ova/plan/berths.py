"""The controllers of a package, each with the place its drives get.

A controller that is kept becomes a controller of the machine, with or without drives; the drives of a replaced one
share what takes its place. Where the user names a bus, all hard disks go there, and a controller that they alone hung
on goes with them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from virt_ova.findings import Severity
from virt_ova.ovf.envelope import Item
from virt_ova.ovf.hardware import DRIVE_TYPES, items_of
from virt_ova.plan.bays import Bays, Place
from virt_ova.plan.circumstances import Circumstances
from virt_ova.plan.controllers import (
    CONTROLLER_TYPES,
    VIRTIO_SCSI,
    Home,
    choose_home,
    substitute,
    wanted_home,
)
from virt_ova.plan.guest import Support
from virt_ova.plan.ledger import Ledger, label
from virt_ova.plan.machine import Bus, DriveKind

_INTERFACES = {
    "virtio": Home(bus=Bus.VIRTIO),
    "virtio_scsi": Home(bus=Bus.SCSI, model=VIRTIO_SCSI),
    "ide": Home(bus=Bus.IDE),
    "sata": Home(bus=Bus.SATA),
}
"""oVirt's words for how a disk is attached; its drives name no controller."""

_FLOPPY = Home(bus=Bus.FDC)
_SATA = Home(bus=Bus.SATA)


@dataclass(frozen=True, kw_only=True, slots=True)
class Berth:
    """A controller item of the package.

    Attributes:
        home: where its drives go.
        index: of the kept controller; None when drives go to a substitute.
        channel: 1 for the second IDE channel.
        turn: position among the controller items.
    """

    home: Home
    index: int | None
    channel: int
    turn: int


@dataclass(kw_only=True, slots=True)
class Berths:
    """Where the drives of one machine can go.

    Attributes:
        around: what decides.
        wanted: where the user wants all hard disks; None when each goes where the package has it.
        ledger: takes the decisions.
        bays: places on the machine's controllers.
        by_id: the package's controllers by InstanceID.
    """

    around: Circumstances
    wanted: Home | None
    ledger: Ledger
    bays: Bays = field(default_factory=Bays)
    by_id: dict[str, Berth] = field(default_factory=dict)

    def turn(self, item: Item) -> tuple[int, int]:
        """Where a drive stands in the old machine's order; what names no controller comes last."""
        berth = self.by_id.get(item.parent)
        return (len(self.by_id) if berth is None else berth.turn, _address(item) or 0)

    def keeps(self, item: Item) -> bool:
        """Whether a drive's controller is kept, and with it the drive's address."""
        berth = self.by_id.get(item.parent)
        if berth is None or berth.index is None:
            return False
        return item.resource_type not in DRIVE_TYPES or self.settled(berth.home) is berth.home

    def settled(self, home: Home) -> Home:
        """Where hard disks go that would go to `home`."""
        wanted = self.wanted
        return home if wanted is None or (home.bus, home.model) == (wanted.bus, wanted.model) else wanted

    def take(self, item: Item, kind: DriveKind, interface: str) -> tuple[Home, Place | None]:
        """Where a drive goes; no place when the machine has none left, which only floppy drives meet."""
        if kind is DriveKind.FLOPPY:
            return _FLOPPY, self.bays.take(_FLOPPY, 0, _address(item))
        berth = self.by_id.get(item.parent)
        home = berth.home if berth else self._default_home(kind, interface)
        if kind is DriveKind.DISK and (settled := self.settled(home)) is not home:
            home, berth = settled, None
        place = self.bays.take(home, *_wanted(item, berth))
        if place is None:
            home = replace(_SATA, change=home.change or "the IDE controller is full")
            place = self.bays.take(home)
        return home, place

    def _default_home(self, kind: DriveKind, interface: str) -> Home:
        """Where a drive goes that names no controller."""
        if home := _INTERFACES.get(interface):
            return home if home.bus is not Bus.IDE or self.around.board.has_ide else _SATA
        if kind is DriveKind.CDROM:
            return Home(bus=Bus.IDE) if self.around.board.has_ide else _SATA
        return substitute(self.around, "the package names no controller for it")


def plan_berths(items: Sequence[Item], around: Circumstances, ledger: Ledger) -> Berths:
    """Decide what becomes of each controller among `items`.

    Raises:
        PlanError: the machine cannot have the bus that the user wants (``E_OPTION``).
    """
    berths = Berths(around=around, wanted=wanted_home(around), ledger=ledger)
    _note_virtio(berths)
    parents = {item.parent for item in items}
    of_others = {item.parent for item in items if item.resource_type not in DRIVE_TYPES}
    for item in items_of(items, *CONTROLLER_TYPES):
        is_used = item.instance_id in parents
        home = choose_home(item, around)
        if home and is_used and item.instance_id not in of_others:
            home = berths.settled(home)
        if home is None:
            ledger.dropped(item, "no target has such a controller", matters=is_used or item.required)
            continue
        index = None
        if not home.change:
            index = berths.bays.add(home)
            ledger.kept(item, f"{home} {index}")
            if home.caution and is_used:
                ledger.note("BOOT_DOUBTFUL", Severity.WARNING, f"{label(item)}: kept: {home.caution}", item.where)
        elif is_used:
            ledger.mapped(item, str(home), home.change)
        else:
            ledger.dropped(item, "no drive hangs on it", matters=False)
        turn, channel = len(berths.by_id), _channel(item, berths)
        berths.by_id[item.instance_id] = Berth(home=home, index=index, channel=channel, turn=turn)
    return berths


def _note_virtio(berths: Berths) -> None:
    """Warn when the guest is not known to have the driver that it needs to find its disk."""
    guest, wanted = berths.around.guest, berths.wanted
    drivers = {Bus.VIRTIO: Support.VIRTIO_BLK, Bus.SCSI: Support.VIRTIO_SCSI}
    driver = drivers.get(wanted.bus) if wanted else None
    if driver is not None and driver not in guest.supports:
        message = f"the guest ({guest}) is not known to have a driver for {driver}, without which it finds no disk"
        berths.ledger.note("GUEST_DRIVER", Severity.WARNING, message)


def _channel(item: Item, berths: Berths) -> int:
    """0 or 1, for IDE: the Address if it says so, else the turn."""
    if item.address in {"0", "1"}:
        return int(item.address)
    return sum(berth.home.bus is Bus.IDE and berth.index is not None for berth in berths.by_id.values()) % 2


def _wanted(item: Item, berth: Berth | None) -> tuple[int | None, int | None]:
    """The place that a drive had on a kept controller; on IDE, units count over both channels."""
    unit = _address(item)
    if berth is None or berth.index is None or unit is None:
        return None, None
    return berth.index, berth.channel * 2 + unit if berth.home.bus is Bus.IDE else unit


def _address(item: Item) -> int | None:
    """AddressOnParent, if it is a number that can be a unit."""
    text = item.address_on_parent
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= len("255") else None
