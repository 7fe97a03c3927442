"""The documentation and the code say the same.

Options, codes, public names and JSON keys are compared; links must lead somewhere; commands must parse; and the Python
in the how-to guides is run.
"""

from __future__ import annotations

import argparse
import ast
import json
import os
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path

import pytest

import virt_ova
from tests.build.disks import sparse_vmdk
from tests.build.ova import build_ova, descriptor, with_manifest
from virt_ova.cli.command import VERBS
from virt_ova.cli.parser import Parser, UsageError
from virt_ova.errors import VirtOvaError
from virt_ova.plan.plan import Outcome
from virt_ova.stories.logbook import Heading, Logbook
from virt_ova.target.record import Record

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
MAN_PAGE = DOCS / "virt-ova.1"
PAGES = sorted([*ROOT.glob("*.md"), *DOCS.rglob("*.md")])
SOURCES = sorted((ROOT / "src").rglob("*.py"))

_CODE_ROW = re.compile(r"^\| `(?P<code>[A-Z][A-Z0-9_]+)` \| (?P<cells>.+) \|$", re.MULTILINE)
_BLOCK = re.compile(r"^```(?P<language>\w+)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\((?P<file>[^)#\s]*)(?:#(?P<anchor>[^)\s]+))?\)")


def _parser(verb: str) -> Parser:
    parser = Parser(prog=f"virt-ova {verb}")
    parser.add_argument("--json", action="store_true")
    import_module(f"virt_ova.cli.{verb}").add_arguments(parser)
    return parser


def _options(verb: str) -> dict[str, argparse.Action]:
    """The verb's options but ``--help``, by every spelling."""
    actions = [action for action in _parser(verb)._actions if action.dest != "help"]
    return {spelling: action for action in actions for spelling in action.option_strings}


def _section(page: Path, title: str) -> str:
    match = re.search(rf"^## {title}$(.*?)(?=^## |\Z)", page.read_text(), re.MULTILINE | re.DOTALL)
    assert match, f"{page.name} has no section {title}"
    return match[1]


def _rows(text: str) -> dict[str, str]:
    """Rows of a table of options, by each spelling in the first cell."""
    rows = [line for line in text.splitlines() if line.startswith("| `-")]
    return {spelling: row for row in rows for spelling in re.findall(r"`(--?[a-z-]+)", row.split("|")[1])}


def _blocks(page: Path, language: str) -> list[str]:
    return [match["text"] for match in _BLOCK.finditer(page.read_text()) if match["language"] == language]


@pytest.mark.parametrize("verb", VERBS)
def test_the_reference_has_the_options_of_each_verb(verb: str) -> None:
    options, rows = _options(verb), _rows(_section(DOCS / "reference" / "command-line.md", verb))
    assert set(rows) == set(options)
    for spelling, action in options.items():
        for choice in action.choices or ():
            assert f"`{choice}`" in rows[spelling] or f" {choice}`" in rows[spelling], (verb, spelling, choice)


@pytest.mark.parametrize("verb", VERBS)
def test_the_man_page_has_each_verb_and_its_options(verb: str) -> None:
    text = MAN_PAGE.read_text()
    assert re.search(rf"^\.It Cm {verb}\b", text, re.MULTILINE)
    for spelling in _options(verb):
        assert re.search(rf"\bFl {re.escape(spelling[1:])}(?![\w-])", text), spelling


def test_the_man_page_has_no_option_of_no_verb() -> None:
    known = {spelling for verb in VERBS for spelling in _options(verb)} | {"-h", "--help", "--version"}
    assert {f"-{name}" for name in re.findall(r"\bFl (-?[a-z][a-z-]*)", MAN_PAGE.read_text())} == known


def test_the_man_page_is_well_formed() -> None:
    done = subprocess.run(
        ["mandoc", "-T", "lint", "-W", "warning", MAN_PAGE], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "")


