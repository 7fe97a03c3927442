"""A hostile package: how to make it, and what must come of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.build.ova import build_ova, with_manifest
from tests.build.small import CAPACITY, edited, is_installed, small_members
from tests.build.tar import END, member

Members = Sequence[tuple[str, bytes]]

ACCEPTED: Final = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Stage:
    """Where a package is made.

    Attributes:
        folder: empty, for the package.
        secret: a file outside of it that the package would like to read.
        outside: the folder of `secret`, in which nothing may be written.
    """

    folder: Path
    secret: Path
    outside: Path

    @property
    def ova(self) -> Path:
        """The usual path of a package."""
        return self.folder / "a.ova"

    def write(self, data: bytes) -> Path:
        """`data` as the package."""
        self.ova.write_bytes(data)
        return self.ova


Make = Callable[[Stage], Path | str]
"""Makes a package on a stage, and returns what is to be installed."""

Then = Callable[[Path], bool]
"""Whether the folder of the machines holds what it should."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Recipe:
    """One row.

    Attributes:
        case: the kind of attack, ``T01`` and so on; the letter says where: archive, XML, manifest, disk, identity,
            network, room.
        name: what is special about this one; unique in its case.
        make: makes the package.
        code: of the refusal, or `ACCEPTED`.
        words: options of the install.
        then: what an accepted package must have become; the usual machine with its usual disk by default.
    """

    case: str
    name: str
    make: Make
    code: str = ACCEPTED
    words: tuple[str, ...] = ()
    then: Then = is_installed

    @property
    def id(self) -> str:
        """For pytest, and for the table of outcomes."""
        return f"{self.case} {self.name}"


def rows(case: str, code: str, makes: Iterable[tuple[str, Make]], *, words: tuple[str, ...] = ()) -> tuple[Recipe, ...]:
    """Recipes that differ in their package only."""
    return tuple(Recipe(case=case, name=name, make=make, code=code, words=words) for name, make in makes)


def raw_bytes(data: bytes) -> Make:
    """The package is `data`."""
    return lambda stage: stage.write(data)


def blocks(*parts: bytes) -> Make:
    """A tar of `parts`, with an end, behind the members of a good package."""
    return raw_bytes(b"".join(member(name, data) for name, data in small_members()) + b"".join(parts) + END)


def packed(members: Members, *, manifest: bool = True) -> Make:
    """An OVA of `members`, by default with a manifest that fits."""
    return lambda stage: build_ova(stage.ova, with_manifest(members) if manifest else members)


def described(old: str, new: str, *, disks: int = 1) -> Make:
    """A good package with a change in its descriptor, which its manifest knows."""
    return lambda stage: build_ova(stage.ova, with_manifest(edited(small_members(disks), old, new)))


def with_descriptor(data: bytes) -> Make:
    """A good package with another descriptor, which its manifest knows."""
    return packed([("a.ovf", data), *small_members()[1:]])


def with_disk(image: bytes, *, capacity: str = str(CAPACITY), href: str = "a1.vmdk", attributes: str = "") -> Make:
    """A good package with another disk, which its manifest knows."""
    return lambda stage: pack_disk(stage, image, capacity=capacity, href=href, attributes=attributes)


def pack_disk(
    stage: Stage, image: bytes, *, capacity: str = str(CAPACITY), href: str = "a1.vmdk", attributes: str = ""
) -> Path:
    """As `with_disk`, on a stage."""
    members = edited(small_members(), f'ovf:capacity="{CAPACITY}"', f'ovf:capacity="{capacity}"')
    text = members[0][1].decode().replace("a1.vmdk", href)
    text = text.replace('<File ovf:id="file1"', f'<File ovf:id="file1" {attributes}')
    size = len(members[1][1])
    text = text.replace(f'ovf:size="{size}"', f'ovf:size="{len(image)}"')
    return build_ova(stage.ova, with_manifest([("a.ovf", text.encode()), (href, image)]))
