"""Hardware cut to what a guest was seen to have. Pure.

A disk's place fits when every kernel of the guest has its drivers before there is a disk, and when what the guest
mounts by a device's name keeps that name (``/dev/sda1`` on SCSI, SATA and IDE, ``/dev/vda1`` on virtio). An interface
fits when there is a driver at all. virtio is taken when it fits, unless the user wants the package's hardware or named
something himself; what does not fit is replaced by the next that does.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from virt_ova.findings import Finding, Severity
from virt_ova.plan.controllers import VIRTIO_SCSI, Home, boots_from
from virt_ova.plan.host import HostCapabilities
from virt_ova.plan.insight import Insight
from virt_ova.plan.ladder import Rung, moved, place_of
from virt_ova.plan.machine import Bus, DriveKind, FirmwareKind, Machine, Nic
from virt_ova.plan.nics import has_model
from virt_ova.plan.options import InstallOptions, MachineStyle
from virt_ova.text import quoted

_DISK_DRIVERS: Final[Mapping[str, tuple[frozenset[str], ...]]] = {
    "virtio": (frozenset({"virtio_pci", "virtio_blk"}),),
    "sata": (frozenset({"ahci", "sd_mod"}),),
    "ide": (frozenset({"ata_piix", "sd_mod"}), frozenset({"ata_generic", "sd_mod"}), frozenset({"piix"})),
    "nvme": (frozenset({"nvme"}),),
    "scsi lsisas1068": (frozenset({"mptsas", "sd_mod"}),),
    "scsi lsilogic": (frozenset({"sym53c8xx", "sd_mod"}),),
    "scsi vmpvscsi": (frozenset({"vmw_pvscsi", "sd_mod"}),),
    "scsi virtio-scsi": (frozenset({"virtio_pci", "virtio_scsi", "sd_mod"}),),
}
"""What a guest needs to find a disk there: all drivers of one of these sets."""

_VIRTIO: Final = (Home(bus=Bus.VIRTIO), Home(bus=Bus.SCSI, model=VIRTIO_SCSI))
_OTHERS: Final = (
    *(Home(bus=Bus.SATA), Home(bus=Bus.IDE)),
    *(Home(bus=Bus.SCSI, model=model) for model in ("lsisas1068", "vmpvscsi")),
)
"""Where disks could be besides, best first."""

_NAMES: Final[Mapping[Bus, tuple[str, ...]]] = {
    Bus.VIRTIO: ("/dev/vd",),
    Bus.SATA: ("/dev/sd",),
    Bus.SCSI: ("/dev/sd",),
    Bus.IDE: ("/dev/sd", "/dev/hd"),
    Bus.NVME: ("/dev/nvme",),
}
"""How Linux calls a disk there; on IDE that depends on its age."""

_NIC_DRIVERS: Final[Mapping[str, tuple[frozenset[str], ...]]] = {
    "virtio": (frozenset({"virtio_pci", "virtio_net"}),),
    "e1000-82545em": (frozenset({"e1000"}),),
    "e1000": (frozenset({"e1000"}),),
    "e1000e": (frozenset({"e1000e"}),),
    "vmxnet3": (frozenset({"vmxnet3"}),),
    "pcnet": (frozenset({"pcnet32"}),),
    "rtl8139": (frozenset({"8139cp"}), frozenset({"8139too"})),
}
"""What a guest needs for an interface, best models first."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Tailored:
    """A machine that fits its guest as well as may be, and what is to be said of it."""

    machine: Machine
    findings: tuple[Finding, ...] = ()


def tailor(machine: Machine, insight: Insight, *, options: InstallOptions, host: HostCapabilities) -> Tailored:
    """`machine` with disks and interfaces where its guest, of which `insight` tells, has drivers for them."""
    if insight.obstacle:
        return Tailored(machine=machine)
    fitting = _Fitting(machine=machine, insight=insight, options=options, host=host)
    disks = fitting.disks()
    nics = fitting.nics()
    nic_findings = tuple(each.finding for each in nics if each.finding)
    fitted = replace(disks.machine, nics=tuple(each.nic for each in nics))
    return Tailored(machine=fitted, findings=(*disks.findings, *nic_findings))


