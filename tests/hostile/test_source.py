"""What the source never does, whatever a package holds: found in its syntax tree."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import pytest

import virt_ova

SOURCE: Final = Path(virt_ova.__file__).parent
MARKUP: Final = re.compile(r"<[/?!A-Za-z][^>]*=|</[A-Za-z]|<[A-Za-z][\w:.-]*/?>")
STARTING: Final = re.compile(r"system|popen|exec\w*|spawn\w*|posix_spawn\w*|fork\w*|startfile")
UNPACKING: Final = {"tarfile", "zipfile", "pickle", "marshal", "shelve", "dbm", "lxml"}
LOOKING_UP: Final = {"findall", "iterfind", "findtext", "xpath"}

Rule = Callable[[ast.AST], bool]


def _is_call_of(node: ast.AST, *names: str) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in names


def _imports(node: ast.AST) -> set[str]:
    """The modules that a statement imports, by their first part."""
    if isinstance(node, ast.Import):
        return {alias.name.partition(".")[0] for alias in node.names}
    return {(node.module or "").partition(".")[0]} if isinstance(node, ast.ImportFrom) else set()


def _constant_text(node: ast.AST) -> str:
    """The fixed parts of a formatted string."""
    match node:
        case ast.JoinedStr():
            parts = [part.value for part in node.values if isinstance(part, ast.Constant)]
            return "".join(map(str, parts)) if len(parts) < len(node.values) else ""
        case ast.BinOp(left=ast.Constant(value=str(text)), op=ast.Mod()):
            return text
        case ast.Call(func=ast.Attribute(value=ast.Constant(value=str(text)), attr="format")):
            return text
    return ""


def _looks_up(node: ast.AST) -> bool:
    """Whether it looks an element up by a path that is not written there."""
    if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in LOOKING_UP):
        return False
    is_pattern = isinstance(node.func.value, ast.Name) and node.func.value.id.lstrip("_").isupper()
    return not is_pattern and not (node.args and isinstance(node.args[0], ast.Constant))


RULES: Final[dict[str, tuple[Rule, str]]] = {
    "a shell": (lambda node: isinstance(node, ast.keyword) and node.arg == "shell", "run(x, shell=True)"),
    "code that comes as text": (lambda node: _is_call_of(node, "eval", "exec", "compile", "__import__"), "eval(x)"),
    "a way to start a program": (
        lambda node: isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id == "os"
        and bool(STARTING.fullmatch(node.attr)),
        "os.execvp(x, y)",
    ),
    "an unpacker": (lambda node: bool(_imports(node) & UNPACKING), "from tarfile import open"),
    "unpacking": (
        lambda node: isinstance(node, ast.Attribute) and node.attr in {"extractall", "unpack_archive"},
        "tar.extractall(x)",
    ),
    "markup made of text": (lambda node: bool(MARKUP.search(_constant_text(node))), 'f"<name>{x}</name>"'),
    "a path into XML that is made": (_looks_up, "root.findall(f'./{x}')"),
    "programs": (lambda node: "subprocess" in _imports(node), "import subprocess"),
    "qemu-img": (
        lambda node: isinstance(node, ast.Constant) and isinstance(node.value, str) and "qemu-img" in node.value,
        'run(["qemu-img"])',
    ),
}  # fmt: skip
ALLOWED: Final = {("process.py", "programs")}
"""The one module that starts programs."""


def _found(tree: ast.AST) -> Iterator[tuple[str, int]]:
    """Rules that are broken, with the line; what is only said in a docstring does not count."""
    said = {
        id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }
    for node in ast.walk(tree):
        for name, (is_broken, _) in RULES.items():
            if id(node) not in said and is_broken(node):
                yield name, getattr(node, "lineno", 0)


@pytest.mark.parametrize("name", RULES)
def test_the_rule_is_broken_by_what_it_is_about(name: str) -> None:
    assert name in [found for found, _ in _found(ast.parse(RULES[name][1]))]


@pytest.mark.parametrize("path", sorted(SOURCE.rglob("*.py")), ids=lambda path: str(path.relative_to(SOURCE)))
def test_a_module_breaks_no_rule(path: Path) -> None:
    module = str(path.relative_to(SOURCE))
    found = [(name, line) for name, line in _found(ast.parse(path.read_text())) if (module, name) not in ALLOWED]
    assert found == []
