"""What is asked of a package when images are made, and what came of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from virt_ova.disk.base import Sink
from virt_ova.findings import Finding
from virt_ova.package.package import Package
from virt_ova.package.verify import Trust
from virt_ova.plan.inputs import Backing
from virt_ova.plan.plan import DiskMode, Transfer


class CreateImage(Protocol):
    """Makes an empty image."""

    def __call__(self, transfer: Transfer, size_bytes: int, backing: Backing | None) -> Sink:
        """The image of `transfer`, of at most `size_bytes`, lying on `backing` when there is one.

        Mode and capacity of `transfer` are those that it really gets, whatever the plan says.
        """


@dataclass(frozen=True, kw_only=True, slots=True)
class Image:
    """An image that was filled: size of the guest's disk, and how its content was placed."""

    capacity_bytes: int
    mode: DiskMode


@dataclass(frozen=True, kw_only=True, slots=True)
class Delivery:
    """What came of a package.

    Attributes:
        package: everything of it is known now.
        trust: how far it was verified.
        images: by transfer id.
        findings: why a disk is not placed as it was asked.
    """

    package: Package
    trust: Trust
    images: Mapping[str, Image]
    findings: tuple[Finding, ...]
