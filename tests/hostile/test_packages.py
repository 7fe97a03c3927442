"""Every hostile package is refused with its code, or made harmless; whichever, nothing of the host is touched."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.hostile.arena import MAX_PEAK_BYTES, MAX_SECONDS, MAX_STDERR_BYTES, Arena, Run
from tests.hostile.recipe import ACCEPTED, Recipe
from tests.hostile.recipes import RECIPES

OUTCOMES = Path(__file__).with_name("outcomes.tsv")


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.id)
def test_what_becomes_of_a_package(recipe: Recipe, the_arena: Arena, outcomes: dict[str, str]) -> None:
    the_arena.clear()
    source = recipe.make(the_arena.stage())
    before = the_arena.snapshot()
    looked = the_arena.run("inspect", source, "--json")
    done = the_arena.install(source, *recipe.words)
    the_arena.tally.packages += 1
    if recipe.code == ACCEPTED:
        assert (done.status, done.stderr.decode()) == (0, told_of_progress(done))
        assert recipe.then(the_arena.machines)
    else:
        the_arena.tally.refused += 1
        assert the_arena.snapshot() == before, "something is left, or was changed"
        ((code, message, hint),) = done.errors
        assert (code, done.status, done.stdout) == (recipe.code, 1, b"")
        assert hint
        outcomes[recipe.id] = message.replace(str(the_arena.root), "ARENA")
    for run in (looked, done):
        watch(recipe, run, the_arena)
    json.loads(looked.stdout)
    assert the_arena.is_ready()


def told_of_progress(run: Run) -> str:
    """What stands on stderr when there is no error: only what was copied."""
    return "".join(line for line in run.stderr.decode().splitlines(keepends=True) if line.startswith(("Copying", "Making")))


def watch(recipe: Recipe, run: Run, arena: Arena) -> None:
    """Check what holds for every run, and keep the score."""
    tally = arena.tally
    tally.peak_bytes = max(tally.peak_bytes, run.peak_bytes)
    if run.seconds > tally.slowest_seconds and recipe.code:
        tally.slowest_seconds, tally.slowest = run.seconds, recipe.id
    text = run.stderr.decode()
    assert "Traceback" not in text
    assert not any(code in {"E_INTERNAL", "E_MEMORY"} for code, _, _ in run.errors)
    assert len(run.stderr) <= MAX_STDERR_BYTES
    assert all(line.isprintable() for line in text.split("\n"))
    assert run.children == 0
    assert run.peak_bytes < MAX_PEAK_BYTES
    assert run.seconds < MAX_SECONDS
    assert not arena.holds_secret(run)
    assert arena.strays(run) == []
    assert run.seen.sockets == run.seen.programs == ()
