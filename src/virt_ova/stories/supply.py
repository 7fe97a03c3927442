"""Fills images from a package that lies still; `virt_ova.stories.forward` does from one that passes by."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Protocol

from virt_ova.disk.base import Sink
from virt_ova.package.package import Package
from virt_ova.package.verify import UNVERIFIED
from virt_ova.plan.inputs import Backing
from virt_ova.plan.plan import DiskMode, Transfer
from virt_ova.progress import Monitor
from virt_ova.stories.delivery import CreateImage, Delivery, Done, Image, Scrutiny, untold
from virt_ova.stories.forward import PassingSupply
from virt_ova.stories.placement import Placement, open_placement
from virt_ova.stories.together import Advance, Copy, copy_together


class Supply(Protocol):
    """The content of some images, in a package."""

    def check(self) -> Mapping[str, int]:
        """Everything that can be refused before anything is made.

        Returns:
            Most bytes that each image is expected to take, by transfer id.

        Raises:
            PackageError: manifest and package do not fit, or a file is not there.
            DiskError: a disk cannot be placed.
            SourceError: the package cannot be read.
        """

    @property
    def backings(self) -> Sequence[Backing]:
        """What linked images will lie on; known once it was checked."""

    def fill(self, create: CreateImage, done: Done = untold) -> Delivery:
        """Make and fill every image; `check` comes before.

        Raises:
            DigestError: bytes differ from the manifest (``E_DIGEST``).
            VirtOvaError: as `check`, or an image cannot be made or written.
        """


def open_supply(package: Package, transfers: Sequence[Transfer], scrutiny: Scrutiny, monitor: Monitor) -> Supply:
    """The content of `transfers`.

    Args:
        package: open.
        transfers: the images.
        scrutiny: what is checked and demanded.
        monitor: is told of progress.
    """
    if package.archive.rest is None:
        return PlacedSupply(package, transfers, scrutiny, monitor)
    return PassingSupply(package, package.archive.rest, transfers, scrutiny, monitor)


class PlacedSupply:
    """A `Supply` from a package that can be read in places."""

    def __init__(self, package: Package, transfers: Sequence[Transfer], scrutiny: Scrutiny, monitor: Monitor) -> None:
        self._package, self._transfers = package, transfers
        self._policy, self._verify, self._monitor = scrutiny.policy, scrutiny.verify, monitor
        self._appraisal = UNVERIFIED
        self._placements: dict[str, Placement] = {}

    def check(self) -> Mapping[str, int]:
        """See `Supply.check`; opens every disk."""
        if self._verify:
            self._appraisal = self._package.check_manifest(self._policy)
        self._placements = {transfer.id: self._open(transfer) for transfer in self._transfers}
        return {name: placement.needed_bytes for name, placement in self._placements.items()}

    @property
    def backings(self) -> Sequence[Backing]:
        """See `Supply.backings`."""
        return [placement.backing for placement in self._placements.values() if placement.backing]

    def fill(self, create: CreateImage, done: Done = untold) -> Delivery:
        """See `Supply.fill`; makes all images, and fills several as one step."""
        filling = [self._filling(transfer, create, done) for transfer in self._transfers]
        if filling:
            self._copy(filling)
        placed = self._placements.values()
        return Delivery(
            package=self._package,
            appraisal=self._appraisal,
            images={
                name: Image(capacity_bytes=each.capacity_bytes, mode=each.mode)
                for name, each in self._placements.items()
            },
            findings=(
                *self._appraisal.findings,
                *(finding for placement in placed for finding in placement.findings),
            ),
        )

    def _filling(self, transfer: Transfer, create: CreateImage, done: Done) -> _Filling:
        placement = self._placements[transfer.id]
        actual = replace(transfer, mode=placement.mode, capacity_bytes=placement.capacity_bytes)
        sink = create(actual, placement.size_bytes, placement.backing)

        def fill(advance: Advance) -> None:
            placement.write(sink, verify=self._verify, advance=advance)
            done(transfer.id, Image(capacity_bytes=placement.capacity_bytes, mode=placement.mode))

        return _Filling(placement=placement, sink=sink, fill=fill)

    def _copy(self, filling: Sequence[_Filling]) -> None:
        """Fill every sink, side by side where bytes can be read and written in places."""
        step, total_bytes = _step_of([each.placement for each in filling])
        advance = partial(self._monitor.advance, step)
        self._monitor.begin(step, total_bytes)
        if len(filling) > 1 and all(_is_local(each) for each in filling):
            copy_together([each.fill for each in filling], advance)
        else:
            for each in filling:
                each.fill(advance)
        self._monitor.end(step)

    def _open(self, transfer: Transfer) -> Placement:
        return open_placement(
            self._package,
            self._package.member(transfer.member) if transfer.member else None,
            parents=[self._package.member(name) for name in transfer.parents],
            capacity_bytes=transfer.capacity_bytes or None,
            image_format=transfer.image_format,
            mode=transfer.mode,
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class _Filling:
    """A disk, the image that was made for it, and what fills that."""

    placement: Placement
    sink: Sink
    fill: Copy


def _is_local(filling: _Filling) -> bool:
    """Whether both ends can be used from several threads; a line to another host is not faster for being shared."""
    member = filling.placement.member
    return not filling.sink.in_order and (member is None or member.source.fileno() is not None)


def _step_of(placements: Sequence[Placement]) -> tuple[str, int | None]:
    """What it is called to fill all of these, and how many bytes of the package that takes."""
    sizes = [placement.member.size for placement in placements if placement.member]
    if len(placements) == 1:
        return placements[0].step, sum(sizes) if sizes else None
    done = "Linking" if all(placement.mode is DiskMode.LINK for placement in placements) else "Copying"
    return f"{done} {len(placements)} disks", sum(sizes)
