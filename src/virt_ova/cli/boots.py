"""What was seen of machines that were started, and how to get to them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from virt_ova.cli.console import say
from virt_ova.cli.parser import UsageError
from virt_ova.paths import PATH_ERRORS, path_problem
from virt_ova.stories.result import InstalledDomain, InstallResult
from virt_ova.target.base import BootReport, DiskState, Reach, Screen
from virt_ova.text import quoted

_PNG_BEGIN: Final = b"\x89PNG"


class Screenshots:
    """A folder for one picture of each machine, ``NAME.png``; none when `folder` is None."""

    def __init__(self, folder: str | None) -> None:
        """The folder is made when there is something to be put into it. Raises `UsageError` for what is no folder."""
        self._folder = None if folder is None else Path(folder)
        self.files: dict[str, str] = {}
        self.is_complete = True
        if self._folder is not None and os.path.lexists(self._folder) and not self._folder.is_dir():
            raise UsageError(f"--screenshots {quoted(str(folder))}: this is no folder")

    def save(self, reports: tuple[BootReport, ...]) -> None:
        """Write the picture of each machine that has a screen; a failure is told, because the machines are there."""
        for report in reports:
            if report.screen is not None and self._folder is not None:
                self._write(report.machine, self._folder / f"{report.machine}.png", report.screen.png)

    def _write(self, machine: str, path: Path, png: bytes) -> None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            problem = _write_picture(path, png)
        except PATH_ERRORS as exc:
            problem = path_problem(exc)
        if problem:
            say(f"virt-ova: error: the screenshot {quoted(str(path))} cannot be written: {problem} [E_OUTPUT]")
            self.is_complete = False
        else:
            self.files[machine] = str(path)


def _write_picture(path: Path, png: bytes) -> str:
    """Write a new file, or over a picture of an earlier run; why not, when it is something else. Raises `OSError`."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o666)
    with os.fdopen(descriptor, "r+b") as file:
        if file.read(len(_PNG_BEGIN)) not in {b"", _PNG_BEGIN}:
            return "it is there, and is no picture"
        file.seek(0)
        file.truncate()
        file.write(png)
    return ""


def install_document(result: InstallResult, files: Mapping[str, str]) -> dict[str, Any]:
    """`result` as JSON has it: pictures are named by their files."""
    document = asdict(result)
    boots = [{**asdict(each), "screen": _screen_document(each, files)} for each in result.boots]
    return {**document, "boots": boots, "booted": boots[-1] if boots else None}


def _screen_document(report: BootReport, files: Mapping[str, str]) -> dict[str, object] | None:
    if (screen := report.screen) is None:
        return None
    file = files.get(report.machine, "")
    shown = {"state": screen.state, "width": screen.width, "height": screen.height, "color": screen.color}
    return {**shown, "file": file}


def boot_lines(result: InstallResult, files: Mapping[str, str]) -> Iterator[str]:
    """What was seen, for people."""
    was_tried = any(finding.code.startswith("BOOT_FALLBACK") for finding in result.findings)
    for report in result.boots:
        of_machine = f" {report.machine}" if len(result.boots) > 1 else ""
        yield f"Booted{of_machine}: {report.state} after {report.seconds:.1f} s"
        yield from (f"  {line}" for line in report.evidence.splitlines())
        if report.disk is DiskState.LOST:
            yield f"  the guest does not find its disk: {report.disk_sign}"
            if not was_tried:
                yield "  --boot-fallback tries it on other controllers"
        elif report.disk is DiskState.EMPTY:
            yield f"  there is nothing to boot on its disk: {report.disk_sign}"
        if report.screen is not None:
            yield f"  screen: {_screen_words(report.screen, files.get(report.machine, ''))}"


def _screen_words(screen: Screen, file: str) -> str:
    words = f"{screen.state} ({screen.width}x{screen.height})"
    return f"{words}, {quoted(file)}" if file else words


def reach_lines(domain: InstalledDomain) -> Iterator[str]:
    """How to get to a machine that was started."""
    ways = _ways(domain.reach) if domain.reach is not None else {}
    if ways:
        yield f"Reach {domain.name}:"
        yield from (f"  {way:8} {words}" for way, words in ways.items())


def _ways(reach: Reach) -> dict[str, str]:
    """Words for each way that there is."""
    ways = {
        "address": ", ".join(reach.addresses),
        "log in": reach.ssh,
        "console": reach.console,
        "screen": reach.screen if reach.vnc in reach.screen else f"{reach.screen} (VNC at {reach.vnc})",
        "monitor": reach.monitor,
    }
    return {way: words for way, words in ways.items() if words}
