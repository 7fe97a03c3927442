"""What an install has made, and how to take it back.

Objects are made through the journal, one at a time and not interruptible in between, so that at any moment it knows
exactly what exists because of this run. Leaving the journal by an exception takes all of it back, last made first;
nothing is ever looked up by name, so a foreign object cannot be hit. For this it has some memory in reserve.

A journal may be kept in a file, too (`virt_ova.stories.logbook`), for the case that nobody is left to take things back;
`virt_ova.stories.recover` does it then. The file goes when nothing is left to be done.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from types import TracebackType
from typing import Protocol, Self, TypeVar

from virt_ova.errors import RollbackError, TargetError, VirtOvaError
from virt_ova.interrupt import held_back, let_pass
from virt_ova.memory import let_go, reserve
from virt_ova.progress import Monitor
from virt_ova.stories.logbook import Heading, Logbook
from virt_ova.target.newfile import NewFile
from virt_ova.target.record import Record, Recoverable
from virt_ova.text import printable, without_secrets
from virt_ova.undo import Made, undo

RECOVER_HINT = "Run 'virt-ova recover' to try again, or remove"


class Discardable(Protocol):
    """Something that was made and can be taken back."""

    def discard(self) -> None:
        """Remove exactly this. Raises `VirtOvaError` when it stays."""


T = TypeVar("T", bound=Discardable)


class Journal:
    """A context in which things are made, and taken back when it is left by an exception."""

    def __init__(self, monitor: Monitor) -> None:
        self._monitor = monitor
        self._logbook: Logbook | None = None
        self._entries: list[Made] = []
        self._reserve: bytes | None = reserve()

    def begin_file(self, target: object, begin: Callable[[], Logbook]) -> Logbook | None:
        """Keep the journal in a file as well, where `target` finds its objects again by what stands there.

        Args:
            target: nothing of this install has been made on it.
            begin: makes the file, or takes one over.
        """
        if not isinstance(target, Recoverable):
            return None
        with held_back():
            self._logbook = begin()
        target.tell(self._logbook.note)
        return self._logbook

    def note(self, record: Record) -> None:
        """Tell the file, if there is one, of something that whoever makes it takes back; see `target.record.Note`."""
        if self._logbook:
            self._logbook.note(record)

    def make(self, what: str, create: Callable[[], T]) -> T:
        """Call `create` and remember what it made; stop signals wait meanwhile.

        Args:
            what: for people: ``volume web-disk1.qcow2``.
            create: makes one thing, or raises and leaves nothing.
        """
        with held_back():
            made = create()
            self._entries.append(Made(what=what, discard=made.discard))
        return made

    @contextmanager
    def attempt(self, what: str, create: Callable[[], T]) -> Iterator[T]:
        """As `make`, for something that is taken back at the end of the block; with all the rest, if that raises."""
        made = self.make(what, create)
        yield made
        self.take_back(made)

    def take_back(self, made: Discardable) -> None:
        """Discard one thing that `make` made; when that raises, it is as before."""
        with held_back():
            made.discard()
            self._entries = [each for each in self._entries if each.discard != made.discard]

    def take_over(self, what: str, made: Discardable) -> None:
        """Remember what an install made that this one goes on with."""
        self._entries.append(Made(what=what, discard=made.discard))

    def keep(self) -> None:
        """All that was made stays; the last thing to do in the context. Stop signals come too late from now on."""
        let_pass()
        self._entries.clear()
        try:
            self._close_file()
        except VirtOvaError as exc:
            self._monitor.note(f"{exc}; 'virt-ova recover' removes it")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None or not (self._entries or self._logbook):
            return
        self._reserve = None
        if isinstance(error, MemoryError):
            let_go(error)
        let_pass()
        with held_back():
            self._take_back(error)

    def _take_back(self, error: BaseException) -> None:
        if self._logbook:
            with suppress(VirtOvaError):  # without it, what is taken back is found to be gone
                self._logbook.note_undone()
        undone = undo(self._entries, error)
        failure = undone.failure or (error if isinstance(error, RollbackError) else None)
        if failure is None:
            with suppress(VirtOvaError):  # a file that tells of nothing that is there
                self._close_file()
        elif self._logbook:
            failure.hint = failure.hint.replace("Remove", RECOVER_HINT, 1)
            self._logbook.close()
        for what in undone.removed:
            self._monitor.note(f"Removed {what}")
        if undone.failure:
            raise undone.failure from error

    def _close_file(self) -> None:
        if self._logbook:
            self._logbook.remove()


def begin_new_file(journal: Journal, file: NewFile, *, package: str, monitor: Monitor) -> Logbook | None:
    """Keep `journal` in a file as well, for the one `file` that is to be made; who has no place for that may go on.

    Args:
        journal: of nothing as yet.
        file: will tell it.
        package: what is in the file, for people.
        monitor: is told when there is no journal's file; the result is None then.
    """
    heading = Heading(target=file.uri, package=printable(without_secrets(package)))
    try:
        return journal.begin_file(file, partial(Logbook.begin, heading))
    except TargetError as exc:
        monitor.note(f"{exc}; if this run is killed, 'virt-ova recover' will not know of it")
        return None
