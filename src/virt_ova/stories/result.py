"""What an install left on the target: what `virt_ova.install` returns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from virt_ova.findings import Finding
from virt_ova.package.verify import Signer, Trust
from virt_ova.plan.insight import Insight
from virt_ova.stories.delivery import Image
from virt_ova.stories.starting import Start
from virt_ova.target.base import BootReport, Domain, Reach, Reachable, Volume

COPY: Final = "copy"
"""The mode of an image that was kept from before its conversion."""


@dataclass(frozen=True, kw_only=True, slots=True)
class InstalledDomain:
    """A machine that was defined.

    Attributes:
        name: on the target.
        uuid: on the target, or empty.
        start_command: starts it from a shell; empty where there is none.
        reach: how to get to it; None when it was not started, or the target cannot tell.
    """

    name: str
    uuid: str
    start_command: str
    reach: Reach | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class InstalledVolume:
    """A disk image that was made; `mode` is a word of `virt_ova.plan.plan.DiskMode`, or `COPY`."""

    name: str
    path: str
    pool: str
    capacity_bytes: int
    mode: str


@dataclass(frozen=True, kw_only=True, slots=True)
class InstalledNetwork:
    """A network that was made."""

    name: str
    uuid: str


@dataclass(frozen=True, kw_only=True, slots=True)
class InstallResult:
    """What an install left on the target.

    Attributes:
        domains: the machines.
        networks: networks that were made for them.
        volumes: their images.
        trust: how far the package was verified.
        signer: who signed it; None when nobody did, or it was not verified.
        findings: of the package and of the plan.
        booted: what was seen of the machine that was started last; None when none was watched.
        boots: what was seen of each, in the order they were started.
        guests: what was seen inside each machine that was looked into.
        elapsed_seconds: from opening the package to the end.
    """

    domains: tuple[InstalledDomain, ...]
    networks: tuple[InstalledNetwork, ...]
    volumes: tuple[InstalledVolume, ...]
    trust: Trust
    signer: Signer | None = None
    findings: tuple[Finding, ...]
    booted: BootReport | None
    boots: tuple[BootReport, ...] = ()
    guests: tuple[Insight, ...] = ()
    elapsed_seconds: float


def installed_domain(domain: Domain, starts: Sequence[Start]) -> InstalledDomain:
    """A machine, started or not."""
    is_started = any(start.domain is domain for start in starts)
    return InstalledDomain(
        name=domain.name,
        uuid=domain.uuid,
        start_command=domain.start_command,
        reach=domain.reach() if is_started and isinstance(domain, Reachable) else None,
    )


def kept_copy(copy: Volume, original: InstalledVolume) -> InstalledVolume:
    """The copy of an image that was made."""
    return replace(original, name=copy.name, path=copy.path, mode=COPY)


def installed_volume(volume: Volume, image: Image) -> InstalledVolume:
    """An image that was made."""
    return InstalledVolume(
        name=volume.name,
        path=volume.path,
        pool=volume.pool,
        capacity_bytes=image.capacity_bytes,
        mode=image.mode,
    )