def _constants() -> Iterator[str]:
    for source in SOURCES:
        for node in ast.walk(ast.parse(source.read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield node.value


def _finding_codes() -> set[str]:
    """What `Finding(code=...)` and ``note("...")`` are given, and all constants with one of their prefixes."""
    given = set()
    for source in SOURCES:
        for node in ast.walk(ast.parse(source.read_text())):
            if isinstance(node, ast.Call):
                given |= {word.value for word in node.keywords if word.arg in {"code", "finding"}}
                given |= set(node.args[:1]) if ast.unparse(node.func).endswith("note") else set()
    said = {node.value for node in given if isinstance(node, ast.Constant) and isinstance(node.value, str)}
    codes = {word for word in said if re.fullmatch(r"[A-Z][A-Z0-9_]+", word) and not word.startswith("E_")}
    prefixes = "|".join(sorted({code.partition("_")[0] for code in codes}))
    alike = {word for word in _constants() if re.fullmatch(rf"(?:{prefixes})_[A-Z0-9_]+", word)}
    return codes | (alike - {"HW_"}) | {f"HW_{outcome.name}" for outcome in Outcome if outcome is not Outcome.KEPT}


def _documented(page: str, cells: int) -> dict[str, list[str]]:
    """The codes of a page of tables, each with its cells, none of them empty."""
    rows = _CODE_ROW.findall((DOCS / "reference" / page).read_text())
    found = {code: [cell.strip() for cell in text.split(" | ")] for code, text in rows}
    assert len(found) == len(rows), "a code stands there twice"
    assert all(len(row) == cells and all(row) for row in found.values())
    return found


def test_every_error_code_is_documented() -> None:
    raised = {word for word in _constants() if re.fullmatch(r"E_[A-Z0-9_]+", word)}
    assert set(_documented("errors.md", cells=2)) == raised


def test_every_finding_code_is_documented() -> None:
    assert set(_documented("findings.md", cells=2)) == _finding_codes()


def test_every_public_name_is_documented() -> None:
    text = (DOCS / "reference" / "python.md").read_text()
    missing = [name for name in virt_ova.__all__ if not re.search(rf"\b{name}\b", text)]
    assert missing == []


def _keys(document: object) -> set[str]:
    if isinstance(document, dict):
        return {*document, *(key for value in document.values() for key in _keys(value))}
    return {key for value in document for key in _keys(value)} if isinstance(document, list) else set()


def _package(folder: Path, name: str = "appliance") -> Path:
    """A package with a disk of 1 MiB."""
    disk = sparse_vmdk(2048, {0: b"a" * 65536, 3: b"b" * 65536})
    files = [("vm.ovf", descriptor([("disk1.vmdk", len(disk))], capacity="1048576")), ("disk1.vmdk", disk)]
    return build_ova(folder / f"{name}.ova", with_manifest(files))


def _run(folder: Path, *words: str, path: Path | None = None) -> subprocess.CompletedProcess[str]:
    """`words` given to Python, in `folder`; `path` is where it also looks for modules."""
    state = os.environ["XDG_STATE_HOME"]
    environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "PYTHONPATH": str(path or ""), "XDG_STATE_HOME": state}
    return subprocess.run(
        [sys.executable, *words], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )


@contextmanager
def _killed_install() -> Iterator[None]:
    """A journal of an install that was killed on a target that cannot be reached."""
    book = Logbook.begin(Heading(target="qemu+unix:///system?socket=/nonexistent"))
    book.note(Record(kind="volume", name="a", key={"pool": "default"}))
    book.close()
    yield
    book.path.unlink()


@pytest.mark.parametrize(
    ("section", "words"),
    [
        ("inspect", "inspect appliance.ova"),
        ("disks", "disks appliance.ova"),
        ("descriptor", "descriptor appliance.ova"),
        ("verify", "verify appliance.ova"),
        ("plan", "plan appliance.ova -c dir:machines"),
        ("install", "install appliance.ova -c dir:machines"),
        ("convert", "convert appliance.ova disk.qcow2"),
        ("targets", "targets"),
        ("recover", "recover"),
    ],
)
def test_every_json_key_is_documented(section: str, words: str, tmp_path: Path) -> None:
    _package(tmp_path)
    with _killed_install():
        done = _run(tmp_path, "-m", "virt_ova.cli", *words.split(), "--json")
    assert done.returncode == (3 if section == "recover" else 0), done.stderr
    page = DOCS / "reference" / "json.md"
    text = _section(page, section) + _section(page, "Finding") + _section(page, "disks")
    missing = [key for key in sorted(_keys(json.loads(done.stdout))) if f"`{key}`" not in text]
    assert missing == []


def test_a_failure_has_the_documented_keys() -> None:
    text = _section(DOCS / "reference" / "json.md", "Failure")
    for key in _keys(VirtOvaError("m", code="E_X").document()):
        assert f'"{key}": ' in text


def _anchors(page: Path) -> set[str]:
    """Anchors of the headings, as code hosts make them."""
    headings = re.findall(
        r"^#+ (.+)$", re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL), re.MULTILINE
    )
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for match in _LINK.finditer(page.read_text()):
        if "://" in match["file"]:
            continue
        target = page.parent / match["file"] if match["file"] else page
        assert target.exists(), match[0]
        assert match["anchor"] is None or match["anchor"] in _anchors(target), match[0]


