"""What a target tells the journal, so that a later process can take back what one that was killed has made.

A target that can do this is `Recoverable`. It tells of an object twice: before it is made, with the name that it will
have and whatever it can be known by from its first moment; and when it is made, before anything is put into it, with
what tells it from every other object that had, or will have, its name. Others are taken back by the process that made
them, or not at all.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol, TypeAlias, runtime_checkable

from virt_ova.plan.plan import Transfer
from virt_ova.target.base import Volume


@dataclass(frozen=True, kw_only=True, slots=True)
class Record:
    """One object, as the journal keeps it.

    Attributes:
        kind: the driver's word for what it is (``volume``); words of people, because it is shown. ``scratch folder`` is
            of no driver, see `virt_ova.stories.scratch`.
        name: its name; no two objects of a kind and name are told of in one install.
        key: what the driver finds exactly this object by, of its own choice; no secrets.
    """

    kind: str
    name: str
    key: Mapping[str, str]


Note: TypeAlias = Callable[[Record], None]
"""Writes a record down, durable when it returns; a later one of the same kind and name replaces the former."""


def unnoted(_record: Record) -> None:
    """The `Note` of a target that nobody keeps a journal for."""


class Removal(StrEnum):
    """What became of an object that was to be removed."""

    REMOVED = "removed"
    ABSENT = "absent"
    """There is nothing of it."""

    FOREIGN = "foreign"
    """Others have the name by now, or something in it; it was left alone."""


@runtime_checkable
class Recoverable(Protocol):
    """What a target has besides when its objects can be found again by what the journal keeps."""

    def tell(self, note: Note) -> None:
        """From now on call `note` for every object that is made; when `note` raises, the object is not made."""

    def remove(self, record: Record) -> Removal:
        """Remove the object of `record` if it is still that object.

        Raises:
            TargetError: it stays, or it cannot be told whether it is the one (``E_UNCERTAIN``); the hint is the command
                that removes it, or else how to.
        """


@runtime_checkable
class Resumable(Recoverable, Protocol):
    """What a `Recoverable` target has besides when an image that was made by an install can be used by the next one."""

    def seal(self, volume: Volume) -> Record:
        """Tell the journal what `volume`, which is complete and durable, is known by from now on; what that is."""

    def adopt(self, transfer: Transfer, record: Record, others: Sequence[Record]) -> Volume | None:
        """The image that an install which was killed made for `transfer`, for this one to use.

        Args:
            transfer: of this install's plan.
            record: what `seal` told of the image.
            others: all that the journal has.

        Returns:
            None when it is not there, or was changed since.
        """
