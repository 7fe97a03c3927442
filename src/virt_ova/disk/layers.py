"""A disk of differences and the disks below it, read as the one disk that the guest sees (DSP0243 9.1, ``parentRef``).

The images stand one behind the other in one member, the topmost first, and so are read, hashed and compared as one.
Each stored block of a layer is cut into blocks of the smallest size that any layer has; of these the new disk gets
those that no layer above holds, stored or as zeros. A layer that is shorter than the disk ends in zeros, and hides what
is behind its end in the layers below.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, groupby, zip_longest
from typing import Final

from virt_ova.disk.base import BlockMap, Buffer, DeltaReader, DiskFormat, DiskReader
from virt_ova.disk.opener import open_delta, open_disk
from virt_ova.errors import DiskError
from virt_ova.source.base import Member

MAX_LAYERS: Final = 64
"""VMware's chains have 33 at most."""

MAX_BLOCKS: Final = 1 << 25
"""Two terabytes of data in blocks of 64 KiB; their places take 400 MiB of memory."""

_PAGE_NUMBERS: Final = 4096


class LayeredReader:
    """A `virt_ova.disk.base.DiskReader` for a disk of differences with all that it lies on."""

    def __init__(self, member: Member, images: Sequence[Member]) -> None:
        """Open every layer.

        Args:
            member: holds the bytes of `images`, one behind the other.
            images: the images by name and size, the topmost first; the last one is a whole disk, all others are
                differences.

        Raises:
            DiskError: a layer is damaged, unsafe, or of a kind that is not read; there are more than `MAX_LAYERS`
                layers, or `MAX_BLOCKS` blocks (``E_DISK_LIMIT``).
            SourceError: the member cannot be read.
        """
        if len(images) > MAX_LAYERS:
            raise _too_much(member, f"{len(images)} disks that lie on each other", MAX_LAYERS)
        starts = accumulate((image.size for image in images), initial=0)
        parts = [
            replace(image, source=member.source, offset=member.offset + start)
            for image, start in zip(images, starts, strict=False)
        ]
        deltas = [open_delta(part) for part in parts[:-1]]
        readers: list[DiskReader] = [*deltas, open_disk(parts[-1])]
        self._layers = _stack(member, [*zip(parts, readers, strict=True)])
        self._starts = [layer.start for layer in self._layers]
        self._block_map = _Showing(member, self._layers, deltas).block_map()

    @property
    def format(self) -> DiskFormat:
        """That of the topmost image."""
        return self._layers[0].reader.format

    @property
    def block_map(self) -> BlockMap:
        """The blocks that show, by layer, in the order of their place; those cut from one stored block share one."""
        return self._block_map

    def decode(self, stored: memoryview, offset: int, ordinals: range) -> list[Buffer]:
        """See `virt_ova.disk.base.DiskReader.decode`."""
        blocks: list[Buffer] = []
        for place, group in groupby(ordinals, key=self._block_map.offsets.__getitem__):
            layer = self._layers[bisect_right(self._starts, place) - 1]
            blocks += layer.cut(stored, offset, place, self._block_map, group)
        return blocks

    def zero_ordinals(self) -> Iterator[int]:
        """What each layer can tell."""
        offsets = self._block_map.offsets
        for layer in self._layers:
            for ordinal in layer.reader.zero_ordinals():
                place = layer.start + layer.block_map.offsets[ordinal]
                yield from range(bisect_left(offsets, place), bisect_right(offsets, place))


@dataclass(frozen=True, kw_only=True, slots=True)
class _Layer:
    """One image: its bytes, from `start` to `end` of the member, and how many of the guest's it can give."""

    reader: DiskReader
    block_map: BlockMap
    start: int
    end: int
    limit_bytes: int

    def cut(
        self, stored: memoryview, offset: int, place: int, shown: BlockMap, ordinals: Iterable[int]
    ) -> Iterator[Buffer]:
        """The blocks `ordinals` of the map `shown`, cut from the stored block at `place`.

        `stored` begins at byte `offset` of the member, which may be before this layer.
        """
        begin = max(0, self.start - offset)
        own = stored[begin : max(0, self.end - offset)]
        ordinal = bisect_left(self.block_map.offsets, place - self.start)
        (block,) = self.reader.decode(own, offset + begin - self.start, range(ordinal, ordinal + 1))
        first_byte = self.block_map.numbers[ordinal] * self.block_map.block_bytes
        view = memoryview(block)[: self.limit_bytes - first_byte]
        for each in ordinals:
            within, size = shown.numbers[each] * shown.block_bytes - first_byte, shown.block_size(each)
            piece = view[within : within + size]
            yield piece if len(piece) == size else bytes(piece).ljust(size, b"\0")


