from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from virt_ova.errors import PlanError
from virt_ova.plan.machine import DriveKind
from virt_ova.plan.naming import check_name, image_name, is_image_name, machine_name, unique_name
from virt_ova.plan.plan import ImageFormat

SAFE = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._+-]{0,62}")


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("web", "web"),
        ("Debian 12.1_x+y-z", "Debian 12.1_x+y-z"),
        ("Café Zürich", "Cafe Zurich"),
        ("-rf", "rf"),
        ("a/b", "a-b"),
        ("../../etc/passwd", "etc-passwd"),
        ("a\n\tb", "a-b"),
        ("$(id)", "id"),
        ("a'\"`;|&b", "a-b"),
        ("]]>&x;", "x"),
        ("\u202eevil", "evil"),
        ("x" * 300, "x" * 63),
        ("x" * 62 + ". y", "x" * 62),
        ("", "appliance"),
        (".", "appliance"),
        ("..", "appliance"),
        ("虚拟机", "appliance"),
        ("😀", "appliance"),
    ],
)
def test_package_names_are_mapped(text: str, name: str) -> None:
    assert machine_name(text) == name


@given(st.text(max_size=200))
def test_every_mapped_name_is_safe_and_stays_as_it_is(text: str) -> None:
    name = machine_name(text)
    assert SAFE.fullmatch(name)
    assert machine_name(name) == name
    assert check_name(name) == name
    assert is_image_name(image_name(name, 1, DriveKind.DISK, ImageFormat.QCOW2))


@pytest.mark.parametrize("text", ["", "-rf", ".", "a/b", "a\n", "x" * 64, "é", " a"])
def test_a_chosen_name_is_refused_not_altered(text: str) -> None:
    with pytest.raises(PlanError, match="cannot be used, expected 1 to 63 letters, digits, blanks") as caught:
        check_name(text)
    assert caught.value.code == "E_NAME"
    assert caught.value.hint == f"Use '{machine_name(text)}'."


def test_a_taken_name_gets_a_number() -> None:
    assert unique_name("web", {"db"}) == "web"
    assert unique_name("web", {"web"}) == "web-2"
    assert unique_name("web", {"web", "web-2"}) == "web-3"
    assert unique_name("x" * 63, {"x" * 63}) == "x" * 61 + "-2"


def test_images_are_named_after_machine_kind_and_format() -> None:
    assert image_name("web", 1, DriveKind.DISK, ImageFormat.QCOW2) == "web-disk1.qcow2"
    assert image_name("web", 2, DriveKind.DISK, ImageFormat.RAW) == "web-disk2.raw"
    assert image_name("web", 1, DriveKind.CDROM, ImageFormat.RAW) == "web-cdrom1.iso"
    assert image_name("web", 1, DriveKind.FLOPPY, ImageFormat.RAW) == "web-floppy1.img"


@pytest.mark.parametrize("text", ["", "../x", "a/b", "-x", ".x", "a\n", "x" * 129])
def test_what_is_no_plain_file_name_is_no_image_name(text: str) -> None:
    assert not is_image_name(text)
