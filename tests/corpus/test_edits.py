"""What is sent of a real descriptor, when not all of it or not all as it is, says the same of what is left."""

from __future__ import annotations

from tests.corpus.test_descriptors import outcomes
from virt_ova.ovf.edit import as_sent, only_system
from virt_ova.ovf.envelope import Envelope, VirtualSystem
from virt_ova.ovf.fitting import fitted, misfits
from virt_ova.ovf.reader import read_envelope
from virt_ova.ovf.references import walk
from virt_ova.ovf.xml import decode

READABLE = [(row, result) for row, result in outcomes() if isinstance(result, Envelope)]


def hardware(system: VirtualSystem) -> object:
    """What a system says of its hardware, but for where it stands."""
    return [
        (each.system_types, [(item.instance_id, item.resource_type, item.subtypes) for item in each.items])
        for each in system.hardware
    ]


def systems(envelope: Envelope) -> list[VirtualSystem]:
    return [entity for entity in walk(envelope.content) if isinstance(entity, VirtualSystem)]


def test_each_system_can_be_sent_alone() -> None:
    tried = 0
    for row, envelope in READABLE:
        text = as_sent(decode(row.read()))
        for system in systems(envelope) if len(systems(envelope)) > 1 else ():
            alone = read_envelope(only_system(text, envelope, system).encode())
            (found,) = systems(alone)
            assert (found.id, found.name, hardware(found)) == (system.id, system.name, hardware(system)), row.local
            assert {disk.file_ref for disk in alone.disks} - {""} <= {file.id for file in alone.files}, row.local
            tried += 1
    assert tried > 50


def test_what_is_fitted_fits() -> None:
    changed = 0
    for row, envelope in READABLE:
        text = as_sent(decode(row.read()))
        changes = misfits(text, newest=13)
        sent = fitted(text, changes)
        assert misfits(sent, newest=13) == (), row.local
        assert len(systems(read_envelope(sent.encode()))) == len(systems(envelope)), row.local
        assert (sent == text) == (not changes), row.local
        changed += bool(changes)
    assert changed > 10
