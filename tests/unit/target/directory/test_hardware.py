"""Hardware that QEMU here does not have is refused before there is a file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.build.plans import machine, plan
from virt_ova.errors import PlanError
from virt_ova.plan.host import HostCapabilities
from virt_ova.plan.machine import Bus, Controller, Drive, DriveKind, Machine
from virt_ova.plan.nics import MODELS
from virt_ova.plan.to_qemu import SCSI_DEVICES, SOUND_DEVICES, USB_DEVICES, VIDEO_DEVICES, QemuSettings
from virt_ova.target.directory.driver import EMULATOR, DirectoryTarget
from virt_ova.target.directory.hardware import check_hardware
from virt_ova.target.emulator import device_names

SIZE = 1 << 20
HOST = HostCapabilities(devices=device_names(EMULATOR))


def with_everything() -> Machine:
    """Every model of every piece that a plan can name, all at once: it is only looked up, not started."""
    models = [model for model in SCSI_DEVICES if model]
    scsi = [Controller(bus=Bus.SCSI, index=index, model=model) for index, model in enumerate(models)]
    buses = (Bus.SATA, Bus.SCSI, Bus.VIRTIO, Bus.NVME, Bus.USB, Bus.FDC, Bus.IDE)
    drives = tuple(Drive(id=bus, kind=DriveKind.DISK, bus=bus, transfer="disk1") for bus in buses)
    one = machine()
    nics = tuple(replace(one.nics[0], model=model) for model in sorted(MODELS))
    return replace(
        one, controllers=(*scsi, Controller(bus=Bus.SATA)), drives=drives, nics=nics, usb="ehci", video="vga"
    )


def test_debians_qemu_has_all_that_a_plan_can_name() -> None:
    check_hardware(with_everything(), HOST, QemuSettings())
    for model in USB_DEVICES:
        check_hardware(replace(machine(), usb=model, has_tablet=True), HOST, QemuSettings())
    for model in VIDEO_DEVICES:
        check_hardware(replace(machine(), video=model), HOST, QemuSettings())
    for model in SOUND_DEVICES:
        check_hardware(replace(machine(), sound=model), HOST, QemuSettings())


@pytest.mark.parametrize(
    ("one", "device"),
    [
        (machine(), "ich9-ahci"),
        (replace(machine(), controllers=(Controller(bus=Bus.SCSI, model="vmpvscsi"),), drives=()), "pvscsi"),
        (replace(machine(), controllers=(), drives=()), "e1000"),
    ],
)
def test_a_device_that_is_not_there_is_refused_before_there_is_a_file(
    one: Machine, device: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = DirectoryTarget(tmp_path / "machines")
    lacking = replace(target.capabilities, devices=HOST.devices - {device})
    monkeypatch.setitem(target.__dict__, "capabilities", lacking)
    with pytest.raises(PlanError) as caught:
        target.check(plan(one), {"disk1": SIZE})
    assert (caught.value.code, str(caught.value)) == (
        "E_PLAN_HARDWARE",
        f"QEMU here does not take the hardware of 'box': it has no device '{device}'",
    )
    assert caught.value.hint == "Choose other hardware with --machine, --disk-bus or --nic-model, or edit the plan."
    assert list(tmp_path.iterdir()) == []
