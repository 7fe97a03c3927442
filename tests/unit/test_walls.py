"""What no module may do, whatever a package says: found by reading our own code.

A program is started in one place; XML of a package is parsed in one place; nothing is unpacked or evaluated, and no XML
is written by hand.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

SOURCE: Final = Path(__file__).parents[2] / "src" / "virt_ova"

MODULES: Final[dict[str, set[str]]] = {
    "subprocess": {"process.py"},
    "ctypes": {"kernel.py", "source/directory.py"},
    **{other: set() for other in ("multiprocessing", "pty", "asyncio")},  # start programs, too
    **{other: set() for other in ("tarfile", "zipfile")},  # unpack
    **{other: set() for other in ("pickle", "marshal", "shelve", "code", "runpy")},  # run what was read
    **{other: set() for other in ("xml.dom", "xml.sax", "lxml", "urllib.request")},  # read XML, and fetch
}
"""Modules, and the only files that may import them."""

CALLS: Final = {
    *("eval", "exec", "compile", "__import__", "extractall", "unpack_archive", "XMLParser", "iterparse"),
    *("system", "popen", "fork", "forkpty", "posix_spawn", "posix_spawnp"),
    *(f"{kind}{ending}" for kind in ("exec", "spawn") for ending in ("l", "le", "lp", "lpe", "v", "ve", "vp", "vpe")),
}
"""Names that nobody may call, nor as an attribute of something."""

PARSES: Final = {"fromstring", "XML", "ParserCreate"}
PARSERS: Final = {
    "ovf/xml.py",  # a package's, within limits
    "target/identity.py",  # our own
    *(
        f"target/libvirt/{name}.py"
        for name in ("capabilities", "domain", "hardware", "hostexpand", "link", "network", "pool", "removal", "volume")
    ),
}
"""The only files that parse XML; libvirt's is libvirt's own."""

LOOKS_UP: Final = {"findall", "iterfind", "findtext", "xpath"}
"""Names of what looks an element up by a path, which must be written there; a pattern's own are in capitals."""

_MARKUP: Final = re.compile(r"</?[A-Za-z][\w:]*[\s/>{]")


def violations(code: str, name: str) -> Iterator[str]:
    """What the file `name` with the text `code` may not do."""
    tree = ast.parse(code)
    said = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names):
                yield from (f"imports {alias.name}" for alias in names if not _may_import(alias.name, name))
            case ast.ImportFrom(module=str(module), names=names):
                whole = {module, *(f"{module}.{alias.name}" for alias in names)}
                yield from (f"imports {each}" for each in sorted(whole) if not _may_import(each, name))
            case ast.Call():
                yield from _calls(node, name)
            case ast.JoinedStr(values=values):
                text = "".join(str(part.value) if isinstance(part, ast.Constant) else "{" for part in values)
                if _MARKUP.search(text):
                    yield f"writes markup by hand: {text}"
            case ast.Constant(value=str(text)) if "qemu-img" in text and id(node) not in said:
                yield "names qemu-img"
            case _:
                pass


def _may_import(module: str, name: str) -> bool:
    return all(name in files for each, files in MODULES.items() if module == each or module.startswith(f"{each}."))


def _calls(node: ast.Call, name: str) -> Iterator[str]:
    called = ast.unparse(node.func)
    last = called.rpartition(".")[2]
    if last in CALLS and called != "re.compile":
        yield f"calls {called}"
    if last in PARSES and name not in PARSERS:
        yield f"parses XML: {called}"
    is_written = bool(node.args) and isinstance(node.args[0], ast.Constant)
    if last in LOOKS_UP and not called.partition(".")[0].isupper() and not is_written:
        yield f"looks up by a path that is made: {called}"
    if any(word.arg == "shell" for word in node.keywords):
        yield "names a shell"


@pytest.mark.parametrize(
    ("code", "found"),
    [
        ("import subprocess", "imports subprocess"),
        ("import os, tarfile as t", "imports tarfile"),
        ("from xml import sax", "imports xml.sax"),
        ("from xml.dom.minidom import parse", "imports xml.dom.minidom"),
        ("from urllib import request", "imports urllib.request"),
        ("run(words, shell=False)", "names a shell"),
        ("os.system('ls')", "calls os.system"),
        ("eval(text)", "calls eval"),
        ("archive.extractall()", "calls archive.extractall"),
        ("os.execvp('ls', [])", "calls os.execvp"),
        ("ET.fromstring(text)", "parses XML: ET.fromstring"),
        ("root.findall(f'./{name}')", "looks up by a path that is made: root.findall"),
        ("run(['qemu-img', 'info'])", "names qemu-img"),
        ("f'<name>{name}</name>'", "writes markup by hand: <name>{</name>"),
        ("f'<{tag} x={x}>' f'<disk {x}/>'", "writes markup by hand: <{ x={><disk {/>"),
    ],
)
def test_the_reader_finds_what_it_looks_for(code: str, found: str) -> None:
    assert found in list(violations(code, "some.py"))


def test_no_module_does_what_none_may() -> None:
    files = {str(path.relative_to(SOURCE)): path.read_text() for path in SOURCE.rglob("*.py")}
    assert len(files) > 100
    assert [f"{name} {each}" for name, code in files.items() for each in violations(code, name)] == []


def test_what_is_allowed_is_needed() -> None:
    """No exception outlives its reason."""
    text = {str(path.relative_to(SOURCE)): path.read_text() for path in SOURCE.rglob("*.py")}
    for module, files in MODULES.items():
        for name in files:
            assert re.search(rf"^import {module}$", text[name], re.MULTILINE), (module, name)
    for name in PARSERS:
        assert any(f"{word}(" in text[name] for word in PARSES), name
