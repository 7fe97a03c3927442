"""A VMX of any bytes gives a machine or a `DescriptorError`; what is written of any text reads back."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.build.vmware import SETTINGS, lines, vmx
from virt_ova.disk.vmdk.descriptor import read_extents
from virt_ova.errors import DescriptorError, DiskError, VirtOvaError
from virt_ova.ovf.envelope import Envelope
from virt_ova.text import printable
from virt_ova.vmx.reader import read_vmx
from virt_ova.vmx.settings import format_settings, read_settings

SEED = vmx("disk.vmdk", "two.vmdk", annotation="a|22b", nvram="x.nvram") + lines(
    {
        "ide1:0.present": "TRUE",
        "ide1:0.deviceType": "cdrom-image",
        "ide1:0.fileName": "/x.iso",
        "floppy0.present": "TRUE",
        "serial0.present": "TRUE",
        "usb.present": "TRUE",
        "sound.present": "TRUE",
        "cpuid.coresPerSocket": "2",
        "firmware": "efi",
    }
)
KEYS = st.sampled_from([*SETTINGS, "nvram", "firmware", "scsi0:0.present", "scsi0:0.fileName", "ide0:0.present"])
EXTENTS = (
    b'# Disk DescriptorFile\nversion=1\nCID=1\nparentCID=ffffffff\ncreateType="twoGbMaxExtentFlat"\n'
    b'RW 4 FLAT "a-f001.vmdk" 0\nRW 4 FLAT "a-f002.vmdk" 0\nddb.adapterType = "ide"\n'
)


def read(data: bytes) -> None:
    try:
        envelope = read_vmx(data)
    except DescriptorError as exc:
        check_refusal(exc, "E_VMX_LIMIT", "E_VMX_ENCODING", "E_VMX_SYNTAX", "E_VMX_VALUE", "E_NOT_SUPPORTED")
        return
    assert isinstance(envelope, Envelope)
    assert all(is_escaped(finding.message) for finding in envelope.findings)


def check_refusal(error: VirtOvaError, *codes: str) -> None:
    assert error.code in codes
    assert is_escaped(str(error))


def is_escaped(text: str) -> bool:
    return printable(text, limit=len(text)) == text


@given(data=st.binary(max_size=400))
@settings(max_examples=100, deadline=None)
def test_any_bytes(data: bytes) -> None:
    read(data)


@given(pieces=st.lists(st.tuples(st.integers(0, len(SEED) - 1), st.binary(min_size=1, max_size=4)), max_size=5))
@settings(max_examples=200, deadline=None)
def test_damaged_bytes(pieces: list[tuple[int, bytes]]) -> None:
    data = bytearray(SEED)
    for at, piece in pieces:
        data[at : at + len(piece)] = piece
    read(bytes(data))


@given(values=st.dictionaries(KEYS, st.text(st.characters(exclude_characters='"\n\r', exclude_categories=["Cs"]))))
@settings(max_examples=200, deadline=None)
def test_any_values(values: dict[str, str]) -> None:
    read(lines({**SETTINGS, **values}))


@given(values=st.lists(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])), max_size=5))
@settings(max_examples=100, deadline=None)
def test_what_is_written_reads_back(values: list[str]) -> None:
    text = format_settings((f"key{number}", value) for number, value in enumerate(values))
    found = read_settings(text.encode())
    assert [found.text(f"key{number}") for number in range(len(values))] == [value.strip() for value in values]


@given(pieces=st.lists(st.tuples(st.integers(0, len(EXTENTS) - 1), st.binary(min_size=1, max_size=4)), max_size=4))
@settings(max_examples=200, deadline=None)
def test_a_damaged_list_of_extents(pieces: list[tuple[int, bytes]]) -> None:
    data = bytearray(EXTENTS)
    for at, piece in pieces:
        data[at : at + len(piece)] = piece
    try:
        extents = read_extents(bytes(data))
    except DiskError as exc:
        check_refusal(exc, "E_DISK_TYPE", "E_DISK_PARENT", "E_DISK_SIZE", "E_DISK_DESCRIPTOR")
        return
    assert all(extent.sectors > 0 for extent in extents.extents)
