"""Every hostile package is refused with its code, or made harmless; whichever, nothing of the host is touched.

``VIRT_OVA_REGENERATE=1 pytest tests/hostile`` writes `outcomes.tsv`, the messages, anew; read the difference before you
keep it.
"""

from __future__ import annotations

import re

import pytest

from tests.hostile.arena import MAX_PEAK_BYTES, MAX_SECONDS, MAX_STDERR_BYTES, Arena, Run
from tests.hostile.outcomes import Outcomes
from tests.hostile.recipe import ACCEPTED, Recipe
from tests.hostile.recipes import RECIPES

_FIRST = list({recipe.case: recipe for recipe in reversed(RECIPES)}.values())
"""One of each case: after it, a good package is installed."""

_VARYING = re.compile(r"0x[0-9a-f]+|[0-9a-f]{40,128}|-?[0-9]+(?:\.[0-9]+)?")


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.id)
def test_what_becomes_of_a_package(
    recipe: Recipe, the_arena: Arena, outcomes: Outcomes, pytestconfig: pytest.Config
) -> None:
    the_arena.clear()
    source = recipe.make(the_arena.stage())
    before = the_arena.snapshot()
    looked = the_arena.run("inspect", source)
    done = the_arena.install(source, *recipe.words)
    the_arena.tally.count(recipe.id, looked, done, is_refused=recipe.code != ACCEPTED)
    if recipe.code == ACCEPTED:
        assert (done.status, done.errors) == (0, [])
        assert recipe.then(the_arena.machines)
    else:
        the_arena.tally.leftovers += the_arena.snapshot() != before
        assert the_arena.snapshot() == before, "something is left, or was changed"
        ((code, message, hint),) = done.errors
        assert (code, done.status, done.stdout) == (recipe.code, 1, b"")
        assert hint
        outcomes.check(recipe.id, code, shown(message, the_arena))
    for run in (looked, done):
        watch(run, the_arena)
    if recipe in _FIRST or pytestconfig.getoption("--long"):
        assert the_arena.is_ready()


def shown(message: str, arena: Arena) -> str:
    """A message without what differs from run to run: where it was, numbers, digests."""
    return _VARYING.sub("N", message.replace(str(arena.root), "ARENA"))


def watch(run: Run, arena: Arena) -> None:
    """Check what holds for every run, and keep the score."""
    tally, text = arena.tally, run.stderr.decode()
    tally.outside += len(arena.strays(run))
    tally.secrets += arena.holds_secret(run)
    tally.sockets += len(run.seen.sockets)
    tally.tracebacks += text.count("Traceback")
    assert (tally.outside, tally.secrets, tally.sockets, tally.tracebacks) == (0, 0, 0, 0), arena.strays(run)
    assert not any(code in {"E_INTERNAL", "E_MEMORY"} for code, _, _ in run.errors)
    assert len(run.stderr) <= MAX_STDERR_BYTES
    assert all(line.isprintable() for line in (text + run.stdout.decode()).split("\n"))
    assert (run.children, run.seen.programs) == (0, ())
    assert run.peak_bytes < MAX_PEAK_BYTES
    assert run.seconds < MAX_SECONDS


def test_there_are_enough_of_them_and_no_two_are_called_the_same(outcomes: Outcomes) -> None:
    ids = [recipe.id for recipe in RECIPES]
    assert len(ids) >= 300
    assert len(set(ids)) == len(ids)
    assert outcomes.names == {recipe.id for recipe in RECIPES if recipe.code != ACCEPTED}
