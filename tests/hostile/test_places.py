"""Places that somebody prepared, modes of what is made, and passwords that must not be told."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest

from tests.build.asking import asking_ova
from tests.build.small import small_ova
from tests.hostile.arena import Arena

Prepare = Callable[[Path, Path], object]
TRAPS: Final[dict[str, Prepare]] = {
    "a link": lambda place, victim: place.symlink_to(victim),
    "a link to nothing": lambda place, victim: place.symlink_to(victim.with_name("new")),
    "a link to a folder": lambda place, victim: place.symlink_to(victim.parent),
    "a hard link": lambda place, victim: os.link(victim, place),
    "a file": lambda place, _: place.write_bytes(b"somebody's"),
    "a fifo": lambda place, _: os.mkfifo(place),
    "a folder": lambda place, _: place.mkdir(),
}
PASSWORD: Final = "correct horse battery"  # noqa: S105 - a test's
SECRET_PROPERTY: Final = (
    f'<Property ovf:key="pw" ovf:type="string" ovf:password="true" ovf:value="{PASSWORD}" ovf:userConfigurable="true"/>'
)


@pytest.fixture(autouse=True)
def _no_machines(the_arena: Arena) -> None:
    the_arena.clear()


@pytest.fixture
def ova(the_arena: Arena) -> Path:
    return small_ova(the_arena.stage().ova)


@pytest.mark.parametrize("trap", TRAPS)
def test_what_waits_in_the_place_of_a_machine_stays(the_arena: Arena, ova: Path, trap: str) -> None:
    the_arena.machines.mkdir()
    TRAPS[trap](the_arena.machines / "vm", the_arena.outside / "secret")
    before = the_arena.snapshot()
    done = the_arena.install(ova)
    ((code, message, _),) = done.errors
    assert (code, message) == ("E_EXISTS", f"'{the_arena.machines}/vm' exists already")
    assert the_arena.snapshot() == before
    assert not [path for path in done.seen.written if path.startswith(str(the_arena.outside))]


@pytest.mark.parametrize("trap", TRAPS)
def test_what_waits_in_the_place_of_an_image_stays(the_arena: Arena, ova: Path, trap: str) -> None:
    the_arena.machines.mkdir()
    image = the_arena.machines / "d.qcow2"
    TRAPS[trap](image, the_arena.outside / "secret")
    before = the_arena.snapshot()
    ((code, message, _),) = the_arena.run("convert", ova, image).errors
    assert (code, message) == ("E_EXISTS", f"'{image}' exists already")
    assert the_arena.snapshot() == before


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_nobody_else_may_read_what_is_made(the_arena: Arena, ova: Path, umask: int) -> None:
    assert the_arena.install(ova, umask=umask).status == 0
    assert the_arena.run("convert", ova, the_arena.machines / "d.raw", "--format", "raw", umask=umask).status == 0
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in the_arena.machines.rglob("*")}
    assert modes == {"vm": 0o700, "vm-disk1.qcow2": 0o600, "domain.xml": 0o600, "run": 0o700, "d.raw": 0o600}


@pytest.mark.parametrize("words", [(), ("--json",)])
@pytest.mark.parametrize(
    "source", ["http://u:hunter2@127.0.0.1:9/a.ova", "ftp://u:hunter2@h/a", "http://u:hunter2@[/a", "/x/u:hunter2@h/"]
)
def test_the_password_of_a_source_is_not_told(the_arena: Arena, source: str, words: tuple[str, ...]) -> None:
    run = the_arena.run("inspect", source, *words)
    assert run.status == 1
    is_path = source.startswith("/")
    assert (b"hunter2" in run.stdout + run.stderr) is is_path


@pytest.mark.parametrize("uri", ["foo://u:hunter2@h/", "qemu+tcp://u:hunter2@127.0.0.1:9/system", "esx://u:hunter2@h/"])
def test_the_password_of_a_target_is_not_told(the_arena: Arena, ova: Path, uri: str) -> None:
    run = the_arena.run("install", ova, "-c", uri)
    assert run.status == 1
    assert b"hunter2" not in run.stdout + run.stderr


def test_the_password_in_a_package_is_not_told(the_arena: Arena) -> None:
    ova = asking_ova(the_arena.stage().ova, SECRET_PROPERTY)
    report = the_arena.machines / "report.json"
    the_arena.machines.mkdir()
    runs = [the_arena.run(verb, ova, *words) for verb in ("inspect", "disks", "verify") for words in ((), ("--json",))]
    runs += [the_arena.run("plan", ova, "-c", f"dir:{the_arena.machines}")]
    runs += [the_arena.install(ova, "--json", "--report", report)]
    assert [run.status for run in runs] == [0] * len(runs)
    told = b"".join(run.stdout + run.stderr for run in runs) + report.read_bytes()
    assert PASSWORD.encode() not in told
    holding = [
        path.name for path in the_arena.machines.rglob("*") if path.is_file() and PASSWORD.encode() in path.read_bytes()
    ]
    assert holding == ["vm-ovfenv.iso"]
    assert stat.S_IMODE((the_arena.machines / "vm/vm-ovfenv.iso").stat().st_mode) == 0o600
    assert json.loads(report.read_bytes())["domains"]
