"""The public surface: what stands in `virt_ova.__all__`, and what loading it costs."""

import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import virt_ova
from tests.build.ova import build_ova, with_manifest
from tests.build.signing import identity, signed_members
from tests.build.small import small_members


def _in_a_new_python(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("name", virt_ova.__all__)
def test_every_public_name_is_there_and_documented(name: str) -> None:
    value = getattr(virt_ova, name)
    assert inspect.getdoc(value), name
    for attribute, member in vars(value).items() if inspect.isclass(value) else ():
        if inspect.isfunction(member) and not attribute.startswith("_"):
            assert inspect.getdoc(member), f"{name}.{attribute}"


def test_the_public_names_are_those_that_the_door_knows() -> None:
    lazy = {name for names in virt_ova._HOMES.values() for name in names.split()}
    assert {*lazy, "plan"} == set(virt_ova.__all__)
    assert list(virt_ova.__all__) == sorted(virt_ova.__all__, key=lambda name: (name.islower(), name))


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match=r"^module 'virt_ova' has no attribute 'instal'$"):
        virt_ova.instal  # noqa: B018 - asking is the test


@pytest.mark.parametrize("first", ["", "import virt_ova.plan.machine", "from virt_ova.stories import install"])
def test_plan_and_install_can_be_called_whatever_was_imported(first: str) -> None:
    code = (
        f"{first}\nimport virt_ova\nprint(callable(virt_ova.plan), callable(virt_ova.install), virt_ova.plan.__name__)"
    )
    assert _in_a_new_python(code) == "True True plan\n"


def test_a_star_import_has_it_all() -> None:
    assert (
        _in_a_new_python("from virt_ova import *\nprint(install.__name__, InstallOptions().verify)") == "install True\n"
    )


@pytest.mark.parametrize("words", [["--help"], ["--version"], ["no-such-verb"]])
def test_a_short_answer_loads_nothing_heavy(words: list[str]) -> None:
    code = (
        "import sys\nfrom virt_ova.cli import main\n"
        f"try:\n    main({words!r})\nexcept SystemExit:\n    pass\n"
        "heavy = {'cryptography', 'rich', 'libvirt', 'msgspec', 'deflate', 'xml.parsers.expat', 'asyncio'}\n"
        "sys.stderr.write(f'\\nloaded {sorted(heavy & set(sys.modules))}')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.endswith("\nloaded []")


def test_only_a_signed_package_loads_cryptography(tmp_path: Path) -> None:
    members = small_members()
    for name, made in (("no", with_manifest(members)), ("yes", signed_members(members, identity("Signer")))):
        path = build_ova(tmp_path / f"{name}.ova", made)
        code = (
            f"import sys, virt_ova\nwith virt_ova.open_package({str(path)!r}) as package:\n    package.verify()\n"
            "print('cryptography' in sys.modules)"
        )
        assert _in_a_new_python(code) == f"{name == 'yes'}\n"
