import signal
from collections.abc import Callable
from functools import partial

import pytest

from virt_ova.errors import RollbackError, TargetError
from virt_ova.progress import Monitor, SilentMonitor
from virt_ova.stories.journal import Journal


class Notes(SilentMonitor):
    def __init__(self) -> None:
        self.said: list[str] = []

    def note(self, message: str) -> None:
        self.said.append(message)


class Thing:
    """Is on `shelf` until it is discarded, unless discarding it raises `refusal`."""

    def __init__(self, shelf: list[str], name: str, refusal: Exception | None = None) -> None:
        self._shelf, self._name, self._refusal = shelf, name, refusal
        shelf.append(name)

    def discard(self) -> None:
        if self._refusal:
            raise self._refusal
        assert self._shelf.pop() == self._name


class Deaf(SilentMonitor):
    def note(self, message: str) -> None:
        raise BrokenPipeError(message)


Step = Callable[[Journal], object]


def run(monitor: Monitor, *steps: Step) -> None:
    """A journal in which `steps` are done."""
    with Journal(monitor) as journal:
        for step in steps:
            step(journal)


def make(shelf: list[str], name: str, kind: type[Thing] = Thing, *, refusal: Exception | None = None) -> Step:
    """The step that makes a thing."""
    return lambda journal: journal.make(f"thing {name}", partial(kind, shelf, name, refusal))


def fail(error: BaseException) -> Step:
    """The step that fails."""

    def step(_journal: Journal) -> None:
        raise error

    return step


def test_what_was_made_stays_when_it_is_kept() -> None:
    shelf: list[str] = []
    notes = Notes()
    run(notes, make(shelf, "a"), Journal.keep)
    assert (shelf, notes.said) == (["a"], [])


def test_what_was_made_is_taken_back_last_first_and_told() -> None:
    shelf: list[str] = []
    notes = Notes()
    with pytest.raises(ZeroDivisionError):
        run(notes, make(shelf, "a"), make(shelf, "b"), fail(ZeroDivisionError()))
    assert (shelf, notes.said) == ([], ["Removed thing b", "Removed thing a"])


def test_what_could_not_be_made_is_not_taken_back() -> None:
    class Impossible(Thing):
        def __init__(self, *_: object) -> None:
            raise TargetError("no", code="E_IO")

    shelf: list[str] = []
    notes = Notes()
    with pytest.raises(TargetError, match="no"):
        run(notes, make(shelf, "a"), make(shelf, "b", Impossible))
    assert (shelf, notes.said) == ([], ["Removed thing a"])


@pytest.mark.parametrize(
    ("refusal", "told"),
    [
        (TargetError("it is in use", code="E_IO"), "it is in use"),
        (OSError(5, "Input/output error"), r"\[Errno 5\] Input/output error"),
        (RuntimeError(), "RuntimeError"),
    ],
)
def test_what_cannot_be_taken_back_is_told_and_the_rest_goes(refusal: Exception, told: str) -> None:
    shelf: list[str] = []
    notes = Notes()
    cause = TargetError("disk full", code="E_SPACE")
    expected = rf"^the run failed \(disk full\), and undoing it left: thing b \({told}\)$"
    with pytest.raises(RollbackError, match=expected) as caught:
        run(notes, make(shelf, "a"), make([], "b", refusal=refusal), fail(cause))
    assert (shelf, notes.said) == ([], ["Removed thing a"])
    assert (caught.value.code, caught.value.hint) == ("E_ROLLBACK", "Remove what is left by hand.")
    assert caught.value.__cause__ is cause


def test_what_a_step_left_itself_is_told_with_the_rest() -> None:
    own = RollbackError(
        "the run failed (full), and undoing it left: x (stuck)",
        code="E_ROLLBACK",
        hint="Remove what is left by hand: rm x",
    )
    shelf: list[str] = []
    with pytest.raises(RollbackError) as caught:
        run(Notes(), make(shelf, "a"), fail(own))
    assert (caught.value, shelf) == (own, [])
    stuck = make([], "b", refusal=TargetError("busy", code="E_IO", hint="rm b"))
    with pytest.raises(RollbackError) as caught:
        run(Notes(), stuck, fail(own))
    assert caught.value.message == "the run failed (full), and undoing it left: x (stuck); thing b (busy)"
    assert caught.value.hint == "Remove what is left by hand: rm x; rm b"
    assert caught.value.__cause__ is own


def test_how_to_remove_what_is_left_is_told() -> None:
    stuck = [make([], name, refusal=TargetError("stuck", code="E_IO", hint=f"rm {name}")) for name in "ab"]
    with pytest.raises(RollbackError) as caught:
        run(Notes(), *stuck, fail(ZeroDivisionError()))
    assert caught.value.hint == "Remove what is left by hand: rm b; rm a"


def test_an_error_without_text_is_told_by_its_kind() -> None:
    stuck = make([], "a", refusal=TargetError("stuck", code="E_IO"))
    with pytest.raises(RollbackError, match=r"^the run failed \(KeyboardInterrupt\), and undoing it left: thing a"):
        run(Notes(), stuck, fail(KeyboardInterrupt()))


def test_a_monitor_that_fails_stops_nothing_from_going() -> None:
    shelf: list[str] = []
    with pytest.raises(BrokenPipeError, match="Removed thing b"):
        run(Deaf(), make(shelf, "a"), make(shelf, "b"), fail(ZeroDivisionError()))
    assert shelf == []


def test_a_signal_while_a_thing_is_made_waits_and_the_thing_is_taken_back() -> None:
    class Slow(Thing):
        def __init__(self, shelf: list[str], name: str, refusal: Exception | None = None) -> None:
            signal.raise_signal(signal.SIGINT)
            super().__init__(shelf, name, refusal)

    shelf: list[str] = []
    notes = Notes()
    with pytest.raises(KeyboardInterrupt):
        run(notes, make(shelf, "a", Slow), fail(AssertionError("the signal was lost")))
    assert (shelf, notes.said) == ([], ["Removed thing a"])


def test_a_signal_while_things_are_taken_back_waits() -> None:
    class Slow(Thing):
        def discard(self) -> None:
            signal.raise_signal(signal.SIGINT)
            super().discard()

    shelf: list[str] = []
    with pytest.raises(KeyboardInterrupt):
        run(Notes(), make(shelf, "a"), make(shelf, "b", Slow), fail(ZeroDivisionError()))
    assert shelf == []
