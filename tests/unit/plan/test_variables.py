"""Whose EFI variables a machine starts with."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.unit.plan.builders import EFI, HOST, SECURE, decisions_of, item, plan_of
from virt_ova.errors import PlanError
from virt_ova.findings import Severity
from virt_ova.ovf.envelope import Envelope, File, ResourceType, VirtualHardware, VirtualSystem
from virt_ova.plan.codec import from_json, to_json
from virt_ova.plan.efivars import VariableStore
from virt_ova.plan.host import HostCapabilities
from virt_ova.plan.inputs import DiskSource
from virt_ova.plan.machine import FirmwareKind
from virt_ova.plan.plan import DiskMode, ImageFormat, InstallPlan, Outcome, Transfer
from virt_ova.plan.variables import check_variables

SIZE = 528 << 10
TELLING = replace(HOST, variables_bytes={("q35", False): SIZE, ("q35", True): SIZE})
GOOD = VariableStore(size_bytes=SIZE, boot_entries=2)
CPU = item(ResourceType.PROCESSOR, "1", quantity=2)
NAMED = {"nvram": "ovf:/file/f2"}


def package(
    *systems: str, config: dict[str, str] = EFI, extra: dict[str, str] = NAMED, href: str = "a.bin"
) -> Envelope:
    hardware = VirtualHardware(system_types=("vmx-13",), items=(CPU,), config=config, extra_config=extra)
    content = tuple(VirtualSystem(id=name, hardware=(hardware,)) for name in systems or ("web",))
    return Envelope(ovf_version="1.1", namespace="", content=content, disks=(), files=(File(id="f2", href=href),))


def planned(
    store: VariableStore | None = GOOD, descriptor: Envelope | None = None, host: HostCapabilities = TELLING
) -> InstallPlan:
    source = DiskSource(id="f2", member="a.bin", capacity_bytes=SIZE, file_size=SIZE, file_offset=512, variables=store)
    return plan_of(descriptor or package(), host=host, files={"f2": source})


def told(plan: InstallPlan) -> list[str]:
    """Why fresh variables are taken."""
    found = [finding for finding in plan.findings if finding.code == "NVRAM_FRESH"]
    assert all(finding.severity is Severity.WARNING for finding in found)
    begin = "the package's EFI variables are not taken over: "
    end = r"; the machine starts with fresh ones, and boots what is at \EFI\BOOT\BOOTX64.EFI"
    assert all(finding.message.startswith(begin) and finding.message.endswith(end) for finding in found)
    return [finding.message.removeprefix(begin).removesuffix(end) for finding in found]


def test_they_are_an_image_of_the_machines_own() -> None:
    plan = planned()
    assert plan.transfers == (
        Transfer(
            id="variables/web",
            member="a.bin",
            capacity_bytes=SIZE,
            image_format=ImageFormat.RAW,
            mode=DiskMode.EXPAND,
            image_name="web-efi-vars.fd",
        ),
    )
    assert plan.machines[0].firmware.variables == "variables/web"
    (decision,) = decisions_of(plan, "EFI variables")
    assert (decision.outcome, decision.result) == (Outcome.KEPT, "'a.bin'")
    assert decision.reason == "the host's firmware reads them; boot entries: 2"
    assert told(plan) == []
    assert from_json(to_json(plan)) == plan


def test_the_only_nvram_of_the_only_system_is_its() -> None:
    assert planned(descriptor=package(extra={}, href="vm.NVRAM")).machines[0].firmware.variables
    assert not planned(descriptor=package(extra={}, href="vm.bin")).transfers
    assert not planned(descriptor=package("a", "b", extra={}, href="vm.nvram")).transfers


def test_two_machines_may_begin_with_the_same() -> None:
    plan = planned(descriptor=package("a", "b"))
    assert [machine.firmware.variables for machine in plan.machines] == ["variables/a", "variables/b"]
    assert [transfer.image_name for transfer in plan.transfers] == ["a-efi-vars.fd", "b-efi-vars.fd"]


def test_a_bios_machine_has_none() -> None:
    plan = planned(descriptor=package(config={}))
    assert (plan.transfers, told(plan)) == ((), [])


@pytest.mark.parametrize(
    ("store", "config", "sizes", "why"),
    [
        (None, EFI, TELLING.variables_bytes, "there is no file 'f2'"),
        (VariableStore(size_bytes=1, problem="they are odd"), EFI, TELLING.variables_bytes, "they are odd"),
        (GOOD, EFI, {}, "the host does not tell how large the variables of its firmware are"),
        (
            GOOD,
            EFI,
            {("q35", False): 131072},
            "they have 540672 bytes, and the host's firmware keeps 131072",
        ),
        (
            GOOD,
            SECURE,
            TELLING.variables_bytes,
            "secure boot is to be enforced, and they do not say which loaders it lets start",
        ),
    ],
)
def test_what_the_firmware_cannot_use_is_left_and_told(
    store: VariableStore | None, config: dict[str, str], sizes: dict[tuple[str, bool], int], why: str
) -> None:
    plan = planned(store, package(config=config), replace(TELLING, variables_bytes=sizes))
    assert (plan.transfers, plan.machines[0].firmware.variables) == ((), "")
    assert told(plan) == [why]


def test_those_with_keys_enforce_secure_boot() -> None:
    plan = planned(replace(GOOD, has_platform_key=True), package(config=SECURE))
    assert (plan.machines[0].firmware.secure_boot, plan.machines[0].firmware.variables) == (True, "variables/web")


def test_a_plan_for_another_firmware_is_refused() -> None:
    plan = planned()
    check_variables(plan, TELLING)
    check_variables(plan, HOST)
    with pytest.raises(PlanError) as caught:
        check_variables(plan, replace(HOST, variables_bytes={("q35", False): 131072}))
    error = caught.value
    assert (error.code, error.message, error.hint) == (
        "E_PLAN_HARDWARE",
        "the EFI variables of 'web' have 540672 bytes, and the host's firmware keeps 131072",
        "Make the plan anew for this host, or take the variables out of it.",
    )


@pytest.mark.parametrize(
    ("kind", "image_format", "transfer"),
    [
        (FirmwareKind.BIOS, ImageFormat.RAW, "variables/web"),
        (FirmwareKind.EFI, ImageFormat.QCOW2, "variables/web"),
        (FirmwareKind.EFI, ImageFormat.RAW, "other"),
    ],
)
def test_an_edited_plan_must_still_make_sense(kind: FirmwareKind, image_format: ImageFormat, transfer: str) -> None:
    plan = planned()
    (machine,), (image,) = plan.machines, plan.transfers
    bad = replace(machine, firmware=replace(machine.firmware, kind=kind, variables=transfer))
    text = to_json(replace(plan, machines=(bad,), transfers=(replace(image, image_format=image_format),)))
    with pytest.raises(PlanError) as caught:
        from_json(text)
    message = f"machine 'web' has the variables of transfer '{transfer}', expected EFI firmware and a raw image"
    assert (caught.value.code, caught.value.message) == ("E_PLAN_JSON", message)


def test_no_two_machines_write_to_one_file() -> None:
    plan = planned(descriptor=package("a", "b"))
    machines = tuple(replace(each, firmware=plan.machines[0].firmware) for each in plan.machines)
    with pytest.raises(PlanError, match=r"^transfer 'variables/a' fills 2 drives, expected one, or only shared ones$"):
        from_json(to_json(replace(plan, machines=machines)))
