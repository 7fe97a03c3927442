"""Copies of files with holes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from virt_ova.disk import duplicate as module
from virt_ova.disk.duplicate import duplicate
from virt_ova.disk.sink import FileSink

MIB = 1 << 20


@pytest.mark.parametrize(
    ("size", "parts"),
    [(0, {}), (5, {0: b"hello"}), (64 * MIB, {}), (64 * MIB + 3, {0: b"a" * 5000, 30 * MIB: b"b" * 3 * MIB})],
)
@pytest.mark.parametrize("can_share", [True, False])
def test_a_copy_has_the_bytes_and_the_holes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int, parts: dict[int, bytes], *, can_share: bool
) -> None:
    if not can_share:
        monkeypatch.setattr(module, "_FICLONE", 0)
    with (tmp_path / "a").open("w+b") as file:
        for offset, data in parts.items():
            os.pwrite(file.fileno(), data, offset)
        file.truncate(size)
        duplicate(file, FileSink.create(tmp_path / "b"))
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert (tmp_path / "b").stat().st_blocks * 512 <= sum(map(len, parts.values())) + 2 * MIB
