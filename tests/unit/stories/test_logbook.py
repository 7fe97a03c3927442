import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from virt_ova.errors import TargetError
from virt_ova.plan.plan import DiskMode
from virt_ova.stories.logbook import Completed, Heading, Logbook, logbooks, state_folder
from virt_ova.target.record import Record

HEADING = Heading(target="dir:/m", package="a.ova", machines=("vm",), digest="0123", begun="2026-11-26T13:00:00Z")
WHOLE = Completed(transfer="disk1", capacity_bytes=1 << 20, mode=DiskMode.EXPAND, kind="file", name="/m/vm/a")


@pytest.fixture
def book(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Logbook:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    return Logbook.begin(HEADING)


def record(name: str, **key: str) -> Record:
    return Record(kind="file", name=name, key=key)


def test_what_is_written_is_read(book: Logbook) -> None:
    for each in (record("a"), record("b", path="/b"), record("a", path="/a")):
        book.note(each)
    book.note_completed(WHOLE)
    contents = book.read()
    assert contents.heading == HEADING
    assert list(contents.records.values()) == [record("a", path="/a"), record("b", path="/b")]
    assert contents.completed == {"disk1": WHOLE}
    assert (contents.is_defined, contents.is_undone) == (False, False)
    book.note_defined()
    assert (book.read().is_defined, book.read().is_undone) == (True, False)
    book.note_undone()
    assert (book.read().is_defined, book.read().is_undone) == (True, True)


def test_one_that_is_open_is_claimed_by_nobody_else(book: Logbook) -> None:
    assert list(logbooks()) == [book.path]
    assert Logbook.claim(book.path) is None
    book.close()
    claimed = Logbook.claim(book.path)
    assert claimed
    assert Logbook.claim(book.path) is None
    claimed.remove()
    assert list(logbooks()) == []
    assert Logbook.claim(book.path) is None


def test_one_that_is_removed_while_it_is_claimed(book: Logbook, monkeypatch: pytest.MonkeyPatch) -> None:
    """It was opened before it went, and locked after."""
    path, real_open = book.path, os.open

    def slowly(name: Path, flags: int) -> int:
        descriptor = real_open(name, flags)
        path.unlink()
        book.close()
        return descriptor

    monkeypatch.setattr("os.open", slowly)
    assert Logbook.claim(path) is None


def test_one_that_somebody_takes_for_left_behind_is_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A recovery finds the new file in the moment before it is locked."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    folder, real_open, taken = state_folder(), os.open, list[str]()

    def slowly(path: Path, *words: int) -> int:
        descriptor = real_open(path, *words)
        if not taken:
            taken.append(Path(path).name)
            Path(path).unlink()
        return descriptor

    monkeypatch.setattr("os.open", slowly)
    book = Logbook.begin(HEADING)
    assert [path.name for path in folder.iterdir()] == [book.path.name]
    assert taken[0] != book.path.name
    assert book.read().heading == HEADING


def test_lines_of_many_threads_stay_whole(book: Logbook) -> None:
    names = [f"{number}-{'x' * 5000}" for number in range(40)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda name: book.note(record(name)), names))
    assert sorted(name for _, name in book.read().records) == sorted(names)


def test_a_line_that_could_not_be_written_is_cut_off(book: Logbook, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_descriptor: int) -> None:
        raise OSError(5, "no")

    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", fail)
        with pytest.raises(TargetError, match=rf"^'{book.path}' could not be written: Input/output error$") as caught:
            book.note(record("lost"))
    assert caught.value.code == "E_IO"
    book.note(record("kept"))
    assert [name for _, name in book.read().records] == ["kept"]
    assert all(json.loads(line) for line in book.path.read_text().splitlines())


@pytest.mark.parametrize(
    ("base", "expected"),
    [("/somewhere", "/somewhere/virt-ova"), ("", "/var/lib/virt-ova"), ("relative", "/var/lib/virt-ova")],
)
@pytest.mark.skipif(os.geteuid() != 0, reason="where root's journals are")
def test_the_folder_of_root(base: str, expected: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", base)
    assert state_folder(make=False) == Path(expected)


def test_the_folder_of_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XDG_STATE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    assert state_folder(make=False) == tmp_path / ".local/state/virt-ova"
