from __future__ import annotations

import os
from pathlib import Path

import pytest

from virt_ova.errors import TargetError
from virt_ova.target.esx.credentials import Credentials, find_credentials
from virt_ova.target.esx.uri import parse_address

FILE = """
# libvirt's
[credentials-lab]
username=root
password=p%w;o = "rd#1

[credentials-rest]
username=jo
password=other

[auth-esx-h1]
credentials=lab

[auth-libvirt-h2]
credentials=lab

[auth-esx-default]
credentials=rest
"""


CORRECT = "Correct it, or name another one by LIBVIRT_AUTH_FILE or the URI's authfile."


@pytest.fixture(autouse=True)
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Credentials of the user's own, and none elsewhere."""
    path = tmp_path / "libvirt" / "auth.conf"
    path.parent.mkdir()
    path.write_text(FILE)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    for name in ("LIBVIRT_AUTH_FILE", "VIRT_OVA_VSPHERE_USER", "VIRT_OVA_VSPHERE_PASSWORD"):
        monkeypatch.delenv(name, raising=False)
    return path


class Person:
    """Answers, and remembers what was asked."""

    def __init__(self, *answers: str) -> None:
        self.answers, self.asked = list(answers), list[tuple[str, bool]]()

    def __call__(self, prompt: str, *, is_secret: bool) -> str:
        self.asked.append((prompt, is_secret))
        return self.answers.pop(0)


def found(uri: str, ask: Person | None = None) -> tuple[str, str]:
    credentials = find_credentials(parse_address(uri), ask)
    return credentials.user, credentials.password


def test_of_the_host_by_libvirts_file() -> None:
    assert found("esx://h1/") == ("root", 'p%w;o = "rd#1')
    assert found("vpx://h1/dc/c") == ("root", 'p%w;o = "rd#1')


def test_of_any_host_by_libvirts_file() -> None:
    assert found("esx://h2/") == ("jo", "other")


def test_another_user_has_another_password() -> None:
    assert found("esx://jo@h2/") == ("jo", "other")
    with pytest.raises(TargetError, match=r"^there is no password to log in at 'h1'$"):
        found("esx://jo@h1/")


def test_the_variable_that_names_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = tmp_path / "other"
    other.write_text(FILE.replace("root", "admin"))
    monkeypatch.setenv("LIBVIRT_AUTH_FILE", str(other))
    assert found("esx://h1/")[0] == "admin"
    monkeypatch.setenv("LIBVIRT_AUTH_FILE", "/nonexistent")
    assert found(f"esx://h1/?authfile={other}")[0] == "admin"


def test_the_environment_comes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VIRT_OVA_VSPHERE_PASSWORD", "env")
    assert found("esx://h1/") == ("root", "env")
    monkeypatch.setenv("VIRT_OVA_VSPHERE_USER", "me")
    assert found("esx://h1/") == ("me", "env")
    assert found("esx://root@h1/") == ("root", "env")


def test_what_is_empty_in_the_environment_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    before = found("esx://h1/")
    monkeypatch.setenv("VIRT_OVA_VSPHERE_USER", "")
    monkeypatch.setenv("VIRT_OVA_VSPHERE_PASSWORD", "")
    assert found("esx://h1/") == before


def test_a_person_is_asked_for_what_is_missing(file: Path) -> None:
    file.unlink()
    person = Person("me", "secret")
    assert found("esx://h1/", person) == ("me", "secret")
    assert person.asked == [("User name for h1: ", False), ("Password of me for h1: ", True)]


@pytest.mark.parametrize("ask", [None, Person("me", "")], ids=["nobody", "no answer"])
def test_without_any(file: Path, ask: Person | None) -> None:
    file.unlink()
    with pytest.raises(TargetError) as caught:
        found("esx://h1/", ask)
    assert caught.value.code == "E_AUTH"
    assert caught.value.message == f"there is no {'password' if ask else 'user'} to log in at 'h1'"
    assert caught.value.hint == (
        "Put it into libvirt's auth.conf ([auth-esx-h1]), set VIRT_OVA_VSPHERE_USER and VIRT_OVA_VSPHERE_PASSWORD, or "
        "run it on a terminal and answer."
    )


def test_a_file_that_makes_no_sense_is_not_shown(file: Path) -> None:
    file.write_text("password=hunter2\n")
    with pytest.raises(TargetError) as caught:
        found("esx://h1/")
    assert (caught.value.code, caught.value.message, caught.value.hint) == (
        "E_AUTH",
        f"the file of credentials '{file}' cannot be read: it is no file of sections with KEY=VALUE lines",
        CORRECT,
    )
    assert caught.value.__cause__ is None


@pytest.mark.parametrize(
    ("content", "reason"), [(b"\xff\xfe", "it is not UTF-8"), (None, "there is no such file")], ids=["bytes", "missing"]
)
def test_a_file_that_cannot_be_read(tmp_path: Path, content: bytes | None, reason: str) -> None:
    path = tmp_path / "mine.conf"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(TargetError) as caught:
        found(f"esx://root@esx1.example/?authfile={path}")
    assert caught.value.message == f"the file of credentials '{path}' cannot be read: {reason}"
    assert (caught.value.code, caught.value.hint) == ("E_AUTH", CORRECT)


def test_a_password_that_is_no_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VIRT_OVA_VSPHERE_PASSWORD", os.fsdecode(b"hun\xffter2"))
    with pytest.raises(TargetError) as caught:
        found("esx://root@esx1.example/")
    assert caught.value.message == "the password to log in at 'esx1.example' is not UTF-8"
    assert (caught.value.code, caught.value.hint) == (
        "E_AUTH",
        "Look at how it was put into the environment or the URI.",
    )


def test_a_password_is_in_no_repr() -> None:
    assert repr(Credentials(user="me", password="hunter2")) == "Credentials(user='me')"  # noqa: S106
