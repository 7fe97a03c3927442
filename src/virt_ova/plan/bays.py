"""Places for drives on a machine's controllers, as QEMU has them."""

from __future__ import annotations

from dataclasses import dataclass

from virt_ova.plan.controllers import Home
from virt_ova.plan.machine import Bus, Controller

_UNITS = {
    "ide": 4,
    "sata": 6,
    "fdc": 2,
    "scsi lsisas1068": 8,
    "scsi vmpvscsi": 64,
    "scsi virtio-scsi": 256,
    "virtio": 1,
    "nvme": 1,
}
"""Drives per controller; IDE counts both channels, a virtio or NVMe drive is a device of its own."""

_OTHER_UNITS = {Bus.SCSI: 7}
"""Drives per controller of models that the planner never chooses, but an edited plan may."""

_SINGLE = frozenset({Bus.IDE, Bus.FDC})
"""Buses of which a machine has one controller."""

_CHIPSET_OWN = frozenset({Bus.FDC, Bus.VIRTIO, Bus.NVME})
"""Buses whose controller nobody has to name."""


def units_of(bus: Bus, model: str) -> int:
    """How many drives a controller takes; one where each drive brings its own, or where nothing more is known."""
    return _UNITS.get(f"{bus} {model}".rstrip(), _OTHER_UNITS.get(bus, 1))


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """A drive's place: `unit` on the controller of that index."""

    controller: int
    unit: int


class Bays:
    """The controllers of one machine and which of their places are taken."""

    def __init__(self) -> None:
        self._controllers: dict[Bus, list[Controller]] = {}
        self._taken: set[tuple[Bus, Place]] = set()

    @property
    def controllers(self) -> tuple[Controller, ...]:
        """All controllers that a machine must name, by bus and index."""
        return tuple(
            controller
            for bus, controllers in self._controllers.items()
            if bus not in _CHIPSET_OWN
            for controller in controllers
        )

    def add(self, home: Home) -> int:
        """Index of a new controller, or of the bus's only one."""
        controllers = self._controllers.setdefault(home.bus, [])
        if not (controllers and home.bus in _SINGLE):
            controllers.append(Controller(bus=home.bus, index=len(controllers), model=home.model))
        return controllers[-1].index

    def take(self, home: Home, index: int | None = None, unit: int | None = None) -> Place | None:
        """A free place, now taken: the wanted one if free, else the next on such a controller, else on a new one.

        None when the bus is full and can have no other controller.
        """
        if index is not None and unit is not None and unit < _UNITS[str(home)]:
            wanted = Place(controller=index, unit=unit)
            if self._claim(home.bus, wanted):
                return wanted
        alike = [each.index for each in self._controllers.get(home.bus, ()) if each.model == home.model]
        for candidate in sorted(alike, key=lambda each: each != index):
            if place := self._first_free(home, candidate):
                return place
        if home.bus in _SINGLE and alike:
            return None
        return self._first_free(home, self.add(home))

    def _first_free(self, home: Home, index: int) -> Place | None:
        places = (Place(controller=index, unit=unit) for unit in range(_UNITS[str(home)]))
        return next((place for place in places if self._claim(home.bus, place)), None)

    def _claim(self, bus: Bus, place: Place) -> bool:
        is_free = (bus, place) not in self._taken
        self._taken.add((bus, place))
        return is_free
