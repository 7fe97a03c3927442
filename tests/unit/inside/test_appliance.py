"""What is left of libguestfs when it was killed."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from virt_ova.inside import appliance
from virt_ova.inside.appliance import guestfs_environment


def listening(folder: Path) -> socket.socket:
    folder.mkdir()
    made = socket.socket(socket.AF_UNIX)
    made.bind(str(folder / "guestfsd.sock"))
    made.listen()
    return made


def test_sockets_that_nobody_has_any_more_are_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(appliance, "_SOCKETS", tmp_path)
    (tmp_path / "libguestfsAAAAAA").mkdir()
    (tmp_path / "others").mkdir()
    with listening(tmp_path / "libguestfsBBBBBB"):
        with pytest.raises(KeyboardInterrupt), guestfs_environment(can_kvm=False):  # noqa: PT012 - it passes through
            listening(tmp_path / "libguestfsCCCCCC").close()
            raise KeyboardInterrupt
        assert {path.name for path in tmp_path.iterdir()} == {"libguestfsAAAAAA", "libguestfsBBBBBB", "others"}


def test_sockets_from_before_are_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(appliance, "_SOCKETS", tmp_path)
    listening(tmp_path / "libguestfsAAAAAA").close()
    monkeypatch.setattr("time.time", lambda: tmp_path.stat().st_ctime + 60)
    with guestfs_environment(can_kvm=False):
        pass
    assert (tmp_path / "libguestfsAAAAAA" / "guestfsd.sock").is_socket()


def test_the_users_home_is_not_for_it() -> None:
    with guestfs_environment(can_kvm=False) as environment:
        assert environment["HOME"] == environment["TMPDIR"] != os.environ.get("HOME")
    assert not Path(environment["HOME"]).exists()
