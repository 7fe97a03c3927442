"""What is told of files of EFI variables, those of OVMF among them."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.build.efivars import ENROLLED, FRESH, FRESH_2M, empty_store, with_variables
from virt_ova.plan.efivars import STORE_HEADER, VARIABLE_HEADER, VariableStore, examine

pytestmark = pytest.mark.skipif(not FRESH.exists(), reason="OVMF is not installed")

VOLUME_HEADER_BYTES = 72
FIRST = VOLUME_HEADER_BYTES + STORE_HEADER.size


def patched(offset: int, data: bytes, store: bytes | None = None) -> bytes:
    store = FRESH.read_bytes() if store is None else store
    return store[:offset] + data + store[offset + len(data) :]


@pytest.mark.parametrize(
    ("path", "size_bytes", "has_key"), [(FRESH, 528, False), (ENROLLED, 528, True), (FRESH_2M, 128, False)]
)
def test_those_of_ovmf_are_used(path: Path, size_bytes: int, *, has_key: bool) -> None:
    store = examine(path.read_bytes())
    assert (store.problem, store.size_bytes, store.has_platform_key) == ("", size_bytes << 10, has_key)


def test_a_store_without_variables_is_whole() -> None:
    assert examine(empty_store(4096)) == VariableStore(size_bytes=4096)


def test_boot_entries_are_counted() -> None:
    names = ("Boot0000", "BootOrder", "Boot00AF", "Boot1", "PKx", "Lang")
    store = with_variables(FRESH.read_bytes(), dict.fromkeys(names, b"12345"))
    assert examine(store) == VariableStore(size_bytes=len(store), boot_entries=2)


@pytest.mark.parametrize(
    ("state", "expected"), [(0x3F, True), (0x3E, True), (0x3D, False), (0x3C, False), (0x7F, False)]
)
def test_a_variable_counts_as_long_as_it_was_not_deleted(state: int, *, expected: bool) -> None:
    store = patched(FIRST + 2, bytes([state]), with_variables(FRESH.read_bytes(), {"PK": b"key"}))
    assert examine(store).has_platform_key is expected


def test_only_uefis_own_names_count() -> None:
    store = with_variables(FRESH.read_bytes(), {"PK": b"key"})
    assert not examine(patched(FIRST + VARIABLE_HEADER.size - 1, b"\0", store)).has_platform_key


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"MRVN\1\0\0\0".ljust(270840, b"\xff"), "they are in VMware's format, which no other firmware reads"),
        (
            b"efi/nvram".ljust(257, b"\0") + b"ustar".ljust(2000, b"\0"),
            "they are in VirtualBox's format (a tar), which no other firmware reads",
        ),
        (b"QFI\xfb".ljust(512, b"\0"), "they are in a qcow2 image, expected them as they are"),
        (b"", "their file has 0 bytes, too few for what OVMF keeps"),
        (bytes(55), "their file has 55 bytes, too few for what OVMF keeps"),
        (bytes(4096), "their file is of no format that is known here, expected what OVMF keeps (EDK II's)"),
    ],
)
def test_other_formats_are_told(data: bytes, problem: str) -> None:
    assert examine(data) == VariableStore(size_bytes=len(data), problem=problem)


UNKNOWN = "their file is of no format that is known here, expected what OVMF keeps (EDK II's)"


@pytest.mark.parametrize(
    ("offset", "data", "problem"),
    [
        (3, b"\1", UNKNOWN),
        (16, b"\0", UNKNOWN),
        (40, b"_FVX", UNKNOWN),
        (32, struct.pack("<Q", 528 << 20), "they are damaged: their file has 540672 bytes, and says 553648128"),
        (44, b"\0", "they are damaged: the checksum of their header is wrong"),
        (48, struct.pack("<H", 20), "they are damaged: they have a header of 20 bytes"),
        (48, struct.pack("<H", 73), "they are damaged: they have a header of 73 bytes"),
        (72, b"\0", "their file holds no authenticated variables, which is what OVMF keeps"),
        (72 + 20, b"\0", "their file holds no authenticated variables, which is what OVMF keeps"),
        (72 + 16, struct.pack("<I", 540672), "they are damaged: they have 540672 bytes in a file of 540672"),
        (72 + 16, struct.pack("<I", 27), "they are damaged: they have 27 bytes in a file of 540672"),
    ],
)
def test_damage_is_told(offset: int, data: bytes, problem: str) -> None:
    assert examine(patched(offset, data)).problem == problem


@pytest.mark.parametrize("place", [36, 40])
def test_a_variable_may_not_go_beyond_the_end(place: int) -> None:
    store = with_variables(FRESH.read_bytes(), {"Lang": b"en"})
    problem = "they are damaged: the variable at byte 100 goes beyond their end"
    assert examine(patched(FIRST + place, b"\xff\xff\xff\xff", store)).problem == problem


def test_a_name_that_is_no_text_is_nobodys() -> None:
    store = with_variables(FRESH.read_bytes(), {"PK": b"key"})
    assert examine(patched(FIRST + VARIABLE_HEADER.size, b"\0\xd8\0", store)) == VariableStore(size_bytes=len(store))


@given(st.data())
def test_any_damage_is_survived(data: st.DataObject) -> None:
    store = bytearray(with_variables(FRESH.read_bytes(), {"Boot0000": b"x" * 40, "PK": b"key"}))
    for offset in data.draw(st.lists(st.integers(0, 400), max_size=4)):
        store[offset] = data.draw(st.integers(0, 255))
    cut = data.draw(st.one_of(st.just(len(store)), st.integers(0, 400)))
    assert examine(bytes(store[:cut])).size_bytes == cut