@dataclass(frozen=True, kw_only=True, slots=True)
class _FittedNic:
    nic: Nic
    finding: Finding | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class _Fitting:
    machine: Machine
    insight: Insight
    options: InstallOptions
    host: HostCapabilities

    @property
    def _prefers_virtio(self) -> bool:
        return self.options.machine is not MachineStyle.FAITHFUL

    def disks(self) -> Tailored:
        """The machine with its disks where the guest finds them."""
        if not any(drive.kind is DriveKind.DISK for drive in self.machine.drives):
            return Tailored(machine=self.machine)
        planned = Rung(disks_on=place_of(self.machine), machine=self.machine)
        problem = self._disk_problem(planned)
        others = () if self.options.disk_bus is not None else self._other_places(planned, is_needed=bool(problem))
        chosen = next((rung for rung in others if not self._disk_problem(rung)), planned)
        return Tailored(machine=chosen.machine, findings=tuple(self._disk_findings(planned, chosen, problem)))

    def _other_places(self, planned: Rung, *, is_needed: bool) -> Iterator[Rung]:
        """Where else the disks could be, best first: on virtio when that is preferred, anywhere when it is needed."""
        virtio = _VIRTIO if self._prefers_virtio and planned.disks_on not in map(str, _VIRTIO) else ()
        is_efi = self.machine.firmware.kind is FirmwareKind.EFI
        for home in (*virtio, *(_OTHERS if is_needed else ())):
            can_boot = home.bus is not Bus.SCSI or boots_from(home, is_efi=is_efi, host=self.host)
            if can_boot and (rung := moved(self.machine, home.bus, home.model)) is not None:
                yield rung

    def _disk_findings(self, planned: Rung, chosen: Rung, problem: str) -> Iterator[Finding]:
        name = quoted(self.machine.name)
        changed = f"{name} has its disk on {chosen.disks_on} instead of {planned.disks_on}"
        if chosen is planned:
            if problem:
                yield _warning(f"{name} may not find its disk on {planned.disks_on}, where it is: {problem}")
        elif self._prefers_virtio and chosen.disks_on in map(str, _VIRTIO):
            yield _info(f"{changed}: the guest has the drivers when it starts")
        else:
            yield _warning(f"{changed}: {problem}")

    def _disk_problem(self, rung: Rung) -> str:
        """Why the guest would not find its disk there; empty when nothing speaks against it."""
        models = {(each.bus, each.index): each.model for each in rung.machine.controllers}
        for drive in rung.machine.drives:
            if drive.kind is not DriveKind.DISK:
                continue
            place = f"{drive.bus} {models.get((drive.bus, drive.controller), '')}".rstrip()
            if missing := _missing(_DISK_DRIVERS.get(place, ()), self.insight.boot_drivers):
                return f"the guest has no {missing} when it starts"
            names = [name for name in self.insight.named_disks if not name.startswith(_NAMES.get(drive.bus, ("",)))]
            if names:
                return f"the guest names {names[0]}, which would have another name"
        return ""

    def nics(self) -> list[_FittedNic]:
        """The interfaces, each of a model that the guest has a driver for."""
        return [self._fit_nic(number, nic) for number, nic in enumerate(self.machine.nics, start=1)]

    def _fit_nic(self, number: int, nic: Nic) -> _FittedNic:
        missing = self._nic_problem(nic.model)
        others = [model for model in _NIC_DRIVERS if has_model(self.host, model) and not self._nic_problem(model)]
        if self.options.nic_model is not None:
            others = []
        name = f"network interface {number} of {quoted(self.machine.name)}"
        if self._prefers_virtio and "virtio" in others and nic.model != "virtio":
            finding = _info(f"{name} is virtio instead of {nic.model}: the guest has the driver")
            return _FittedNic(nic=replace(nic, model="virtio"), finding=finding)
        if not missing:
            return _FittedNic(nic=nic)
        if not others:
            return _FittedNic(nic=nic, finding=_warning(f"{name} is {nic.model}: the guest has no {missing}"))
        finding = _warning(f"{name} is {others[0]} instead of {nic.model}: the guest has no {missing}")
        return _FittedNic(nic=replace(nic, model=others[0]), finding=finding)

    def _nic_problem(self, model: str) -> str:
        """What driver the guest lacks for `model`; of Windows only virtio's are known."""
        if self.insight.family == "windows" and model != "virtio":
            return ""
        return _missing(_NIC_DRIVERS.get(model, ()), self.insight.drivers)


def _missing(alternatives: Sequence[frozenset[str]], drivers: Sequence[str]) -> str:
    """The drivers that are missing of the best of the `alternatives`; empty when one is complete, or none is known."""
    lacks = [needed.difference(drivers) for needed in alternatives]
    if not lacks or not all(lacks):
        return ""
    return " and ".join(sorted(lacks[0]))


def _info(message: str) -> Finding:
    return Finding(code="GUEST_FITTED", severity=Severity.INFO, message=message)


def _warning(message: str) -> Finding:
    return Finding(code="GUEST_LACKS", severity=Severity.WARNING, message=message)
