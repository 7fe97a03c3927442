from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from virt_ova.errors import DescriptorError
from virt_ova.units import MAX_COUNT, format_bytes, parse_count, parse_unit


def outcome(parse: Callable[[str], int], text: str) -> str:
    """``ok`` for a number that is in range, else the error's code."""
    try:
        number = parse(text)
    except DescriptorError as error:
        return error.code
    return "ok" if 0 <= number <= MAX_COUNT else "out of range"


@pytest.mark.parametrize(("text", "count"), [("0", 0), (" 42\n", 42), ("007", 7), (str(MAX_COUNT), MAX_COUNT)])
def test_a_count_is_plain_decimal_digits(text: str, count: int) -> None:
    assert parse_count(text) == count


@pytest.mark.parametrize(
    "text",
    ["", "-1", "+1", "1e9", "0x10", "1.0", "1_000", "١٢", "²", "1" * 20, str(MAX_COUNT + 1), "1 2", "\xa01"],
)
def test_anything_else_is_no_count(text: str) -> None:
    with pytest.raises(DescriptorError) as caught:
        parse_count(text)
    assert caught.value.code == "E_OVF_VALUE"
    assert caught.value.message.endswith("expected a whole number up to 2^63-1")


@given(st.integers(min_value=0, max_value=MAX_COUNT))
def test_every_count_in_range_is_read(count: int) -> None:
    assert parse_count(str(count)) == count


@given(st.text())
def test_a_count_is_read_or_refused_whatever_the_text(text: str) -> None:
    assert outcome(parse_count, text) in {"ok", "E_OVF_VALUE"}


@pytest.mark.parametrize(
    ("unit", "scale"),
    [
        (None, 1),
        ("  ", 1),
        ("byte", 1),
        ("KB", 1 << 10),
        ("MegaBytes", 1 << 20),
        ("GIGABYTES", 1 << 30),
        ("TiB", 1 << 40),
        ("byte * 2^20", 1 << 20),
        ("byte * 2 ^ 20", 1 << 20),
        ("byte*2^30", 1 << 30),
        ("Byte * 2^+20", 1 << 20),
        ("byte*1024*1024", 1 << 20),
        ("byte * 10^9", 10**9),
        ("byte * 512", 512),
        ("byte * 2 * 2^10", 1 << 11),
        ("hertz * 10^6", 10**6),
        ("Hertz*10^9", 10**9),
        ("byte * 2^62", 1 << 62),
    ],
)
def test_units_in_every_spelling_of_the_corpus(unit: str | None, scale: int) -> None:
    assert parse_unit(unit) == scale


@pytest.mark.parametrize(
    "unit",
    ["fortnights", "byte *", "byte * x", "2^20", "byte / 2", "byte * 2^-3", "MegaBytes * 2", "byte" + "*2" * 9, "*2"],
)
def test_an_unknown_unit_is_refused(unit: str) -> None:
    with pytest.raises(DescriptorError) as caught:
        parse_unit(unit)
    assert caught.value.code == "E_OVF_UNIT"
    assert caught.value.message == f"found the unit '{unit}', expected one like 'byte * 2^20' or 'MegaBytes'"


@pytest.mark.parametrize("unit", ["byte * 2^200", "byte * 2^63", "byte * 10^19", "byte * 0", "byte * 9^9999"])
def test_a_unit_beyond_all_sizes_is_refused(unit: str) -> None:
    with pytest.raises(DescriptorError) as caught:
        parse_unit(unit)
    assert caught.value.code == "E_OVF_VALUE"
    assert caught.value.message == f"found the unit '{unit}', expected one of 1 to 2^63-1"


@given(st.text(alphabet="byteBYTEhzr *^0123456789+-", max_size=40))
def test_a_unit_is_read_or_refused_whatever_the_text(text: str) -> None:
    assert outcome(parse_unit, text) in {"ok", "E_OVF_UNIT", "E_OVF_VALUE"}


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0 B"), (512, "512 B"), (1536, "1.5 KiB"), (1 << 20, "1.0 MiB"), (3 << 29, "1.5 GiB"), (5 << 40, "5.0 TiB")],
)
def test_sizes_are_shown_in_binary_units(size: int, text: str) -> None:
    assert format_bytes(size) == text