def _commands() -> Iterator[tuple[str, list[str]]]:
    """Every ``virt-ova`` command in a console block or in the man page: page and words behind the name."""
    texts = {page.name: "".join(_blocks(page, "console")) for page in PAGES}
    texts[MAN_PAGE.name] = "\n".join(line.removeprefix(".Dl ") for line in MAN_PAGE.read_text().splitlines())
    for name, text in texts.items():
        for line in re.findall(r"^\$ virt-ova (.+)$", text, re.MULTILINE):
            words = shlex.split(line)
            ends = [words.index(word) for word in ("|", ">") if word in words]
            yield name, words[: min(ends, default=len(words))]


@pytest.mark.parametrize(
    ("page", "words"), [pytest.param(*each, id=f"{each[0]}: {' '.join(each[1])}") for each in _commands()]
)
def test_commands_parse(page: str, words: list[str]) -> None:
    verb, *arguments = words
    assert verb in VERBS, page
    try:
        _parser(verb).parse_args(arguments)
    except UsageError as exc:
        pytest.fail(f"{page}: {exc}")


@pytest.mark.parametrize("block", _blocks(DOCS / "howto" / "use-from-python.md", "python"))
def test_the_python_of_the_guide_runs(block: str, tmp_path: Path) -> None:
    _package(tmp_path)
    done = _run(tmp_path, "-W", "error", "-c", block)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.fixture
def shelf_driver(tmp_path: Path) -> Path:
    """The guide's driver, installed as pip would."""
    page = DOCS / "howto" / "write-a-driver.md"
    (module,), (project_text,) = _blocks(page, "python"), _blocks(page, "toml")
    project = tomllib.loads(project_text)["project"]
    ((group, points),) = project["entry-points"].items()
    site = tmp_path / "site"
    metadata = site / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
    metadata.mkdir(parents=True)
    (site / "shelf.py").write_text(module)
    (metadata / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n"
    )
    lines = [f"[{group}]", *(f"{name} = {value}" for name, value in points.items())]
    (metadata / "entry_points.txt").write_text("\n".join(lines) + "\n")
    return site


def test_the_driver_of_the_guide_installs(shelf_driver: Path, tmp_path: Path) -> None:
    _package(tmp_path)
    shelf = tmp_path / "shelf"
    install = ("-W", "error", "-m", "virt_ova.cli", "install", "appliance.ova", "--connect", "shelf:shelf")
    no_shelf = _run(tmp_path, *install, path=shelf_driver)
    assert (no_shelf.returncode, "there is no folder 'shelf' [E_CONNECT]" in no_shelf.stderr) == (1, True)
    shelf.mkdir()
    done = _run(tmp_path, *install, "--json", path=shelf_driver)
    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in shelf.iterdir()) == ["vm-disk1.qcow2", "vm.json"]
    assert json.loads((shelf / "vm.json").read_text())["uuid"] == json.loads(done.stdout)["domains"][0]["uuid"]
    again = _run(tmp_path, *install, path=shelf_driver)
    assert (again.returncode, "'vm-disk1.qcow2' is on the shelf already [E_EXISTS]" in again.stderr) == (1, True)
    listed = _run(tmp_path, "-m", "virt_ova.cli", "targets", path=shelf_driver)
    assert re.search(r"^shelf: A shelf: .*\n  URI   shelf:/srv/shelf\n  here  ", listed.stdout, re.MULTILINE)


def test_the_driver_of_the_guide_takes_back_what_it_made(shelf_driver: Path, tmp_path: Path) -> None:
    _package(tmp_path)
    shelf = tmp_path / "shelf"
    shelf.mkdir()
    words = ("-m", "virt_ova.cli", "install", "appliance.ova", "--connect", "shelf:shelf", "--start")
    done = _run(tmp_path, *words, path=shelf_driver)
    assert (done.returncode, "a machine on a shelf does not run [E_NOT_SUPPORTED]" in done.stderr) == (1, True)
    assert list(shelf.iterdir()) == []
