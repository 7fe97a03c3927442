"""What is written on a screen in text mode.

Firmware, boot loaders and a kernel without a graphics driver write characters into the VGA's memory at B8000h, two
bytes each: code and colours. That memory is 32 KiB, the screen shows 4000 bytes of it, and from which place on is known
to the graphics chip alone: a kernel scrolls by moving on. So the place is found by the screenshot, whose cells are
blank where the characters are.
"""

from __future__ import annotations

from typing import Final

from virt_ova.target.boot.picture import RGB, Picture

MEMORY_ADDRESS: Final = 0xB8000
MEMORY_BYTES: Final = 32 << 10

_SIZES: Final = frozenset({(720, 400), (640, 400)})
"""Of a screen in text mode, in pixels; no graphics mode has them."""

_COLUMNS, _ROWS = 80, 25
_CELL_HEIGHT: Final = 16
_BLANK: Final = b" \0\xff"
_MOST_WRONG: Final = 60
"""Cells that may be blank on one side alone: the cursor, and what was written between screenshot and reading."""


def is_text_mode(picture: Picture) -> bool:
    """Whether the screen shows 80 by 25 characters."""
    return (picture.width, picture.height) in _SIZES


def screen_lines(memory: bytes, picture: Picture) -> tuple[str, ...]:
    """The lines on the screen, without those that are blank; none when `memory` is not what `picture` shows.

    Args:
        memory: `MEMORY_BYTES` from `MEMORY_ADDRESS` on.
        picture: the screen, in text mode.
    """
    codes = memory[::2]
    lines = [codes[start : start + _COLUMNS] for start in range(0, len(codes) - _COLUMNS + 1, _COLUMNS)]
    written = [sum((code not in _BLANK) << place for place, code in enumerate(line)) for line in lines]
    inked = [_inked_cells(picture, row) for row in range(_ROWS)]

    def wrong(first: int) -> int:
        pairs = zip(inked, written[first : first + _ROWS], strict=True)
        return sum((cells ^ characters).bit_count() for cells, characters in pairs)

    first = min(range(max(len(lines) - _ROWS + 1, 0)), key=wrong, default=None)
    if first is None or wrong(first) > _MOST_WRONG:
        return ()
    texts = (line.decode("cp437").replace("\0", " ").rstrip() for line in lines[first : first + _ROWS])
    return tuple(text for text in texts if text)


def _inked_cells(picture: Picture, row: int) -> int:
    """A bit for each cell of a row of text, set where not all pixels have one colour."""
    width = picture.width // _COLUMNS * RGB
    pixels = picture.rows[row * _CELL_HEIGHT : (row + 1) * _CELL_HEIGHT]
    cells = 0
    for column in range(_COLUMNS):
        start = column * width
        plain = pixels[0][start : start + RGB] * (width // RGB)
        cells |= any(line[start : start + width] != plain for line in pixels) << column
    return cells
