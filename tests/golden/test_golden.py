"""Whole descriptors and what becomes of them: input.ovf or .vmx -> plan.json, domain.xml (one per machine), qemu.txt.

Of an OVF also machine.vmx.

Run with VIRT_OVA_REGENERATE=1 to write the outputs anew, and review the difference.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.unit.plan.builders import schema_error
from virt_ova.ovf.envelope import Envelope, VirtualSystem
from virt_ova.ovf.hardware import choose_hardware, effective_items
from virt_ova.ovf.reader import read_envelope
from virt_ova.ovf.references import walk
from virt_ova.plan.codec import from_json, to_json
from virt_ova.plan.from_ovf import make_plan
from virt_ova.plan.host import HostCapabilities
from virt_ova.plan.inputs import DiskSource, VolumeSource
from virt_ova.plan.machine import Connection, ConnectionKind
from virt_ova.plan.options import InstallOptions
from virt_ova.plan.plan import InstallPlan, PackageIdentity
from virt_ova.plan.to_libvirt import domain_xml
from virt_ova.plan.to_qemu import QemuSettings, qemu_command
from virt_ova.vmx.reader import read_vmx
from virt_ova.vmx.writer import write_vmx

HERE = Path(__file__).parent
INPUTS = sorted(HERE.glob("*/input.???"))
CASES = [path.parent for path in INPUTS]
HOST = HostCapabilities(virt_types=("kvm", "qemu"), chipsets=("pc", "q35"), secure_boot=True, tpm=True)
SETTINGS = QemuSettings(firmware_code="code.fd", firmware_vars="vars.fd", tpm_socket="tpm.sock")
BRIDGE = Connection(kind=ConnectionKind.BRIDGE, name="br0")


def planned(descriptor: Envelope, name: str) -> InstallPlan:
    offsets = {file.id: 512 * number for number, file in enumerate(descriptor.files, start=1)}
    names = {file.id: file.href for file in descriptor.files}
    disks = {
        disk.id: DiskSource(
            id=disk.id,
            member=names.get(disk.file_ref, ""),
            file_format="vmdk-stream" if disk.file_ref else "",
            capacity_bytes=disk.capacity_bytes or 0,
            file_offset=offsets.get(disk.file_ref, 0),
        )
        for disk in descriptor.disks
    }
    files = {
        file.id: DiskSource(
            id=file.id,
            member=file.href,
            file_format="iso",
            capacity_bytes=file.size_bytes or 0,
            file_offset=offsets[file.id],
        )
        for file in descriptor.files
    }
    return make_plan(
        descriptor,
        identity=PackageIdentity(name=f"{name}.ova", descriptor_sha256="0" * 64),
        disks=disks,
        files=files,
        host=HOST,
        options=InstallOptions(networks=dict.fromkeys([network.name for network in descriptor.networks[:1]], BRIDGE)),
        guests={},
    )


def input_of(case: Path) -> Path:
    (path,) = case.glob("input.*")
    return path


def read(case: Path) -> Envelope:
    path = input_of(case)
    return (read_vmx if path.suffix == ".vmx" else read_envelope)(path.read_bytes())


def machines_as_vmx(envelope: Envelope) -> dict[str, str]:
    systems = [each for each in walk(envelope.content) if isinstance(each, VirtualSystem)]
    names = {file.id: file.href for file in envelope.files}
    found = {}
    for number, system in enumerate(systems, start=1):
        hardware = choose_hardware(system)
        assert hardware
        items = effective_items(envelope, hardware, None)
        written = write_vmx(envelope, system, hardware, items, file_names=names)
        notes = "".join(f"# {finding.code}: {finding.message}\n" for finding in written.findings)
        found[f"machine{number if len(systems) > 1 else ''}.vmx"] = written.text + notes
    return found


def outputs(case: Path) -> dict[str, str]:
    envelope = read(case)
    plan = planned(envelope, case.name)
    sources = {
        transfer.id: VolumeSource(image_format=transfer.image_format, path=f"/images/{transfer.image_name}")
        for transfer in plan.transfers
    }
    found = {"plan.json": to_json(plan)} | (machines_as_vmx(envelope) if input_of(case).suffix == ".ovf" else {})
    for number, machine in enumerate(plan.machines, start=1):
        suffix = str(number) if len(plan.machines) > 1 else ""
        found[f"domain{suffix}.xml"] = domain_xml(machine, sources=sources)
        command = qemu_command(machine, sources=sources, settings=SETTINGS)
        found[f"qemu{suffix}.txt"] = "\n".join(command) + "\n"
    return found


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_outputs_are_as_reviewed(case: Path) -> None:
    found = outputs(case)
    if os.environ.get("VIRT_OVA_REGENERATE"):
        for name, text in found.items():
            (case / name).write_text(text, encoding="utf-8")
    assert {path.name for path in case.iterdir()} == {input_of(case).name, *found}
    for name, text in found.items():
        assert text == (case / name).read_text(encoding="utf-8"), name


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_libvirts_schema_takes_the_domains_and_the_plan_reads_back(case: Path) -> None:
    for name, text in outputs(case).items():
        if name.endswith(".xml"):
            assert schema_error(text) == ""
        elif name.endswith(".json"):
            assert to_json(from_json(text)) == text


def test_there_are_cases() -> None:
    assert len(CASES) >= 7  # an empty parametrization would pass silently
