"""Descriptors that are written from values: read again, they say the same."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.build.vmware import vmx
from virt_ova.ovf.envelope import Disk, Envelope, Item, VirtualSystem
from virt_ova.ovf.reader import read_envelope
from virt_ova.ovf.writer import STREAM_OPTIMIZED, write_envelope
from virt_ova.vmx.reader import read_vmx

GOLDEN = Path(__file__).parents[2] / "golden"
MACHINES = [GOLDEN / name / "input.vmx" for name in ("vmx-esxi-windows-efi", "vmx-workstation-linux")]


def system_of(envelope: Envelope) -> VirtualSystem:
    (system,) = envelope.content
    assert isinstance(system, VirtualSystem)
    return system


def said(item: Item) -> Item:
    """An item without what a descriptor says in another place, or not at all."""
    return replace(item, where="", element_name=item.element_name or f"item {item.instance_id}")


@pytest.mark.parametrize("path", MACHINES, ids=lambda path: path.parent.name)
def test_the_machine_of_a_vmx_says_the_same(path: Path) -> None:
    before = read_vmx(path.read_bytes())
    disks = tuple(replace(disk, capacity_bytes=1 << 30) for disk in before.disks)
    before = replace(before, disks=disks, files=tuple(replace(file, size_bytes=512) for file in before.files))
    after = read_envelope(write_envelope(before, system_of(before)).encode())
    old, new = system_of(before), system_of(after)
    assert (after.files, after.networks) == (before.files, before.networks)
    assert after.disks == tuple(replace(disk, format_uri=STREAM_OPTIMIZED) for disk in before.disks)
    assert (new.name, new.annotation, new.os.type, new.boot) == (old.name, old.annotation, old.os.type, old.boot)
    assert new.hardware[0].system_types == old.hardware[0].system_types
    assert [said(item) for item in new.hardware[0].items] == [said(item) for item in old.hardware[0].items]
    assert new.hardware[0].config["firmware"] == old.hardware[0].config["firmware"]
    is_secure = old.hardware[0].config.get("uefi.secureBoot.enabled", "")
    assert new.hardware[0].config.get("bootOptions.efiSecureBootEnabled", "") == is_secure


def test_what_xml_cannot_hold_is_left_out_and_the_rest_is_escaped() -> None:
    envelope = read_vmx(vmx("a.vmdk", displayName="<|22&\x01|22>", annotation="]]>"))
    text = write_envelope(envelope, system_of(envelope))
    assert system_of(read_envelope(text.encode())).name == '<"&">'
    assert system_of(read_envelope(text.encode())).annotation == "]]>"


def test_a_blank_disk_has_no_file() -> None:
    envelope = replace(read_vmx(vmx()), disks=(Disk(id="d", capacity_bytes=512),))
    assert read_envelope(write_envelope(envelope, system_of(envelope)).encode()).disks == (
        Disk(id="d", capacity_bytes=512, format_uri=STREAM_OPTIMIZED),
    )
