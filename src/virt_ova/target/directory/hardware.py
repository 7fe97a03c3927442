"""Whether QEMU here has the hardware of a machine, asked before anything is made."""

from __future__ import annotations

from itertools import pairwise

from virt_ova.errors import PlanError
from virt_ova.plan.host import HostCapabilities
from virt_ova.plan.inputs import VolumeSource
from virt_ova.plan.machine import Machine, images_of
from virt_ova.plan.to_qemu import QemuSettings, qemu_command
from virt_ova.target.directory.tpm import TPM_EMULATOR
from virt_ova.text import quoted

_SOME_IMAGE = VolumeSource(image_format="raw", path="image-to-be-made")


def check_hardware(machine: Machine, host: HostCapabilities, settings: QemuSettings) -> None:
    """Refuse a machine that has no command line here, or one with a device that QEMU does not have.

    Raises:
        PlanError: see `virt_ova.plan.to_qemu.qemu_command`; a device, or what emulates a TPM, is missing
            (``E_PLAN_HARDWARE``).
    """
    if machine.has_tpm and not host.tpm:
        raise PlanError(
            f"{quoted(machine.name)} has a TPM, and none can be emulated here, expected the program {TPM_EMULATOR}",
            code="E_PLAN_HARDWARE",
            hint=f"Install it: apt install {TPM_EMULATOR}",
        )
    sources = dict.fromkeys(images_of(machine), _SOME_IMAGE)
    words = qemu_command(machine, sources=sources, settings=settings)
    for option, value in pairwise(words):
        device = value.partition(",")[0]
        if option == "-device" and not host.has_device(device):
            raise PlanError(
                f"QEMU here does not take the hardware of {quoted(machine.name)}: it has no device {quoted(device)}",
                code="E_PLAN_HARDWARE",
                hint="Choose other hardware with --machine, --disk-bus or --nic-model, or edit the plan.",
            )
