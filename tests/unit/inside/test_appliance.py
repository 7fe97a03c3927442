"""How libguestfs is begun and ended, and what it says."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from virt_ova.errors import ToolError
from virt_ova.inside.appliance import GuestImage, guestfs_environment, open_appliance, without_advice


def test_the_users_home_is_not_for_it(tmp_path: Path) -> None:
    environment = guestfs_environment(tmp_path, can_kvm=False)
    assert environment["HOME"] == environment["TMPDIR"] == str(tmp_path) != os.environ.get("HOME")


def test_why_it_does_not_start_is_told_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIBGUESTFS_HV", "/bin/false")
    (tmp_path / "disk").write_bytes(bytes(512))
    images = [GuestImage(path=str(tmp_path / "disk"), image_format="raw")]
    with pytest.raises(ToolError) as caught, open_appliance(images, tmp_path, can_kvm=False):
        pytest.fail("it was opened")
    assert caught.value.code == "E_TOOL_FAILED"
    assert str(caught.value) == "guestfish failed (1): /bin/false exited with error status 1"


ADVICE = (
    "This usually means the libguestfs appliance crashed.; Do:;   export LIBGUESTFS_DEBUG=1 LIBGUESTFS_TRACE=1; and "
    "run the command again.  For further information, read:;   http://libguestfs.org/guestfs-faq.1.html; You can also "
    "run 'libguestfs-test-tool' and post the *complete* output; into a bug report or message to the libguestfs mailing "
    "list."
)


def test_of_several_complaints_all_reasons_are_told() -> None:
    complaint = f"libguestfs: error: too small; *stdin*:1: libguestfs: error: it crashed.; {ADVICE}"
    complaint += f"; *stdin*:1: libguestfs: error: guestfs_launch failed.; {ADVICE}"
    assert without_advice(complaint) == "too small; it crashed; guestfs_launch failed"
    assert without_advice("supermin: no kernel.; I looked in /boot.") == "supermin: no kernel.; I looked in /boot."


@pytest.mark.parametrize(("error", "is_asked"), [(None, True), (KeyboardInterrupt, False)])
def test_it_is_asked_to_end_unless_there_is_no_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: type[BaseException] | None, *, is_asked: bool
) -> None:
    program = tmp_path / "guestfish"
    program.write_text("#!/bin/sh\nwhile read -r verb word; do [ $verb = run ] || echo $word; done\necho >asked\n")
    program.chmod(0o700)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    try:
        with open_appliance([], tmp_path, can_kvm=False):
            if error:
                raise error
    except KeyboardInterrupt:
        pass
    assert (tmp_path / "asked").exists() is is_asked