def _stack(member: Member, images: Sequence[tuple[Member, DiskReader]]) -> list[_Layer]:
    """The layers, each limited by those above."""
    limits = accumulate((reader.block_map.capacity_bytes for _, reader in images), min)
    return [
        _Layer(
            reader=reader,
            block_map=reader.block_map,
            start=part.offset - member.offset,
            end=part.offset - member.offset + part.size,
            limit_bytes=limit_bytes,
        )
        for (part, reader), limit_bytes in zip(images, limits, strict=True)
    ]


class _Showing:
    """Finds the blocks that no layer above hides."""

    def __init__(self, member: Member, layers: Sequence[_Layer], deltas: Sequence[DeltaReader]) -> None:
        self._member, self._layers, self._deltas = member, layers, deltas
        self._capacity = layers[0].block_map.capacity_bytes
        self._block_bytes = min(layer.block_map.block_bytes for layer in layers)
        self._numbers = array("I" if self._capacity // self._block_bytes < 1 << 32 else "Q")
        self._offsets = array("Q")
        self._hidden: dict[int, _NumberSet] = {}
        self._examined = 0

    def block_map(self) -> BlockMap:
        """All of them."""
        for layer, delta in zip_longest(self._layers, self._deltas):
            pieces = layer.block_map.block_bytes // self._block_bytes
            self._add(layer, pieces)
            if delta is not None:
                hidden = self._hidden.setdefault(pieces, _NumberSet())
                hidden.update(layer.block_map.numbers)
                hidden.update(delta.zeroed_numbers)
        return BlockMap(
            capacity_bytes=self._capacity,
            block_bytes=self._block_bytes,
            numbers=self._numbers,
            offsets=self._offsets,
            max_stored_bytes=max(layer.block_map.max_stored_bytes for layer in self._layers),
        )

    def _add(self, layer: _Layer, pieces: int) -> None:
        """Add what shows of a layer, each of whose blocks is cut into so many `pieces`."""
        hidden = tuple(self._hidden.items())
        end = -(-layer.limit_bytes // self._block_bytes)
        for number, offset in zip(layer.block_map.numbers, layer.block_map.offsets, strict=True):
            for piece in range(number * pieces, min((number + 1) * pieces, end)):
                if not any(piece // size in numbers for size, numbers in hidden):
                    self._numbers.append(piece)
                    self._offsets.append(layer.start + offset)
            self._examined += pieces
            if self._examined > MAX_BLOCKS:
                what = f"disks that lie on each other with more blocks of {self._block_bytes} bytes"
                raise _too_much(self._member, what, MAX_BLOCKS)


class _NumberSet:
    """Numbers, a bit for each, in pages that are there when they hold one."""

    def __init__(self) -> None:
        self._pages: dict[int, bytearray] = {}

    def update(self, numbers: Iterable[int]) -> None:
        """Add all of `numbers`."""
        for number in numbers:
            page, bit = divmod(number, _PAGE_NUMBERS)
            bits = self._pages.get(page)
            if bits is None:
                bits = self._pages[page] = bytearray(_PAGE_NUMBERS // 8)
            bits[bit >> 3] |= 1 << (bit & 7)

    def __contains__(self, number: int) -> bool:
        page, bit = divmod(number, _PAGE_NUMBERS)
        bits = self._pages.get(page)
        return bits is not None and bool(bits[bit >> 3] >> (bit & 7) & 1)


def _too_much(member: Member, found: str, most: int) -> DiskError:
    return DiskError(
        f"found {found}, expected at most {most}",
        code="E_DISK_LIMIT",
        where=member.name,
        hint="Merge the disks where they were made, and export the machine again.",
    )
