"""Fills images from a package that lies still; `virt_ova.stories.forward` does from one that passes by."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from virt_ova.package.package import Package
from virt_ova.package.verify import Trust
from virt_ova.plan.inputs import Backing
from virt_ova.plan.plan import Transfer
from virt_ova.progress import Monitor
from virt_ova.stories.delivery import CreateImage, Delivery, Image
from virt_ova.stories.forward import PassingSupply
from virt_ova.stories.placement import Placement, open_placement


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

    def fill(self, create: CreateImage) -> Delivery:
        """Make and fill every image; `check` comes before.

        Raises:
            DigestError: bytes differ from the manifest (``E_DIGEST``).
            VirtOvaError: as `check`, or an image cannot be made or written.
        """


def open_supply(package: Package, transfers: Sequence[Transfer], *, verify: bool, monitor: Monitor) -> Supply:
    """The content of `transfers`.

    Args:
        package: open.
        transfers: the images.
        verify: whether the manifest is checked.
        monitor: is told of progress.
    """
    if package.archive.rest is None:
        return PlacedSupply(package, transfers, verify=verify, monitor=monitor)
    return PassingSupply(package, package.archive.rest, transfers, verify=verify, monitor=monitor)


class PlacedSupply:
    """A `Supply` from a package that can be read in places."""

    def __init__(self, package: Package, transfers: Sequence[Transfer], *, verify: bool, monitor: Monitor) -> None:
        self._package, self._transfers = package, transfers
        self._verify, self._monitor = verify, monitor
        self._trust = Trust.UNVERIFIED
        self._placements: dict[str, Placement] = {}

    def check(self) -> Mapping[str, int]:
        """See `Supply.check`; opens every disk."""
        if self._verify:
            self._trust = self._package.check_manifest()
        self._placements = {transfer.id: self._open(transfer) for transfer in self._transfers}
        return {name: placement.needed_bytes for name, placement in self._placements.items()}

    @property
    def backings(self) -> Sequence[Backing]:
        """See `Supply.backings`."""
        return [placement.backing for placement in self._placements.values() if placement.backing]

    def fill(self, create: CreateImage) -> Delivery:
        """See `Supply.fill`."""
        for transfer in self._transfers:
            placement = self._placements[transfer.id]
            sink = create(transfer, placement.size_bytes, placement.backing)
            placement.write(sink, verify=self._verify, monitor=self._monitor)
        placed = self._placements.values()
        return Delivery(
            package=self._package,
            trust=self._trust,
            images={
                name: Image(capacity_bytes=each.capacity_bytes, mode=each.mode)
                for name, each in self._placements.items()
            },
            findings=tuple(finding for placement in placed for finding in placement.findings),
        )

    def _open(self, transfer: Transfer) -> Placement:
        return open_placement(
            self._package,
            self._package.member(transfer.member) if transfer.member else None,
            capacity_bytes=transfer.capacity_bytes or None,
            image_format=transfer.image_format,
            mode=transfer.mode,
        )
