"""Finishes or undoes installs, conversions and exports whose process was killed, by the journals that they left.

An install whose machines were all defined is whole: every image is durable before the first machine is defined. Its
journal goes, and what a start that was killed left beside them. What any other one made is removed, the last first,
each object only if it is still the one that was made.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import cache
from pathlib import Path

from virt_ova.errors import TargetError, VirtOvaError
from virt_ova.interrupt import held_back
from virt_ova.progress import Monitor, SilentMonitor
from virt_ova.stories.logbook import Heading, Logbook, logbooks
from virt_ova.stories.scratch import SCRATCH, remove_scratch
from virt_ova.target.importing import Ask
from virt_ova.target.newfile import SCHEME, NewFile
from virt_ova.target.record import Record, Recoverable, Removal
from virt_ova.target.registry import open_target
from virt_ova.text import quoted


class Outcome(StrEnum):
    """What became of an install that was interrupted."""

    UNDONE = "undone"
    FINISHED = "finished"
    INCOMPLETE = "incomplete"
    """Something could not be removed, or it could not be told whose it is; the journal stays."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Left:
    """An object that stays: ``volume web-disk1.qcow2``, why, and the command that removes it (may be empty)."""

    object: str
    message: str
    hint: str


@dataclass(frozen=True, kw_only=True, slots=True)
class RecoveredInstall:
    """What became of one install.

    Attributes:
        journal: path of its journal.
        target: connection URI, without secrets, ``file://PATH`` of what makes one file; empty when the journal does not
            tell.
        package: name of the package.
        machines: their names; none of what makes one file.
        begun: when it was begun, UTC.
        outcome: what became of it.
        removed: objects that were removed, in that order.
        foreign: objects that are somebody else's by now, and were left alone.
        left: objects that stay although they should not.
    """

    journal: str
    target: str
    package: str
    machines: tuple[str, ...]
    begun: str
    outcome: Outcome
    removed: tuple[str, ...] = ()
    foreign: tuple[str, ...] = ()
    left: tuple[Left, ...] = ()


def recover(
    target: str | None = None, *, monitor: Monitor | None = None, ask: Ask | None = None
) -> tuple[RecoveredInstall, ...]:
    """Finish or undo installs that were interrupted; those that still run, here or in another `recover`, are left.

    Args:
        target: connection URI; installs on others are left, and this one may have secrets that journals have not. All
            installs of this user when None.
        monitor: is told what is removed.
        ask: asks a person for the user name and the password of a target that needs them, as in `install`; the same is
            asked once. None when there is nobody to ask.

    Raises:
        TargetError: the journals cannot be read (``E_JOURNAL``).
    """
    listener = monitor or SilentMonitor()
    return tuple(_recovered(target, listener, cache(ask) if ask else None))


@contextmanager
def recover_hinted(target: str) -> Iterator[None]:
    """Where a name is taken on `target`, say so in the hint if an install there, or what made that file, was killed."""
    try:
        yield
    except TargetError as exc:
        if exc.code == "E_EXISTS" and _was_killed_on(target):
            what = "A run that made it" if target.startswith(SCHEME) else "An install"
            exc.hint += f" {what} was killed there: 'virt-ova recover' takes back what it made."
        raise


def _was_killed_on(target: str) -> bool:
    """Whether a journal tells of an install on `target` that is not running."""
    with suppress(VirtOvaError):
        for path in logbooks():
            if logbook := Logbook.claim(path):
                with closing(logbook):
                    heading = logbook.read().heading
                if heading and heading.target == target:
                    return True
    return False


def _recovered(target: str | None, monitor: Monitor, ask: Ask | None) -> Iterator[RecoveredInstall]:
    """Each install; at the end, once more, those that left something to others, which may have gone by then."""
    bare = target and _bare(target, ask)

    def recovered_at(path: Path, *, is_last: bool) -> RecoveredInstall | None:
        with held_back():
            try:
                if (logbook := Logbook.claim(path)) is None:
                    return None
                with closing(logbook):
                    return _recover_one(logbook, target, bare, Undoing(monitor, ask), is_last=is_last)
            except VirtOvaError as exc:
                return replace(_told(path, Heading(target="", begun="")), left=(_left("", exc),))

    waiting: list[tuple[Path, RecoveredInstall]] = []
    for path in logbooks():
        if done := recovered_at(path, is_last=False):
            if done.foreign and not done.left:
                waiting.append((path, done))
            else:
                yield done
    for path, before in waiting:
        done = recovered_at(path, is_last=True)
        yield replace(done, removed=(*before.removed, *done.removed)) if done else before


