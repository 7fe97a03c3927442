"""Disks of differences for tests."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from tests.build.disks import KIB, SECTOR, OrderedSink, convert, member_of, sparse_vmdk, vmdk_descriptor
from tests.build.ova import descriptor
from virt_ova.disk.copy import copy_disk
from virt_ova.disk.layers import LayeredReader
from virt_ova.disk.pump import Hasher
from virt_ova.disk.qcow2.writer import Qcow2Writer
from virt_ova.disk.raw import RawWriter
from virt_ova.disk.sink import FileSink
from virt_ova.source.base import Member
from virt_ova.source.joined import JoinedSource

NONE: Final = "none"
ZEROED: Final = "zeroed"


@dataclass(frozen=True, kw_only=True)
class Layer:
    """An image to be: a VMDK of `grains`, each ``none``, ``zeroed``, ``zeros`` or ``data``; or `whole` in a format."""

    grains: tuple[str, ...]
    grain_sectors: int = 128
    tail_sectors: int = 0
    compressed: bool = True
    seed: int = 0
    whole: tuple[str, ...] = ()

    @property
    def grain_bytes(self) -> int:
        """Size of a grain."""
        return self.grain_sectors * SECTOR

    @property
    def capacity(self) -> int:
        """Size of the guest's disk: the last grain may be short."""
        return len(self.grains) * self.grain_bytes - (self.tail_sectors % self.grain_sectors) * SECTOR

    def written(self) -> dict[int, bytes]:
        """What is stored, by grain."""
        rng = random.Random(self.seed)  # noqa: S311 - test data
        stored = {}
        for number, kind in enumerate(self.grains):
            size = min(self.grain_bytes, self.capacity - number * self.grain_bytes)
            if kind not in {NONE, ZEROED}:
                data = rng.randbytes(min(size, 2 * KIB)).ljust(size, b"\1")
                stored[number] = bytes(size) if kind == "zeros" else data
        return stored

    def over(self, below: bytes) -> bytes:
        """The guest's disk, when `below` is what it lies on."""
        disk = bytearray(below[: self.capacity].ljust(self.capacity, b"\0"))
        blank = {n: bytes(self.grain_bytes) for n, kind in enumerate(self.grains) if kind == ZEROED}
        for number, data in (self.written() | blank).items():
            start = number * self.grain_bytes
            disk[start : start + len(data)] = data
        return bytes(disk[: self.capacity])

    def write(self, path: Path, *, parent: str = "") -> Path:
        """Write the image."""
        if self.whole:
            raw = path.with_suffix(".of")
            raw.write_bytes(self.over(b""))
            return convert(raw, path, *self.whole)
        capacity_sectors = self.capacity // SECTOR
        text = vmdk_descriptor(capacity_sectors, compressed=self.compressed, parent=parent)
        path.write_bytes(
            sparse_vmdk(
                capacity_sectors,
                self.written(),
                grain_sectors=self.grain_sectors,
                compressed=self.compressed,
                footer=self.compressed,
                descriptor=text,
                zeroed=[number for number, kind in enumerate(self.grains) if kind == ZEROED],
            )
        )
        return path


@contextmanager
def layered(paths: Sequence[Path]) -> Iterator[tuple[Member, LayeredReader]]:
    """The images at `paths`, the topmost first: joined, and read as one disk."""
    with ExitStack() as stack:
        members = [stack.enter_context(member_of(path)) for path in paths]
        source = JoinedSource(members[0].name, members)
        member = Member(name=members[0].name, source=source, offset=0, size=source.size)
        yield member, LayeredReader(member, members)


def flatten(paths: Sequence[Path], target: Path, driver: str, *, in_order: bool = False, hasher: Hasher | None) -> None:
    """Copy the disk that the images at `paths` are to a new qcow2 or raw file."""
    with layered(paths) as (member, reader):
        writer = Qcow2Writer(reader.block_map) if driver == "qcow2" else RawWriter(reader.block_map)
        with closing(OrderedSink(target) if in_order else FileSink.create(target)) as sink:
            copy_disk(member, reader, writer, sink, hasher=hasher, threads=2)


def delta_members(
    *stack: Layer, items: Sequence[int] = (1,), hint: str = "", file_attributes: str = ""
) -> list[tuple[str, bytes]]:
    """Descriptor and images of a machine, without a manifest: ``disk1`` in ``a1.vmdk`` lies on ``disk2``, and so on.

    Args:
        stack: the images, the topmost first.
        items: numbers of the disks that the machine has.
        hint: what the images themselves name as their parent.
        file_attributes: of every File.
    """
    images = []
    with TemporaryDirectory() as folder:
        for number, layer in enumerate(stack, 1):
            path = layer.write(Path(folder) / "image", parent=hint if number < len(stack) else "")
            images.append((f"a{number}.vmdk", path.read_bytes()))
    sizes = [(name, len(data)) for name, data in images]
    text = descriptor(sizes, capacity="CAPACITY", file_attributes=file_attributes).decode()
    for number, layer in enumerate(stack, 1):
        parent = f' ovf:parentRef="disk{number + 1}"' if number < len(stack) else ""
        text = text.replace('"CAPACITY"', f'"{layer.capacity}"{parent}', 1)
        if number not in items:
            text, count = re.subn(f"<Item>(?:(?!</Item>).)*/disk/disk{number}<.*?</Item>", "", text)
            assert count == 1
    return [("a.ovf", text.encode()), *images]
