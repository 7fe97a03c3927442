"""The folder that libguestfs works in, and what is left when it was killed."""

from __future__ import annotations

import socket
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from virt_ova.errors import TargetError
from virt_ova.inside import appliance
from virt_ova.progress import SilentMonitor
from virt_ova.stories.journal import Journal
from virt_ova.stories.scratch import remove_scratch, scratch_folder
from virt_ova.target.record import Record, Removal, unnoted


@pytest.fixture(autouse=True)
def sockets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where root's libguestfs has its sockets, whose paths must be short; the scratch folder is elsewhere."""
    with TemporaryDirectory() as folder:
        monkeypatch.setattr(appliance, "_SOCKETS", Path(folder))
        monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
        yield Path(folder)


def listening(folder: Path) -> socket.socket:
    folder.mkdir()
    made = socket.socket(socket.AF_UNIX)
    made.bind(str(folder / "guestfsd.sock"))
    made.listen()
    return made


def test_it_is_told_of_before_it_is_made_and_goes_with_all_that_is_in_it(tmp_path: Path) -> None:
    told: list[tuple[Record, bool]] = []
    with scratch_folder(lambda record: told.append((record, Path(record.name).exists()))) as folder:
        ((record, was_there),) = told
        assert (record.kind, record.name, was_there) == ("scratch folder", str(folder), False)
        assert folder.parent == tmp_path
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        (folder / "a").mkdir()
        (folder / "a" / "b").touch()
    assert not folder.exists()


def test_without_a_file_of_the_journal_there_is_one_as_well() -> None:
    with scratch_folder(Journal(SilentMonitor()).note) as folder:
        assert folder.is_dir()


def test_one_that_cannot_be_made_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", "/nonexistent")
    with pytest.raises(TargetError, match=r"^'/nonexistent/virt-ova-.*' could not be made: No such file or directory$"):
        scratch_folder(unnoted).__enter__()


def test_what_a_killed_run_left_is_removed(tmp_path: Path, sockets: Path) -> None:
    left = tmp_path / "virt-ova-0123456789abcdef"
    left.mkdir()
    (left / "overlay").touch()
    listening(sockets / "libguestfsAAAAAA").close()
    record = Record(kind="scratch folder", name=str(left), key={"path": str(left), "begun": str(time.time() - 60)})
    assert remove_scratch(record) is Removal.REMOVED
    assert not left.exists()
    assert not list(sockets.iterdir())
    assert remove_scratch(record) is Removal.ABSENT
    left.symlink_to(sockets)
    assert remove_scratch(record) is Removal.FOREIGN
    assert sockets.exists()


def test_sockets_that_nobody_has_any_more_are_removed(sockets: Path) -> None:
    (sockets / "libguestfsAAAAAA").mkdir()
    (sockets / "others").mkdir()
    with listening(sockets / "libguestfsBBBBBB"):
        with pytest.raises(KeyboardInterrupt), scratch_folder(unnoted):  # noqa: PT012 - it passes through
            listening(sockets / "libguestfsCCCCCC").close()
            raise KeyboardInterrupt
        assert {path.name for path in sockets.iterdir()} == {"libguestfsAAAAAA", "libguestfsBBBBBB", "others"}


def test_sockets_from_before_are_left_alone(sockets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    listening(sockets / "libguestfsAAAAAA").close()
    monkeypatch.setattr("time.time", lambda: sockets.stat().st_ctime + 60)
    with scratch_folder(unnoted):
        pass
    assert (sockets / "libguestfsAAAAAA" / "guestfsd.sock").is_socket()


def test_a_folder_of_another_name_stays(tmp_path: Path) -> None:
    """Whatever a journal says that somebody has edited."""
    (tmp_path / "home").mkdir()
    record = Record(kind="scratch folder", name="it", key={"path": str(tmp_path / "home"), "begun": "0"})
    assert remove_scratch(record) is Removal.FOREIGN
    assert (tmp_path / "home").is_dir()