def _recover_one(
    logbook: Logbook, target: str | None, bare: str | None, undone: Undoing, *, is_last: bool
) -> RecoveredInstall | None:
    """Recover the install of `logbook` by `undone`; None when it is none of `target`, or nothing had begun.

    Where others have put something into a folder of it, the journal stays until `is_last`: they may be recovered, too.
    """
    contents = logbook.read()
    if (heading := contents.heading) is None:
        logbook.remove()
        return None
    if target and bare != heading.target:
        return None
    is_whole = contents.is_defined and not contents.is_undone
    if not is_whole:
        logbook.note_undone()
    records = contents.late.values() if is_whole else (*contents.records.values(), *contents.late.values())
    try:
        undone.undo(records, target or heading.opened_by or heading.target, heading.pool)
    except VirtOvaError as exc:
        undone.left.append(_left("", exc))
    if not undone.left and (is_last or not undone.foreign):
        logbook.remove()
    return replace(
        _told(logbook.path, heading),
        outcome=Outcome.INCOMPLETE if undone.left else Outcome.FINISHED if is_whole else Outcome.UNDONE,
        removed=tuple(undone.removed),
        foreign=tuple(undone.foreign),
        left=tuple(undone.left),
    )


class Undoing:
    """What becomes of the objects of one install."""

    def __init__(self, monitor: Monitor, ask: Ask | None = None) -> None:
        self._monitor, self._ask = monitor, ask
        self.removed: list[str] = []
        self.foreign: list[str] = []
        self.left: list[Left] = []

    def undo(self, records: Collection[Record], uri: str, pool: str | None) -> None:
        """Remove the objects of `records`, the last first. Raises `TargetError` when the target cannot be opened."""
        if not records:
            return
        if uri.startswith(SCHEME):
            self.remove_all(NewFile.of(uri), records)
            return
        with closing(open_target(uri, pool=pool, ask=self._ask)) as target:
            if not isinstance(target, Recoverable):
                raise TargetError(
                    f"the driver of {quoted(uri)} cannot find its objects again",
                    code="E_NOT_SUPPORTED",
                    hint="Install the version of the driver that made them.",
                )
            self.remove_all(target, records)

    def remove_all(self, target: Recoverable, records: Collection[Record]) -> None:
        """Remove the objects of `records`, which are in the order in which they were made."""
        for record in reversed(list(records)):
            self._remove(target, record)

    def _remove(self, target: Recoverable, record: Record) -> None:
        what = f"{record.kind} {record.name}"
        try:
            removal = remove_scratch(record) if record.kind == SCRATCH else target.remove(record)
        except VirtOvaError as exc:
            self.left.append(_left(what, exc))
            return
        except (KeyError, ValueError):  # what a driver makes of words that it never wrote
            hint = "Look whether it is there, and remove it by hand."
            self.left.append(Left(object=what, message="the journal tells of it what makes no sense", hint=hint))
            return
        if removal is Removal.REMOVED:
            self.removed.append(what)
            self._monitor.note(f"Removed {what}")
        elif removal is Removal.FOREIGN:
            self.foreign.append(what)


def _told(path: Path, heading: Heading) -> RecoveredInstall:
    return RecoveredInstall(
        journal=str(path),
        target=heading.target,
        package=heading.package,
        machines=heading.machines,
        begun=heading.begun,
        outcome=Outcome.INCOMPLETE,
    )


def _left(what: str, exc: VirtOvaError) -> Left:
    return Left(object=what, message=str(exc), hint=exc.hint)


def _bare(uri: str, ask: Ask | None) -> str:
    """`uri` as a target gives it; one of a file as it is."""
    if uri.startswith(SCHEME):
        return uri
    with closing(open_target(uri, ask=ask)) as target:
        return target.uri
