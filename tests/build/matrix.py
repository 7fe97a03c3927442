"""Every controller that a package can name, with every firmware: what becomes of it, and whether the guest boots.

    python -m tests.build.matrix                          the table in docs/reference/hardware.md, on qemu:///system
    python -m tests.build.matrix -c dir:/tmp/machines     the same without libvirt

The guests are strict ones: of drivers for disks they have that of the controller they were installed on, and those of
the CD drives that such machines have beside it (IDE and AHCI), as an initramfs made for one machine has them. A guest
that has more boots all the more. Each is installed with what the planner chooses, started and watched.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Final, get_args

import libvirt

from tests.build.appliance import ApplianceSpec, DiskSpec, build_appliance
from tests.build.appliance.spec import ControllerName, FirmwareName
from virt_ova.package.package import open_package
from virt_ova.plan.machine import Machine
from virt_ova.plan.options import InstallOptions, MachineStyle
from virt_ova.stories.install import install
from virt_ova.stories.planning import plan_install
from virt_ova.stories.result import InstallResult
from virt_ova.target.directory.domain import stop
from virt_ova.target.registry import open_target

CONTROLLERS: Final[tuple[ControllerName, ...]] = get_args(ControllerName)
FIRMWARE: Final[tuple[FirmwareName, ...]] = get_args(FirmwareName)

_DRIVER_OF: Final[dict[ControllerName, str]] = {
    "ide": "ata_piix",
    "AHCI": "ahci",
    "lsilogic": "mptspi",
    "lsilogicsas": "mptsas",
    "buslogic": "BusLogic",
    "VirtualSCSI": "vmw_pvscsi",
    "NVMe": "nvme",
    "virtio": "virtio_scsi virtio_blk",
}
_OF_CD_DRIVES: Final = frozenset({"ata_piix", "ahci"})
_ALL_DRIVERS: Final = frozenset({*" ".join(_DRIVER_OF.values()).split(), "sym53c8xx"})
_MEMORY_MIB: Final = 512
_UNDEFINE: Final = libvirt.VIR_DOMAIN_UNDEFINE_NVRAM | libvirt.VIR_DOMAIN_UNDEFINE_TPM


@dataclass(frozen=True, kw_only=True, slots=True)
class Cell:
    """One package: the firmware it needs, the controller that its disk is on, and what is wanted of the hardware."""

    firmware: FirmwareName
    controller: ControllerName
    machine: MachineStyle = MachineStyle.AUTO

    @property
    def spec(self) -> ApplianceSpec:
        """The package."""
        own = set(_DRIVER_OF[self.controller].split())
        return ApplianceSpec(
            name=f"hardware-{self.firmware}-{self.controller.lower()}",
            disk=DiskSpec(firmware=self.firmware, without_drivers=_ALL_DRIVERS - _OF_CD_DRIVES - own),
            controller=self.controller,
            memory_mib=_MEMORY_MIB,
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Seen:
    """What became of a package.

    Attributes:
        chosen: chipset, and what the disk is on (``pc, scsi vmpvscsi``).
        state: how far the guest came (`virt_ova.target.base.BootReport`).
        seconds: how long that took.
        evidence: what its console said last.
    """

    chosen: str
    state: str
    seconds: float
    evidence: str


def try_cell(cell: Cell, uri: str, *, seconds: float, scratch: Path, pool: str | None = None) -> Seen:
    """Build the package, install it on `uri` as the planner likes, watch its start for `seconds`, remove it."""
    ova = build_appliance(scratch / f"{cell.spec.name}.ova", cell.spec)
    options = InstallOptions(pool=pool, virt_type="qemu", machine=cell.machine, start=True, wait_boot_seconds=seconds)
    with open_package(ova) as package:
        with closing(open_target(uri, pool=pool)) as target:
            plan = plan_install(package, options, host=target.capabilities)
        result = install(package, uri, options=options, plan=plan)
    _remove(uri, result)
    ova.unlink()
    assert result.booted is not None
    return Seen(
        chosen=_chosen(plan.machines[0]),
        state=result.booted.state,
        seconds=result.booted.seconds,
        evidence=result.booted.evidence,
    )


def _chosen(machine: Machine) -> str:
    disk = machine.drives[0]
    models = [each.model for each in machine.controllers if (each.bus, each.index) == (disk.bus, disk.controller)]
    return f"{machine.chipset}, {disk.bus} {''.join(models)}".rstrip()


def _remove(uri: str, result: InstallResult) -> None:
    """Stop and remove what an install left."""
    if uri.startswith("dir:"):
        for domain in result.domains:
            folder = Path(uri.removeprefix("dir:"), domain.name)
            stop(folder)
            shutil.rmtree(folder)
        return
    with closing(libvirt.open(uri)) as connection:
        for domain in result.domains:
            found = connection.lookupByUUIDString(domain.uuid)
            if found.isActive():
                found.destroy()
            found.undefineFlags(_UNDEFINE)
        for volume in result.volumes:
            connection.storageVolLookupByPath(volume.path).delete()


def driver_seen(evidence: str) -> str:
    """The driver by which the guest says it reaches its disk; empty when it says nothing."""
    return next((part.removeprefix("disk driver: ") for part in _facts(evidence) if part.startswith("disk ")), "")


def is_secure(evidence: str) -> bool:
    """Whether the guest says that its firmware enforces secure boot."""
    return "firmware: efi, secure boot" in _facts(evidence)


def has_login(evidence: str) -> bool:
    """Whether the console asks for a login."""
    return "appliance login:" in evidence


def _facts(evidence: str) -> list[str]:
    return [part for line in evidence.splitlines() for part in line.split("; ")]


def main() -> None:
    """Try what the arguments ask for, and print a table in Markdown."""
    parser = argparse.ArgumentParser(prog="matrix", description="Which packages boot.")
    parser.add_argument("-c", "--connect", default="qemu:///system", metavar="URI")
    parser.add_argument("--pool")
    parser.add_argument("--seconds", type=float, default=300, help="how long a guest may take (default: %(default)s)")
    parser.add_argument("--firmware", nargs="+", choices=FIRMWARE, default=FIRMWARE)
    parser.add_argument("--controller", nargs="+", choices=CONTROLLERS, default=CONTROLLERS)
    arguments = parser.parse_args()
    sys.stdout.write("| package | firmware | the machine gets | the guest's driver | state | seconds |\n")
    sys.stdout.write("|---|---|---|---|---|---|\n")
    for controller in arguments.controller:
        for firmware in arguments.firmware:
            cell = Cell(firmware=firmware, controller=controller)
            with tempfile.TemporaryDirectory() as scratch:
                seen = try_cell(
                    cell, arguments.connect, seconds=arguments.seconds, scratch=Path(scratch), pool=arguments.pool
                )
            sys.stdout.write(f"{_row(cell, seen)}\n")
            sys.stdout.flush()


def _row(cell: Cell, seen: Seen) -> str:
    state = f"login, {seen.state}" if seen.state == "network" and has_login(seen.evidence) else seen.state
    cells = (cell.controller, cell.firmware, seen.chosen, driver_seen(seen.evidence), state, f"{seen.seconds:.0f}")
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    main()
