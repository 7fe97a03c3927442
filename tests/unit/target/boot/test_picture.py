"""Screenshots are read and written right. QEMU, which writes the real ones, is the oracle."""

from __future__ import annotations

import json
import random
import socket
import struct
import subprocess
import tempfile
import time
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from virt_ova.target.boot.picture import MAX_PIXELS, RGB, Picture, read_picture, write_png

NOISE = random.Random(5)  # noqa: S311 - no secret
ROWS = tuple(NOISE.randbytes(7 * RGB) for _ in range(6))
PICTURE = Picture(width=7, height=6, rows=ROWS)


def filtered(rows: tuple[bytes, ...], kind: int) -> bytes:
    """The rows as a PNG has them, by the formulas of ISO/IEC 15948, 9.2."""

    def predicted(left: int, up: int, corner: int) -> int:
        estimate = left + up - corner
        paeth = min((left, up, corner), key=lambda each: abs(estimate - each))
        return (0, left, up, (left + up) // 2, paeth)[kind]

    lines = []
    above = bytes(len(rows[0]))
    for row in rows:
        lefts, corners = bytes(RGB) + row, bytes(RGB) + above
        guesses = [predicted(lefts[place], above[place], corners[place]) for place in range(len(row))]
        lines.append(bytes([kind]) + bytes((value - guess) & 0xFF for value, guess in zip(row, guesses, strict=True)))
        above = row
    return b"".join(lines)


def png(lines: bytes, *, width: int = 7, height: int = 6, kind: tuple[int, ...] = (8, 2, 0, 0, 0)) -> bytes:
    chunks = [
        (b"IHDR", struct.pack(">IIBBBBB", width, height, *kind)),
        (b"tEXt", b"x"),
        (b"IDAT", zlib.compress(lines)),
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I4s", len(content), name) + content + struct.pack(">I", zlib.crc32(name + content))
        for name, content in [*chunks, (b"IEND", b"")]
    )


@pytest.mark.parametrize("kind", range(5))
def test_every_filter_is_undone(kind: int) -> None:
    assert read_picture(png(filtered(ROWS, kind))) == PICTURE


def test_what_is_written_can_be_read() -> None:
    assert read_picture(write_png(PICTURE)) == PICTURE


def test_ppm() -> None:
    assert read_picture(b"P6\n7 6\n255\n" + b"".join(ROWS)) == PICTURE


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"GIF89a",
        b"P6\n7 6\n255\n" + b"".join(ROWS)[:-1],
        b"P6\n0 6\n255\n",
        b"P6\n99999 99999\n255\n",
        b"P6\n7 6\n65535\n" + b"".join(ROWS) * 2,
        b"\x89PNG\r\n\x1a\n",
        png(filtered(ROWS, 0))[:-20],
        png(filtered(ROWS, 0)[:-1]),
        png(filtered(ROWS, 0), height=5)[:40],
        png(filtered(ROWS, 0), kind=(16, 2, 0, 0, 0)),
        png(filtered(ROWS, 0), kind=(8, 3, 0, 0, 0)),
        png(filtered(ROWS, 0), kind=(8, 2, 0, 0, 1)),
        png(b"\x05" + filtered(ROWS, 0)[1:]),
        png(b"", width=MAX_PIXELS, height=2),
    ],
)
def test_what_is_no_such_picture_is_passed_over(data: bytes) -> None:
    assert read_picture(data) is None


def test_a_picture_that_inflates_to_more_than_it_should_is_not_inflated() -> None:
    assert read_picture(png(bytes(1 << 26))) is not None  # as much as its size says is taken, and no more


@pytest.fixture
def shots() -> Iterator[tuple[bytes, bytes]]:
    """The screen of a machine that waits in its firmware, as PNG and as PPM."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "qmp")
        machine = ["qemu-system-x86_64", "-accel", "tcg", "-nodefaults", "-display", "none", "-device", "VGA"]
        with subprocess.Popen([*machine, "-qmp", f"unix:{path},server=on"]) as process:
            try:
                yield _shots(path)
            finally:
                process.kill()


def _shots(path: Path) -> tuple[bytes, bytes]:
    deadline = time.monotonic() + 30
    while not path.exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(path))
        lines = connection.makefile("rwb")

        def execute(command: str, **arguments: object) -> None:
            lines.write(json.dumps({"execute": command, "arguments": arguments}).encode() + b"\n")
            lines.flush()
            while (answer := json.loads(lines.readline())).get("return") != {}:
                assert "error" not in answer

        execute("qmp_capabilities")
        time.sleep(3)
        execute("stop")
        files = [path.with_name(form) for form in ("png", "ppm")]
        for file in files:
            execute("screendump", filename=str(file), format=file.name)
        return files[0].read_bytes(), files[1].read_bytes()


def test_qemus_own_pictures_are_read(shots: tuple[bytes, bytes]) -> None:
    as_png, as_ppm = map(read_picture, shots)
    assert as_png is not None
    assert as_png == as_ppm
    assert (as_png.width, as_png.height) in {(720, 400), (640, 480)}
