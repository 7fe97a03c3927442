"""Blank, still, changing; and the text on a screen in text mode."""

from __future__ import annotations

import pytest

from virt_ova.target.base import ScreenState
from virt_ova.target.boot.picture import RGB, Picture, write_png
from virt_ova.target.boot.screen import ScreenWatch, is_blank, is_changed, main_color
from virt_ova.target.boot.vga import MEMORY_BYTES, is_text_mode, screen_lines

COLUMNS = 80


def picture(*marks: tuple[int, int, int, int], width: int = 720, height: int = 400) -> Picture:
    """Black, with white rectangles: column, row, width, height in pixels."""
    rows = [bytearray(width * RGB) for _ in range(height)]
    for left, top, wide, high in marks:
        for row in rows[top : top + high]:
            row[left * RGB : (left + wide) * RGB] = b"\xff" * (wide * RGB)
    return Picture(width=width, height=height, rows=tuple(map(bytes, rows)))


@pytest.mark.parametrize(
    ("marks", "blank"),
    [
        ((), True),
        (((0, 13, 9, 2),), True),
        (((352, 60, 16, 32),), True),
        (((0, 0, 17, 1),), False),
        (((0, 0, 1, 33),), False),
        (((0, 0, 9, 16), (100, 200, 9, 16)), False),
    ],
)
def test_what_fits_into_a_cursor_is_neither_content_nor_change(
    marks: tuple[tuple[int, int, int, int], ...], *, blank: bool
) -> None:
    assert is_blank(picture(*marks)) is blank
    assert is_changed(picture(), picture(*marks)) is not blank


@pytest.mark.parametrize(
    ("marks", "color"),
    [
        ((), "#000000"),
        (((0, 0, 720, 200),), ""),
        (((0, 0, 720, 201),), "#ffffff"),
        (((0, 0, 350, 400),), "#000000"),
    ],
)
def test_the_colour_of_the_most_of_it(marks: tuple[tuple[int, int, int, int], ...], color: str) -> None:
    assert main_color(picture(*marks)) == color


def test_a_picture_of_many_colours_has_no_main_one() -> None:
    row = bytes(range(90))
    assert main_color(Picture(width=30, height=9, rows=(row,) * 9)) == ""


def test_another_size_is_a_change() -> None:
    assert is_changed(picture(), picture(width=640))


def test_a_screen_is_watched() -> None:
    watch = ScreenWatch()
    assert watch.report(is_changing=True) is None
    assert not watch.look(b"")
    assert not watch.look(write_png(picture()))
    assert watch.report(is_changing=True) is not None
    assert not watch.look(write_png(picture((0, 13, 9, 2))))
    assert watch.changed == float("-inf")
    assert watch.look(write_png(picture((0, 0, 300, 20))))
    assert watch.changed > 0
    assert not watch.look(write_png(picture((0, 0, 300, 20))))
    for is_changing, state in ((True, ScreenState.CHANGING), (False, ScreenState.STILL)):
        screen = watch.report(is_changing=is_changing)
        assert screen is not None
        assert (screen.state, screen.width, screen.height) == (state, 720, 400)
        assert screen.png == write_png(picture((0, 0, 300, 20)))
    watch.look(write_png(picture()))
    screen = watch.report(is_changing=True)
    assert screen is not None
    assert screen.state is ScreenState.BLANK


def memory(lines: dict[int, str], fill: bytes = b" \x07") -> bytes:
    """Of a VGA whose rows, counted from its beginning, hold these lines."""
    whole = bytearray(fill * (MEMORY_BYTES // 2))
    for row, line in lines.items():
        for column, character in enumerate(line.encode("cp437")):
            whole[(row * COLUMNS + column) * 2] = character
    return bytes(whole)


def shown(lines: dict[int, str], *, width: int = 720) -> Picture:
    """The screen with these lines: a character is a smaller rectangle than its cell."""
    cell = width // COLUMNS
    places = [(row, column) for row, line in lines.items() for column, each in enumerate(line) if each != " "]
    return picture(*((column * cell + 1, row * 16 + 2, cell - 3, 12) for row, column in places), width=width)


@pytest.mark.parametrize("width", [720, 640])
@pytest.mark.parametrize("first", [0, 1, 100, 179])
def test_the_text_is_found_wherever_the_screen_begins(first: int, width: int) -> None:
    lines = {0: "SeaBIOS (version 1.16.2)", 1: "", 2: "Booting from Hard Disk...", 24: "No bootable device."}
    old = {row: f"an old line {row} " * 3 for row in range(204)}
    moved = (
        old
        | dict.fromkeys(range(first, first + 25), " " * 79)
        | {first + row: f"{text:79}" for row, text in lines.items()}
    )
    assert screen_lines(memory(moved), shown(lines, width=width)) == tuple(text for text in lines.values() if text)


def test_a_cursor_and_nul_do_not_disturb() -> None:
    lines = {3: "login: "}
    with_cursor = shown({3: "login: _"})
    assert screen_lines(memory(lines, fill=b"\0\7"), with_cursor) == ("login:",)


def test_memory_that_is_not_what_the_screen_shows_tells_nothing() -> None:
    assert screen_lines(memory({}), shown(dict.fromkeys(range(10), "x" * 20))) == ()
    assert screen_lines(b"", picture()) == ()


def test_text_mode_is_known_by_its_size() -> None:
    assert is_text_mode(picture())
    assert not is_text_mode(picture(width=800, height=600))
