"""How long the property tests run."""

import pytest


@pytest.fixture
def mutations(request: pytest.FixtureRequest) -> int:
    """How many damaged images of each format are tried."""
    return 10_000 if request.config.getoption("--long") else 300
