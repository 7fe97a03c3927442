"""Options of the whole test suite, and a folder for its journals."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    """``--long`` for the nightly run: many more random cases."""
    parser.addoption("--long", action="store_true", help="try many more random cases")


@pytest.fixture(autouse=True, scope="session")
def state_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Journals of the tests go here, and not where the user's are; none is there when they end."""
    home = tmp_path_factory.mktemp("state")
    (home / "virt-ova").mkdir(0o700)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(os.environ, "XDG_STATE_HOME", str(home))
        yield home
