"""Guests with one driver reach their login prompt on the hardware that the planner chooses for their package.

Some cells of the table; ``--long`` tries them all. `tests.build.matrix` prints it.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.build.matrix import CONTROLLERS, FIRMWARE, Cell, driver_seen, has_login, is_secure, try_cell
from virt_ova.plan.options import MachineStyle

SECONDS = 900
ALWAYS = (
    Cell(firmware="bios", controller="lsilogic"),
    Cell(firmware="bios", controller="lsilogicsas"),
    Cell(firmware="bios", controller="VirtualSCSI"),
    Cell(firmware="efi", controller="NVMe"),
    Cell(firmware="secure-boot", controller="VirtualSCSI"),
)
ALL = (
    *(Cell(firmware=firmware, controller=controller) for controller in CONTROLLERS for firmware in FIRMWARE),
    Cell(firmware="efi", controller="virtio", machine=MachineStyle.VIRTIO),
)
SUBSTITUTE = ("sata", "ahci")
CHOSEN = {
    ("bios", "ide"): ("ide", "ata_piix"),
    ("efi", "ide"): ("ide", "ata_piix"),
    ("bios", "lsilogicsas"): ("scsi lsisas1068", "mptsas"),
    ("bios", "VirtualSCSI"): ("scsi vmpvscsi", "vmw_pvscsi"),
} | {
    (firmware, controller): chosen
    for firmware in FIRMWARE
    for controller, chosen in (("virtio", ("scsi virtio-scsi", "virtio_scsi")), ("NVMe", ("nvme", "nvme")))
}
"""What the disk is on, and the driver that the guest takes, where that is no substitute."""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    cells = ALL if metafunc.config.getoption("--long") else ALWAYS
    metafunc.parametrize("cell", cells, ids=lambda cell: f"{cell.firmware}-{cell.controller}-{cell.machine}")


@pytest.mark.timeout(SECONDS + 300)
def test_a_package_boots_on_what_is_chosen_for_it(cell: Cell, tmp_path: Path) -> None:
    seen = try_cell(cell, f"dir:{tmp_path / 'machines'}", seconds=SECONDS, scratch=tmp_path)
    assert has_login(seen.evidence), seen.evidence
    bus, driver = CHOSEN.get((cell.firmware, cell.controller), SUBSTITUTE)
    if cell.machine is MachineStyle.VIRTIO:
        bus, driver = "virtio", "virtio_blk"
        assert "network driver: virtio_net" in seen.evidence
    chipset = "pc" if cell.firmware == "bios" or bus == "ide" else "q35"
    assert (seen.chosen, driver_seen(seen.evidence)) == (f"{chipset}, {bus}", driver)
    assert is_secure(seen.evidence) == (cell.firmware == "secure-boot")
