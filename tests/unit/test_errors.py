import ast
import inspect
from collections.abc import Iterator
from pathlib import Path

import pytest

from virt_ova import errors
from virt_ova.errors import (
    USUAL_HINTS,
    DigestError,
    PackageError,
    RollbackError,
    SourceError,
    SpaceError,
    TargetError,
    VirtOvaError,
)


def test_an_error_says_where_and_what() -> None:
    error = SourceError("found 3 bytes, expected 512", code="E_TAR_TRUNCATED", hint="Copy it again.")
    assert str(error) == "found 3 bytes, expected 512"
    assert error.at("disk1.vmdk") is error
    assert str(error.at("a.ova")) == "a.ova: disk1.vmdk: found 3 bytes, expected 512"
    assert (error.message, error.where) == ("found 3 bytes, expected 512", "a.ova: disk1.vmdk")


def test_an_error_as_json() -> None:
    error = TargetError("the pool is gone", code="E_POOL", where="default")
    expected = {"error": {"code": "E_POOL", "message": "default: the pool is gone", "hint": ""}}
    assert error.document() == expected


def test_an_error_without_a_hint_of_its_own_has_the_usual_one_of_its_code() -> None:
    assert SourceError("x", code="E_TAR_NAME").hint == USUAL_HINTS["E_TAR_NAME"]
    assert SourceError("x", code="E_TAR_NAME", hint="Do this.").hint == "Do this."
    assert TargetError("x", code="E_POOL").hint == ""


def test_usual_hints_are_sentences_about_documented_codes() -> None:
    reference = (Path(__file__).parents[2] / "docs/reference/errors.md").read_text()
    for code, hint in USUAL_HINTS.items():
        assert f"| `{code}` |" in reference
        assert hint[0].isupper()
        assert hint.endswith(".")


@pytest.mark.parametrize(
    ("child", "parent"), [(DigestError, PackageError), (SpaceError, TargetError), (RollbackError, VirtOvaError)]
)
def test_the_tree(child: type[VirtOvaError], parent: type[VirtOvaError]) -> None:
    assert child.__bases__ == (parent,)


def test_every_error_is_in_the_tree_drawn_at_the_top() -> None:
    classes = [
        name for name, value in vars(errors).items() if inspect.isclass(value) and value.__module__ == errors.__name__
    ]
    assert "RollbackError" in classes
    assert all(name in (errors.__doc__ or "") for name in classes)


def _hints() -> Iterator[str]:
    """How every hint in the source begins."""
    for source in Path(errors.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(source.read_text())):
            if isinstance(node, ast.keyword) and node.arg == "hint":
                for part in ast.walk(node.value):
                    if isinstance(part, ast.JoinedStr) and isinstance(part.values[0], ast.Constant):
                        yield str(part.values[0].value)
                    elif isinstance(part, ast.Constant) and node.value is part:
                        yield str(part.value)


def test_hints_are_sentences() -> None:
    hints = set(filter(None, _hints()))
    assert len(hints) > 50
    assert {hint for hint in hints if hint[0].islower()} == set()
