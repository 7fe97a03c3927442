import io
import re
import sys

import pytest

from virt_ova.cli.bars import bars
from virt_ova.cli.monitors import LineMonitor, NoteMonitor, monitor


class Terminal(io.StringIO):
    """A terminal of 100 columns, which may have gone away."""

    def __init__(self, *, is_gone: bool = False) -> None:
        super().__init__()
        self.is_gone = is_gone

    def isatty(self) -> bool:
        return True

    def write(self, text: str) -> int:
        if self.is_gone:
            raise OSError(5, "Input/output error")
        return super().write(text)


def terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """A terminal that is stderr from now on; pytest puts its own back between fixtures and test."""
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")
    shown = Terminal()
    monkeypatch.setattr(sys, "stderr", shown)
    return shown


def plain(shown: Terminal) -> str:
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown.getvalue())


def test_lines_for_steps(capsys: pytest.CaptureFixture[str]) -> None:
    lines = LineMonitor()
    lines.begin("Copying a.vmdk", 3 << 20)
    lines.advance("Copying a.vmdk", 3 << 20)
    lines.end("Copying a.vmdk")
    lines.begin("Starting vm")
    lines.end("Starting vm")
    out, told = capsys.readouterr()
    assert out == ""
    begun, ended, *starting = told.splitlines()
    assert begun == "Copying a.vmdk (3.0 MiB)"
    assert re.fullmatch(r"Copying a\.vmdk: done in 0\.0 s, [0-9.]+ [KMGT]iB/s", ended)
    assert starting == ["Starting vm", "Starting vm: done in 0.0 s"]


def test_quiet_means_no_steps_but_what_was_removed_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    with monitor(quiet=True) as listener:
        listener.begin("Copying", 10)
        listener.advance("Copying", 10)
        listener.end("Copying")
        listener.note("Removed volume a")
    assert capsys.readouterr() == ("", "Removed volume a\n")


def test_notes_are_escaped_and_bounded(capsys: pytest.CaptureFixture[str]) -> None:
    NoteMonitor().note("\x1b[2J" + "x" * 2000)
    told = capsys.readouterr().err
    assert told.startswith(r"\x1b[2Jxxx")
    assert len(told) < 1010


def test_bars_show_amounts_where_bytes_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = terminal(monkeypatch)
    with monitor(quiet=False) as listener:
        listener.begin("Copying a.vmdk", 2 << 20)
        listener.advance("Copying a.vmdk", 1 << 20)
        listener.advance("Copying a.vmdk", 1 << 20)
        listener.end("Copying a.vmdk")
        listener.begin("Reading b.vmdk")
        listener.advance("Reading b.vmdk", 3 << 20)
        listener.end("Reading b.vmdk")
        listener.begin("Starting \x1b[2Jvm")
        listener.end("Starting \x1b[2Jvm")
        listener.note("Removed volume [bold]a[/bold]\x07")
    text = plain(shown)
    assert "Copying a.vmdk" in text
    assert "2.0 MiB of 2.0 MiB" in text
    (reading, *_) = [line for line in text.splitlines()[::-1] if "Reading" in line]
    assert "3.0 MiB" in reading
    assert " of " not in reading
    (starting, *_) = [line for line in text.splitlines()[::-1] if "Starting" in line]
    assert r"Starting \x1b[2Jvm" in starting
    assert " B" not in starting
    assert "MiB" not in starting
    assert "Removed volume [bold]a[/bold]\\x07\n" in text


def test_an_empty_step_shows_that_it_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = terminal(monkeypatch)
    with monitor(quiet=False) as listener:
        listener.begin("Verifying a.iso", 0)
        listener.end("Verifying a.iso")
    assert "Verifying a.iso" in plain(shown)


def test_a_terminal_that_has_gone_away_raises_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = terminal(monkeypatch)
    with bars() as listener:
        shown.is_gone = True
        listener.begin("Copying", 10)
        listener.advance("Copying", 10)
        listener.end("Copying")
        listener.note("Removed volume a")
