"""A new file of ``convert``, and what is left of it when the process is killed."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.build.small import listing
from virt_ova.disk import sink
from virt_ova.errors import TargetError
from virt_ova.target.newfile import NewFile
from virt_ova.target.record import Record, Removal


class KilledError(BaseException):
    """What the process was doing ends here."""


def told(path: Path) -> list[Record]:
    """What the journal is told while the file is made."""
    records: list[Record] = []
    file = NewFile(path)
    file.tell(records.append)
    file.create().close()
    return records


@pytest.fixture
def _replaces_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system that cannot rename without replacing."""
    monkeypatch.setattr(sink, "rename_new", lambda _old, _new: False)


@pytest.mark.parametrize("name", ["d.qcow2", "a b\n#?%41", "é\udcff", "-rf"])
def test_the_uri_finds_it_again(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    assert NewFile.of(NewFile(path).uri).path == path


def test_the_journal_knows_it_before_it_has_its_name(tmp_path: Path) -> None:
    path = tmp_path / "d"
    first, second = told(path)
    assert (path.stat().st_mode & 0o7777, listing(tmp_path)) == (0o600, ["d"])
    assert (first.kind, first.name, first.key["file"]) == ("file", str(path), "")
    assert first.key["own_name"].startswith(".virt-ova-")
    assert second.key["own_name"] == first.key["own_name"]
    path.write_bytes(b"data")
    assert NewFile(path).remove(second) is Removal.REMOVED
    assert NewFile(path).remove(second) is Removal.ABSENT


def test_one_that_never_got_its_name_is_removed_and_what_has_it_stays(tmp_path: Path) -> None:
    path = tmp_path / "d"
    for record in told(path):
        (tmp_path / record.key["own_name"]).touch()
        assert NewFile(path).remove(record) is Removal.REMOVED
        assert listing(tmp_path) == ["d"]
    path.unlink()
    path.write_bytes(b"another")
    for record in told(tmp_path / "e"):
        assert NewFile(path).remove(record) is Removal.FOREIGN
    assert path.read_bytes() == b"another"


def test_one_that_is_hidden_until_it_is_whole(tmp_path: Path) -> None:
    path, records = tmp_path / "d", list[Record]()
    file = NewFile(path)
    file.tell(records.append)
    made = file.create_hidden()
    assert listing(tmp_path) == [records[0].key["own_name"]]
    made.publish(path)
    assert listing(tmp_path) == ["d"]
    assert file.remove(records[0]) is Removal.FOREIGN
    assert file.remove(records[1]) is Removal.REMOVED


@pytest.mark.usefixtures("_replaces_all")
def test_where_nothing_is_renamed_it_is_made_in_place(tmp_path: Path) -> None:
    path = tmp_path / "d"
    *_, before, after = told(path)
    assert (before.key, after.key["own_name"], listing(tmp_path)) == ({"own_name": "", "file": ""}, "", ["d"])
    with pytest.raises(TargetError) as caught:
        NewFile(path).remove(before)
    message = f"'{path}' is an empty file that may have been made by a run that was killed"
    assert (caught.value.code, caught.value.message) == ("E_UNCERTAIN", message)
    assert caught.value.hint == f"If nobody needs it: rm {path}"
    path.write_bytes(b"data")
    assert NewFile(path).remove(before) is Removal.FOREIGN
    assert NewFile(path).remove(after) is Removal.REMOVED
    assert NewFile(path).remove(before) is Removal.ABSENT


@pytest.mark.parametrize("number", [1, 2, 3, 4])
@pytest.mark.usefixtures("_replaces_all")
def test_what_cannot_be_told_is_not_made(tmp_path: Path, number: int) -> None:
    def note(_record: Record) -> None:
        nonlocal number
        number -= 1
        if number == 0:
            raise KilledError

    file = NewFile(tmp_path / "d")
    file.tell(note)
    with pytest.raises(KilledError):
        file.create()
    assert listing(tmp_path) == []


def test_nothing_is_replaced(tmp_path: Path) -> None:
    """Neither what was there before, nor what somebody makes in the last moment."""
    path = tmp_path / "d"
    file = NewFile(path)

    def note(record: Record) -> None:
        if record.key["file"]:
            path.write_bytes(b"other")

    file.tell(note)
    for _ in range(2):
        with pytest.raises(TargetError) as caught:
            file.create()
        assert (caught.value.code, caught.value.message) == ("E_EXISTS", f"'{path}' exists already")
        assert (listing(tmp_path), path.read_bytes()) == (["d"], b"other")


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("x/d", "could not be made: No such file or directory"),
        ("d" * 256, "could not be made: File name too long"),
        ("d\0e", "could not be made: it has a NUL character"),
        ("\ud800", "could not be made: it has a character that no file name here can have"),
        (".", "exists already"),
    ],
)
def test_names_that_cannot_be(tmp_path: Path, name: str, problem: str) -> None:
    with pytest.raises(TargetError) as caught:
        NewFile(tmp_path / name).create()
    assert caught.value.message.endswith(problem)
    assert listing(tmp_path) == []
