"""Values of properties from the command line, a file and the environment."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from tests.unit.plan.builders import envelope, system
from virt_ova.cli.options import add_install_options
from virt_ova.cli.parser import UsageError
from virt_ova.cli.properties import given_properties, variable_of
from virt_ova.errors import PlanError
from virt_ova.ovf.envelope import Envelope, Product, Property

KEYS = ("hostname", "net.ip0", "net-ip0", "text")
PACKAGE = envelope(
    system(
        products=(
            Product(
                properties=(
                    *(Property(key=key, user_configurable=True) for key in KEYS),
                    Property(key="pw", user_configurable=True, password=True),
                )
            ),
        )
    )
)


def given(*words: str, package: Envelope = PACKAGE) -> dict[str, str]:
    parser = argparse.ArgumentParser()
    add_install_options(parser)
    return given_properties(parser.parse_args(words), package)


def written(tmp_path: Path, text: str, mode: int = 0o600) -> str:
    path = tmp_path / "p"
    path.write_bytes(text.encode())
    path.chmod(mode)
    return str(path)


def test_nothing_is_given() -> None:
    assert given() == {}


def test_on_the_command_line_a_value_may_hold_anything() -> None:
    words = ("--property", "text=a=b \n", "--property", "hostname=", "--property", " vm:net.ip0 =x")
    assert given(*words) == {"text": "a=b \n", "hostname": "", "vm:net.ip0": "x"}


def test_a_key_may_hold_an_equals_sign_and_the_longest_one_is_meant(tmp_path: Path) -> None:
    keys = ("a", "a=b", "a=b=c=", "x=y")
    asking = tuple(Property(key=key, user_configurable=True) for key in keys)
    package = envelope(system(products=(Product(properties=asking),)))
    words = ("a=b=c", "a=c", "vm:a=b=c==1", "a=b=c==", "x=y=x=y", "x=z=1")
    expected = {"a=b": "c", "a": "c", "vm:a=b=c=": "1", "a=b=c=": "", "x=y": "x=y", "x": "z=1"}
    assert given(*(f"--property={word}" for word in words), package=package) == expected
    path = written(tmp_path, "\n".join(f" {word}" for word in words))
    assert given("--property-file", path, package=package) == expected


@pytest.mark.parametrize("name", ["pw", "vm:pw"])
def test_a_password_on_the_command_line_is_refused(name: str) -> None:
    with pytest.raises(PlanError) as caught:
        given("--property", f"{name}=hunter2")
    message = f"the property '{name}' is a password, and a command line can be read by everyone"
    assert (caught.value.code, caught.value.message) == ("E_PROPERTY", message)
    hint = f"Give it with --property-file, as {variable_of(name)}, or when asked on a terminal."
    assert caught.value.hint == hint


@pytest.mark.parametrize("text", ["hostname", "", "=x", " =x"])
def test_no_pair(text: str) -> None:
    with pytest.raises(UsageError, match=r"^--property: expected KEY=VALUE, found no '=' behind a key$"):
        given("--property", text)


def test_twice(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"^--property: the property 'text' is there twice$"):
        given("--property", "text=a", "--property", "text=b")
    path = written(tmp_path, "text=a\ntext=b\n")
    with pytest.raises(UsageError, match=rf"^--property-file '{path}': the property 'text' is there twice$"):
        given("--property-file", path)


def test_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = ["# comment", "", "  # another", "hostname=a b \r", r'text="one\n\"two\" \u00fc"', "net.ip0=", 'pw=p#w"d']
    assert given("--property-file", written(tmp_path, "\n".join([*lines, "net-ip0= x\u2028y"]))) == {
        "hostname": "a b ",
        "text": 'one\n"two" ü',
        "net.ip0": "",
        "pw": 'p#w"d',
        "net-ip0": " x\u2028y",
    }
    assert capsys.readouterr().err == ""


def test_passwords_in_a_file_that_others_can_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = written(tmp_path, "pw=hunter2\n", 0o640)
    assert given("--property-file", path) == {"pw": "hunter2"}
    assert capsys.readouterr().err == (
        f"note: --property-file '{path}' holds a password, and others can read it: chmod 600\n"
    )
    given("--property-file", written(tmp_path, "text=a\n", 0o644))
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('a=b\ntext="open\n', ", line 2: a value that begins with a double quote must be a JSON string"),
        ('text="a" b\n', ", line 1: a value that begins with a double quote must be a JSON string"),
        ("hostname\n", ", line 1: expected KEY=VALUE, found no '=' behind a key"),
        ("#\n =x\n", ", line 2: expected KEY=VALUE, found no '=' behind a key"),
    ],
)
def test_a_file_that_makes_no_sense(tmp_path: Path, text: str, message: str) -> None:
    path = written(tmp_path, text)
    with pytest.raises(UsageError) as caught:
        given("--property-file", path)
    assert caught.value.message == f"--property-file '{path}'{message}"


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    missing = str(tmp_path / "none")
    with pytest.raises(UsageError) as caught:
        given("--property-file", missing)
    assert caught.value.message == f"--property-file '{missing}': No such file or directory"
    (tmp_path / "p").write_bytes(b"text=\xff\n")
    with pytest.raises(UsageError) as caught:
        given("--property-file", str(tmp_path / "p"))
    assert caught.value.message == f"--property-file '{tmp_path / 'p'}': it is not UTF-8"


def test_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VIRT_OVA_PROPERTY_HOSTNAME", "a")
    monkeypatch.setenv("VIRT_OVA_PROPERTY_VM_PW", "hunter2")
    monkeypatch.setenv("VIRT_OVA_PROPERTY_UNKNOWN", "x")
    assert given() == {"hostname": "a", "vm:pw": "hunter2"}


def test_a_variable_for_two_properties(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VIRT_OVA_PROPERTY_NET_IP0", "x")
    with pytest.raises(PlanError) as caught:
        given()
    message = "the variable VIRT_OVA_PROPERTY_NET_IP0 could be for 'net.ip0' or for 'net-ip0'"
    assert (caught.value.code, caught.value.message) == ("E_PROPERTY", message)
    assert caught.value.hint == "Give them with --property or --property-file."


def test_which_comes_first(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("VIRT_OVA_PROPERTY_HOSTNAME", "environment")
    monkeypatch.setenv("VIRT_OVA_PROPERTY_TEXT", "environment")
    file = ("--property-file", written(tmp_path, "hostname=file\nnet.ip0=file\n"))
    assert given(*file, "--property", "net.ip0=word") == {"hostname": "file", "text": "environment", "net.ip0": "word"}
