"""The arena, and what is told at the end."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.conftest import tell
from tests.hostile.arena import Arena, arena
from tests.hostile.outcomes import Outcomes


@pytest.fixture(scope="session")
def the_arena(tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config) -> Iterator[Arena]:
    with arena(tmp_path_factory.mktemp("arena")) as made:
        yield made
        if made.tally.packages:
            tell(pytestconfig, "hostile packages", made.tally.line())


@pytest.fixture(scope="session")
def outcomes() -> Iterator[Outcomes]:
    recorded = Outcomes()
    yield recorded
    recorded.close()
