"""Options of the whole test suite."""

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    """``--long`` for the nightly run: many more random cases."""
    parser.addoption("--long", action="store_true", help="try many more random cases")
