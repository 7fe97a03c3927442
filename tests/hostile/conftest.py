"""The arena, and what is told at the end."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.hostile.arena import Arena, Tally, arena
from tests.hostile.outcomes import Outcomes

_TALLY = pytest.StashKey[Tally]()


@pytest.fixture(scope="session")
def the_arena(tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config) -> Iterator[Arena]:
    with arena(tmp_path_factory.mktemp("arena")) as made:
        pytestconfig.stash[_TALLY] = made.tally
        yield made


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Print what came of all hostile packages."""
    if (tally := config.stash.get(_TALLY, None)) and tally.packages:
        terminalreporter.section("hostile packages")
        terminalreporter.line(tally.line())


@pytest.fixture(scope="session")
def outcomes() -> Iterator[Outcomes]:
    recorded = Outcomes()
    yield recorded
    recorded.close()
