from pathlib import Path

import pytest

from virt_ova.errors import TargetError
from virt_ova.kernel import file_identity
from virt_ova.target.directory.records import file_record, folder_record
from virt_ova.target.directory.removal import remove
from virt_ova.target.record import Removal


def test_a_folder_that_perhaps_was_made_is_left(tmp_path: Path) -> None:
    """Where nothing can be renamed, and the run was killed before it knew the folder."""
    folder = tmp_path / "my box"
    assert remove(folder_record(folder)) is Removal.ABSENT
    folder.mkdir()
    with pytest.raises(TargetError) as caught:
        remove(folder_record(folder))
    assert str(caught.value) == f"'{folder}' is a folder that may have been made by an install that was killed"
    assert (caught.value.code, caught.value.hint) == ("E_UNCERTAIN", f"If nobody needs it: rmdir '{folder}'")
    assert folder.is_dir()


def test_a_folder_under_its_own_name(tmp_path: Path) -> None:
    folder, own_name = tmp_path / "box", tmp_path / ".virt-ova-1"
    own_name.mkdir()
    folder.mkdir()
    record = folder_record(folder, own_name)
    assert remove(record) is Removal.REMOVED
    assert remove(record) is Removal.FOREIGN
    assert folder.is_dir()


@pytest.mark.parametrize(("content", "removal"), [("", Removal.REMOVED), ("x", Removal.FOREIGN)])
def test_a_file_whose_identity_was_not_written_down(tmp_path: Path, content: str, removal: Removal) -> None:
    (tmp_path / "box").mkdir()
    path = tmp_path / "box" / "disk"
    record = file_record(path)
    path.write_text(content)
    assert remove(record) is removal
    assert path.exists() is bool(content)


def test_an_empty_file_in_a_folder_that_is_another_one_by_now(tmp_path: Path) -> None:
    folder = tmp_path / "box"
    folder.mkdir()
    record = file_record(folder / "disk")
    folder.rename(tmp_path / "moved")
    folder.mkdir()
    (folder / "disk").touch()
    assert remove(record) is Removal.FOREIGN


@pytest.mark.parametrize("is_link", [False, True])
def test_a_link_is_not_followed(tmp_path: Path, *, is_link: bool) -> None:
    path, other = tmp_path / "disk", tmp_path / "other"
    other.write_text("somebody's")
    record = file_record(path, file_identity(other))
    if is_link:
        path.symlink_to(other)
    else:
        path.hardlink_to(other)
    assert remove(record) is (Removal.FOREIGN if is_link else Removal.REMOVED)
    assert other.read_text() == "somebody's"
