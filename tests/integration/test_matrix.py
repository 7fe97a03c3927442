"""Guests with one driver reach their login prompt on the hardware that the planner chooses for their package.

Some cells of the table; ``--long`` tries them all. `tests.build.matrix` prints it.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.build.matrix import CONTROLLERS, FIRMWARE, Cell, Seen, driver_seen, has_login, is_secure, try_cell
from virt_ova.plan.options import MachineStyle

SECONDS = 900
ALWAYS = {
    ("bios", "lsilogic"),
    ("bios", "VirtualSCSI"),
    ("bios", "lsilogicsas"),
    ("efi", "NVMe"),
    ("secure-boot", "VirtualSCSI"),
}
CHOSEN = {
    ("bios", "ide"): ("pc, ide", "ata_piix"),
    ("efi", "ide"): ("pc, ide", "ata_piix"),
    ("bios", "lsilogicsas"): ("pc, scsi lsisas1068", "mptsas"),
    ("bios", "VirtualSCSI"): ("pc, scsi vmpvscsi", "vmw_pvscsi"),
    ("bios", "virtio"): ("pc, scsi virtio-scsi", "virtio_scsi"),
    ("efi", "virtio"): ("q35, scsi virtio-scsi", "virtio_scsi"),
    ("secure-boot", "virtio"): ("q35, scsi virtio-scsi", "virtio_scsi"),
    ("bios", "NVMe"): ("pc, nvme", "nvme"),
    ("efi", "NVMe"): ("q35, nvme", "nvme"),
    ("secure-boot", "NVMe"): ("q35, nvme", "nvme"),
}
"""Where the disk is on no substitute, which is AHCI: what the machine gets, and the driver that the guest takes."""


def _cells() -> list[Cell]:
    return [Cell(firmware=firmware, controller=controller) for controller in CONTROLLERS for firmware in FIRMWARE]


@pytest.mark.timeout(SECONDS + 300)
@pytest.mark.parametrize("cell", _cells(), ids=lambda cell: f"{cell.firmware}-{cell.controller}")
def test_a_package_boots_on_what_is_chosen_for_it(cell: Cell, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    if (cell.firmware, cell.controller) not in ALWAYS and not request.config.getoption("--long"):
        pytest.skip("only with --long")
    seen = try_cell(cell, f"dir:{tmp_path / 'machines'}", seconds=SECONDS, scratch=tmp_path)
    _check(cell, seen)


@pytest.mark.timeout(SECONDS + 300)
def test_a_guest_of_virtio_boots_from_virtio_when_that_is_asked_for(
    tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    if not request.config.getoption("--long"):
        pytest.skip("only with --long")
    cell = Cell(firmware="efi", controller="virtio")
    uri = f"dir:{tmp_path / 'machines'}"
    seen = try_cell(cell, uri, seconds=SECONDS, scratch=tmp_path, machine=MachineStyle.VIRTIO)
    assert has_login(seen.evidence), seen.evidence
    assert (seen.chosen, driver_seen(seen.evidence)) == ("q35, virtio", "virtio_blk")
    assert "network driver: virtio_net" in seen.evidence


def _check(cell: Cell, seen: Seen) -> None:
    substitute = ("pc, sata" if cell.firmware == "bios" else "q35, sata", "ahci")
    assert seen.state in {"login", "network"}, seen.evidence
    assert has_login(seen.evidence)
    assert (seen.chosen, driver_seen(seen.evidence)) == CHOSEN.get((cell.firmware, cell.controller), substitute)
    assert is_secure(seen.evidence) == (cell.firmware == "secure-boot")
