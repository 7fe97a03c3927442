"""Real machines as VMX: those of the corpus are read, those of its OVF descriptors are written and read back.

The oracle of what is read is the corpus's index; that of what is written is libvirt's own reader of a VMX.
"""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from xml.etree import ElementTree as ET

import libvirt
import pytest

from tests.build.vmware import CONVERTER, with_vmware
from tests.corpus.index import CORPUS, descriptors
from virt_ova.errors import DescriptorError
from virt_ova.ovf.envelope import Item, ResourceType, VirtualSystem
from virt_ova.ovf.hardware import choose_hardware, cpu_count, effective_items, memory_bytes, nics
from virt_ova.ovf.reader import read_envelope
from virt_ova.ovf.references import walk
from virt_ova.units import KIB, MIB
from virt_ova.vmx.reader import read_vmx
from virt_ova.vmx.writer import WrittenVmx, write_vmx

FINDINGS = {"VMX_MEDIA": 8, "VMX_NVRAM": 14, "VMX_IGNORED": 3}
OTHER_WORDS = {"pcnet": "pcnet32", "vlance": "pcnet32"}
LEAST_MACHINES = 460
KINDS = {
    ResourceType.ETHERNET, ResourceType.DVD, ResourceType.DISK, ResourceType.FLOPPY,
    ResourceType.SERIAL_PORT, ResourceType.PARALLEL_PORT,
}  # fmt: skip


def rows() -> list[dict[str, str]]:
    """The VMX files of the index."""
    with (CORPUS / "INDEX.tsv").open(encoding="utf-8", newline="") as file:
        return [row for row in csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE) if row["kind"] == "vmx"]


@pytest.mark.parametrize("row", rows(), ids=lambda row: str(row["local"]))
def test_what_is_read_is_what_the_index_counts(row: dict[str, str]) -> None:
    data = (CORPUS / row["local"]).read_bytes()
    if "ENCRYPTED" in row["note"]:
        with pytest.raises(DescriptorError) as caught:
            read_vmx(data)
        assert caught.value.code == "E_NOT_SUPPORTED"
        return
    envelope = read_vmx(data)
    (system,) = envelope.content
    assert isinstance(system, VirtualSystem)
    (hardware,) = system.hardware
    items = hardware.items
    assert [str(cpu_count(items)), str((memory_bytes(items) or 0) // MIB), str(len(nics(items)))] == [
        row["cpus"].replace("-", "1"),
        row["mem_mib"],
        row["nics"],
    ]
    images = [file.href for file in envelope.files if file.href.endswith(".vmdk")]
    assert str(len(images)) == row["disks"]
    assert hardware.config["firmware"] == (row["firmware"] or "bios")


def test_what_is_noted() -> None:
    codes: Counter[str] = Counter()
    for row in rows():
        if "ENCRYPTED" not in row["note"]:
            codes.update(finding.code for finding in read_vmx((CORPUS / row["local"]).read_bytes()).findings)
    assert dict(codes) == FINDINGS


@cache
def machines() -> tuple[tuple[str, tuple[Item, ...], WrittenVmx], ...]:
    """Every machine of every OVF that can be read: its hardware by default, and its VMX."""
    return tuple(write_all())


def write_all() -> Iterator[tuple[str, tuple[Item, ...], WrittenVmx]]:
    for row in descriptors():
        try:
            envelope = read_envelope(row.read())
        except DescriptorError:
            continue
        for system in walk(envelope.content):
            if isinstance(system, VirtualSystem) and (hardware := choose_hardware(system)):
                items = effective_items(envelope, hardware, None)
                names = {file.id: f"{file.id}.vmdk" for file in envelope.files}
                yield row.local, items, write_vmx(envelope, system, hardware, items, file_names=names)


def disks_that_libvirt_sees(text: str) -> int:
    """libvirt 9.0 knows no NVMe, and of SCSI before virtual hardware 13 only the first seven places."""
    is_wide = int(re.findall(r'^virtualHW.version = "([0-9]+)"', text, re.MULTILINE)[0]) >= 13
    places = re.findall(r'^(scsi[0-9]|sata[0-9]|ide[0-9]):([0-9]+)\.deviceType = "disk"', text, re.MULTILINE)
    return sum(not key.startswith("scsi") or is_wide or int(unit) < 7 for key, unit in places)


def test_libvirt_takes_the_vmx_of_every_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with_vmware(monkeypatch, tmp_path)
    connection = libvirt.open(CONVERTER)
    count = 0
    for local, items, written in machines():
        count += 1
        domain = ET.fromstring(connection.domainXMLFromNative("vmware-vmx", written.text))  # noqa: S314 - libvirt's
        assert domain.findtext("vcpu") == str(cpu_count(items) or 1), local
        memory = memory_bytes(items)
        if memory and not memory % (4 * MIB):
            assert domain.findtext("memory") == str(memory // KIB), local
        assert len(domain.findall("devices/disk[@device='disk']")) == disks_that_libvirt_sees(written.text), local
        assert len(domain.findall("devices/interface")) == len(nics(items)), local
    connection.close()
    assert count >= LEAST_MACHINES


def test_every_machine_reads_back_with_its_hardware() -> None:
    for local, items, written in machines():
        (system,) = read_vmx(written.text.encode()).content
        assert isinstance(system, VirtualSystem)
        back = system.hardware[0].items
        assert cpu_count(back) == (cpu_count(items) or 1), local
        if not written.findings:
            assert models(nics(back)) == {OTHER_WORDS.get(word, word) for word in models(nics(items))}, local
            assert counts(back) == counts(items), local


def models(items: Iterable[Item]) -> set[str]:
    """The first word that each card is called by."""
    return {item.subtypes[0] for item in items if item.subtypes}


def counts(items: Iterable[Item]) -> Counter[int]:
    """How many drives and ports there are of each kind, and controllers that have drives."""
    parents = {item.parent for item in items}
    kinds = (ResourceType.DVD if item.resource_type == ResourceType.CD else item.resource_type for item in items)
    return Counter(
        kind for item, kind in zip(items, kinds, strict=True) if kind in KINDS or item.instance_id in parents
    )
