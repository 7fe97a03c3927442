"""Options of the whole test suite, a folder for its journals, and what is told at its end."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from xdist.workermanage import WorkerController

_TOLD = pytest.StashKey[list[tuple[str, str]]]()
_OUTPUT = "told"


def tell(config: pytest.Config, title: str, line: str) -> None:
    """Print `line` under `title` when all tests have run, in this process or in the one that it works for."""
    config.stash.setdefault(_TOLD, []).append((title, line))


def pytest_configure() -> None:
    """Run programs as a person does.

    In the background of a script a shell has SIGINT ignored, and nohup SIGHUP, and programs inherit that;
    ``PYTHONUNBUFFERED``, which containers like to set, hides what an interpreter still has to write when it ends.
    """
    os.environ.pop("PYTHONUNBUFFERED", None)
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
        signal.signal(signal.SIGHUP, signal.SIG_DFL)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Hand what is to be told to the process that prints, where pytest-xdist runs several."""
    output: dict[str, object] | None = getattr(session.config, "workeroutput", None)
    if output is not None:
        output[_OUTPUT] = session.config.stash.get(_TOLD, [])


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: WorkerController) -> None:
    """Take what a worker of pytest-xdist hands over; one that died has nothing."""
    for title, line in getattr(node, "workeroutput", {}).get(_OUTPUT, []):
        tell(node.config, title, line)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Print what is to be told."""
    for title, line in config.stash.get(_TOLD, []):
        terminalreporter.section(title)
        terminalreporter.line(line)


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
