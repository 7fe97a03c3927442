"""The watch that is kept over hostile packages notices what it is there for."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.build.small import small_ova
from tests.hostile.arena import Arena


@pytest.fixture
def ova(the_arena: Arena) -> Iterator[Path]:
    the_arena.clear()
    yield small_ova(the_arena.stage().ova)
    the_arena.clear()


def test_an_honest_install_touches_nothing_else(the_arena: Arena, ova: Path) -> None:
    before = the_arena.snapshot()
    done = the_arena.install(ova)
    assert (done.status, done.errors, the_arena.strays(done), done.children) == (0, [], [], 0)
    assert (done.seen.sockets, done.seen.programs) == ((), ())
    assert any(path.endswith("vm-disk1.qcow2") for path in done.seen.written)
    the_arena.clear()
    assert the_arena.snapshot() == before


def test_a_secret_that_is_read(the_arena: Arena) -> None:
    secret = the_arena.outside / "secret"
    run = the_arena.run("inspect", secret)
    assert str(secret) in the_arena.strays(run)


def test_a_secret_that_is_read_by_a_link(the_arena: Arena) -> None:
    link = the_arena.stage().folder / "link"
    link.symlink_to(the_arena.outside / "secret")
    assert str(the_arena.outside / "secret") in the_arena.strays(the_arena.run("inspect", link))


def test_a_secret_that_is_installed(the_arena: Arena) -> None:
    stage = the_arena.stage()
    small_ova(stage.ova)
    the_arena.machines.mkdir()
    os.link(stage.secret, the_arena.machines / "stolen")
    assert the_arena.holds_secret(the_arena.run("inspect", stage.ova))
    (the_arena.machines / "stolen").unlink()
    assert not the_arena.holds_secret(the_arena.run("inspect", stage.ova))


def test_a_file_that_is_written_elsewhere(the_arena: Arena, ova: Path) -> None:
    before, path = the_arena.snapshot(), the_arena.outside / "disk.raw"
    run = the_arena.run("convert", ova, path, "--format", "raw")
    assert str(path) in the_arena.strays(run)
    assert the_arena.snapshot() != before
    path.unlink()
    assert the_arena.snapshot() == before


def test_something_that_is_left(the_arena: Arena, ova: Path) -> None:
    before = the_arena.snapshot()
    assert the_arena.install(ova).status == 0
    assert the_arena.snapshot() != before


def test_a_socket(the_arena: Arena) -> None:
    run = the_arena.run("inspect", "http://127.0.0.1:9/a.ova")
    assert "socket" in " ".join(run.seen.sockets)


def test_memory(the_arena: Arena) -> None:
    assert the_arena.run("--version").peak_bytes > 5 << 20
