"""Whether a screen is blank, still or changing.

What fits into a cursor is neither content nor change: a cursor blinks on a machine that does nothing.
"""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Final

from virt_ova.target.base import Screen, ScreenState
from virt_ova.target.boot.picture import RGB, Picture, read_picture, write_png

CURSOR_WIDTH: Final = 16
CURSOR_HEIGHT: Final = 32
"""Pixels of the largest text cursor: one character of Linux's font for large screens."""

_LOOKED_AT: Final = 8


def is_blank(picture: Picture) -> bool:
    """Whether there is nothing on it, or a cursor at most."""
    paper = picture.rows[-1][-RGB:] * picture.width
    return not _stand_out(picture.rows, (paper,) * picture.height)


def main_color(picture: Picture) -> str:
    """The colour of more than half of the pixels (``#0078d7``), by every eighth row; empty when none has that."""
    rows = picture.rows[::_LOOKED_AT]
    colors = Counter(row[place : place + RGB] for row in rows for place in range(0, len(row), RGB))
    color, count = colors.most_common(1)[0]
    return f"#{color.hex()}" if count * 2 > len(rows) * picture.width else ""


def is_changed(before: Picture, after: Picture) -> bool:
    """Whether two pictures differ by more than a cursor."""
    if (before.width, before.height) != (after.width, after.height):
        return True
    return _stand_out(before.rows, after.rows)


def _stand_out(rows: tuple[bytes, ...], others: tuple[bytes, ...]) -> bool:
    """Whether the differences of two pictures do not fit into a cursor."""
    differing = [number for number, (row, other) in enumerate(zip(rows, others, strict=True)) if row != other]
    if not differing:
        return False
    if differing[-1] - differing[0] >= CURSOR_HEIGHT:
        return True
    columns = [
        place // RGB
        for number in differing
        for place, (one, other) in enumerate(zip(rows[number], others[number], strict=True))
        if one != other
    ]
    return max(columns) - min(columns) >= CURSOR_WIDTH


@dataclass(kw_only=True, slots=True)
class ScreenWatch:
    """Looks at the screen of one machine from time to time.

    Attributes:
        picture: what was seen last; None before the first look, and where there is no screen.
        changed: `time.monotonic` of the last look that saw a change.
    """

    picture: Picture | None = None
    changed: float = float("-inf")
    _file: bytes = field(default=b"", repr=False)

    def look(self, file: bytes) -> bool:
        """Take in a screenshot, empty for none; whether it shows a change."""
        if not file or file == self._file or (picture := read_picture(file)) is None:
            return False
        before, self.picture, self._file = self.picture, picture, file
        if before is None or not is_changed(before, picture):
            return False
        self.changed = time.monotonic()
        return True

    def report(self, *, is_changing: bool) -> Screen | None:
        """What was seen last, said to change or not; None where there is no screen."""
        if self.picture is None:
            return None
        state = ScreenState.CHANGING if is_changing else ScreenState.STILL
        return Screen(
            state=ScreenState.BLANK if is_blank(self.picture) else state,
            width=self.picture.width,
            height=self.picture.height,
            color=main_color(self.picture),
            png=write_png(self.picture),
        )
