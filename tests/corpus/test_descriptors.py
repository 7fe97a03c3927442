"""Every descriptor of the corpus ends in a recorded outcome, and counts as its index says or as explained.

``VIRT_OVA_REGENERATE=1 pytest tests/corpus`` writes `outcomes.tsv` anew; read the difference before you keep it.
"""

from __future__ import annotations

import os
from collections import Counter
from functools import cache
from pathlib import Path

import pytest

from tests.corpus.differences import DIFFERENCES, REFUSALS, refusal_of
from tests.corpus.index import COLUMNS, CORPUS, Row, descriptors
from virt_ova.errors import DescriptorError
from virt_ova.ovf import hardware
from virt_ova.ovf.envelope import Envelope, Item, VirtualSystem
from virt_ova.ovf.reader import read_envelope
from virt_ova.ovf.references import walk
from virt_ova.package.package import open_package
from virt_ova.stories.planning import plan_install
from virt_ova.units import MIB

OUTCOMES = Path(__file__).with_name("outcomes.tsv")
MISDECLARED = "xenserver+xenadmin/XenAdminTests/TestResources/sample_app.ovf"
COMMON_PARENTS = "vmware+govmomi/ovf/fixtures/external/SugarCRM/SugarCRM.ovf"
HEADER = "local\toutcome\tfindings\n"


@cache
def rows() -> tuple[Row, ...]:
    return descriptors()


@cache
def outcome(row_number: int) -> Envelope | DescriptorError:
    try:
        return read_envelope(rows()[row_number].read())
    except DescriptorError as error:
        return error


def outcomes() -> list[tuple[Row, Envelope | DescriptorError]]:
    return [(row, outcome(number)) for number, row in enumerate(rows())]


def recorded(row: Row, result: Envelope | DescriptorError) -> str:
    if isinstance(result, DescriptorError):
        return f"{row.local}\t{result.code}\t\n"
    codes = Counter(finding.code for finding in result.findings)
    findings = ",".join(f"{code}={count}" for code, count in sorted(codes.items()))
    return f"{row.local}\tok\t{findings}\n"


def counts(envelope: Envelope) -> dict[str, str]:
    """Our values of the index's columns."""
    entities = list(walk(envelope.content))
    systems = [entity for entity in entities if isinstance(entity, VirtualSystem)]
    items = [effective(envelope, system) for system in systems]
    memory = [hardware.memory_bytes(each) for each in items]
    capacities = [disk.capacity_bytes for disk in envelope.disks]
    known = [capacity for capacity in capacities if capacity is not None]
    values = (
        len(systems),
        len(entities) - len(systems),
        len(envelope.files),
        len(envelope.disks),
        len(envelope.networks),
        sum(len(hardware.nics(each)) for each in items),
        ";".join(str(hardware.cpu_count(each) or "-") for each in items),
        ";".join("-" if size is None else str(size // MIB) for size in memory),
        sum(known) if len(known) == len(capacities) else "?",
    )
    return dict(zip(COLUMNS, map(str, values), strict=True))


def effective(envelope: Envelope, system: VirtualSystem) -> tuple[Item, ...]:
    section = hardware.choose_hardware(system)
    return hardware.effective_items(envelope, section, None) if section else ()


def test_every_descriptor_has_its_recorded_outcome() -> None:
    text = HEADER + "".join(sorted(recorded(row, result) for row, result in outcomes()))
    if os.environ.get("VIRT_OVA_REGENERATE"):
        OUTCOMES.write_text(text, encoding="utf-8")
        pytest.fail("outcomes.tsv was written anew: look at the difference, then run without VIRT_OVA_REGENERATE")
    assert text == OUTCOMES.read_text(encoding="utf-8")


def test_what_is_not_well_formed_is_refused_as_such() -> None:
    codes = {
        row.local: result.code if isinstance(result, DescriptorError) else "ok"
        for row, result in outcomes()
        if not row.is_well_formed
    }
    assert len(codes) == 12
    assert [local for local, code in codes.items() if code == "ok"] == [MISDECLARED]
    assert set(codes.values()) == {"E_OVF_XML", "E_OVF_ENCODING", "E_OVF_DOCTYPE", "ok"}


def test_what_xencenter_writes_is_read_though_its_declaration_is_false() -> None:
    (found,) = [result for row, result in outcomes() if row.local == MISDECLARED]
    assert isinstance(found, Envelope)
    assert counts(found) == {
        "systems": "1", "collections": "0", "files": "1", "disks": "1", "networks": "0", "nics_def": "0",
        "cpus": "1", "mem_mib": "64", "capacity": "10485760",
    }  # fmt: skip
    assert found.findings[0].code == "OVF_ENCODING"


def test_every_refusal_of_a_well_formed_descriptor_is_explained() -> None:
    refused: Counter[int] = Counter()
    for row, result in outcomes():
        explained = refusal_of(row.local)
        if isinstance(result, DescriptorError) and row.is_well_formed:
            assert explained is not None, f"{row.local}: {result}"
            assert result.code == explained.code, f"{row.local}: {result}"
            refused[REFUSALS.index(explained)] += 1
        else:
            assert explained is None, f"{row.local} is read, but a refusal is explained"
    assert [refused[number] for number in range(len(REFUSALS))] == [refusal.number for refusal in REFUSALS]


def test_counts_are_those_of_the_index_or_the_difference_is_explained() -> None:
    found = {
        (row.local, column, ours, row.counts[column])
        for row, result in outcomes()
        if isinstance(result, Envelope) and row.is_well_formed
        for column, ours in counts(result).items()
        if ours != row.counts[column]
    }
    assert found == {(known.local, known.column, known.ours, known.theirs) for known in DIFFERENCES}


def test_most_descriptors_are_read() -> None:
    read = [row.local for row, result in outcomes() if isinstance(result, Envelope)]
    assert len(read) == 436
    meant_well = [(row, result) for row, result in outcomes() if row.label == "valid?"]
    refused = [row.local for row, result in meant_well if isinstance(result, DescriptorError)]
    assert [Path(local).name for local in refused] == ["valid_vmdk_neg_size.ovf"]


def test_no_outcome_repeats_more_of_a_package_than_a_message_may() -> None:
    for row, result in outcomes():
        texts = [str(result)] if isinstance(result, DescriptorError) else [f.message for f in result.findings]
        assert all(text.isprintable() and len(text) < 800 for text in texts), row.local


def test_machines_whose_disks_have_a_parent_in_common_get_whole_disks() -> None:
    """As VMware's tool makes them: what several disks have in common goes into a parent that no machine has."""
    with open_package(CORPUS / COMMON_PARENTS) as package:
        plan = plan_install(package)
    assert {transfer.id: (transfer.member, transfer.parents) for transfer in plan.transfers if transfer.member} == {
        "vmdisk1": ("SugarCRM-disk1.vmdk", ("SugarCRM-basedisk-1-4.vmdk",)),
        "vmdisk3": ("SugarCRM-disk3.vmdk", ("SugarCRM-basedisk-3-6.vmdk",)),
        "vmdisk4": ("SugarCRM-disk4.vmdk", ("SugarCRM-basedisk-1-4.vmdk",)),
        "vmdisk6": ("SugarCRM-disk6.vmdk", ("SugarCRM-basedisk-3-6.vmdk",)),
    }
    assert "DISK_UNUSED" not in {finding.code for finding in plan.findings}
