"""What is asked of a package when images are made, and what came of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from virt_ova.disk.base import Sink
from virt_ova.errors import PlanError
from virt_ova.findings import Finding
from virt_ova.package.package import Package
from virt_ova.package.verify import Appraisal
from virt_ova.plan.inputs import Backing
from virt_ova.plan.plan import DiskMode, Transfer
from virt_ova.policy import TrustPolicy


@dataclass(frozen=True, kw_only=True, slots=True)
class Scrutiny:
    """How closely a package is looked at: whether its manifest is checked, and what `policy` demands of it.

    Raises:
        PlanError: the policy demands what only a check can tell (``E_UNTRUSTED``).
    """

    verify: bool
    policy: TrustPolicy

    def __post_init__(self) -> None:
        if self.policy.require_signature and not self.verify:
            raise PlanError(
                f"{self.policy.demanded_by} demands a package that is signed-trusted, which it cannot be unverified",
                code="E_UNTRUSTED",
                hint="Leave --no-verify out.",
            )


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


Done: TypeAlias = Callable[[str, Image], None]
"""Is told of each image that is whole, durable, and verified if that was asked for, by transfer id; from any thread."""


def untold(_transfer: str, _image: Image) -> None:
    """The `Done` of who does not need to know."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Delivery:
    """What came of a package.

    Attributes:
        package: everything of it is known now.
        appraisal: how far it was verified, and who signed it.
        images: by transfer id.
        findings: why whoever signed it is trusted or not, and why a disk is not placed as it was asked.
    """

    package: Package
    appraisal: Appraisal
    images: Mapping[str, Image]
    findings: tuple[Finding, ...]
