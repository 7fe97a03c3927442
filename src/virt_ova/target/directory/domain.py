"""A machine in a folder: its files, and QEMU when it runs.

Started by us, QEMU is a daemon that holds a lock on ``qemu.pid`` as long as it lives.
"""

from __future__ import annotations

import os
import shlex
import signal
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Final

from virt_ova.disk.sink import REMOVED, examined, file_error
from virt_ova.errors import TargetError, ToolError
from virt_ova.interrupt import held_back
from virt_ova.process import run
from virt_ova.target.base import BootReport, Reach
from virt_ova.target.boot.observer import watch_boot
from virt_ova.target.directory.folder import MachineFolder
from virt_ova.target.directory.lock import lock_holder
from virt_ova.target.directory.qmp import CATCH_FILE
from virt_ova.target.directory.records import tpm_record
from virt_ova.target.directory.senses import SERIAL_LOG, senses_of
from virt_ova.target.directory.sockets import CONSOLE_SOCKET, MONITOR_SOCKET, QMP_SOCKET, SOCKETS, VNC_SOCKET, listening
from virt_ova.target.directory.tpm import TPM_PID_FILE, end_tpm, start_tpm
from virt_ova.target.emulator import PACKAGE
from virt_ova.text import quoted
from virt_ova.undo import Made, discard_all

SCRIPT_FILE: Final = "run"
PID_FILE: Final = "qemu.pid"
CONSOLE: Final = "console"
RUNNING_FILES: Final = (PID_FILE, SERIAL_LOG, CATCH_FILE, TPM_PID_FILE, *SOCKETS)
"""What is beside the machine's files while it runs."""

_POLL_SECONDS: Final = 0.05
_STOP_SECONDS: Final = 10


class FolderDomain:
    """A machine in a folder."""

    def __init__(
        self, folder: MachineFolder, *, uuid: str, made: Sequence[Made], command: Sequence[str], has_tpm: bool = False
    ) -> None:
        """Own what was `made` in `folder` for the machine; `command` runs it as a daemon."""
        self._folder, self._uuid, self._made, self._command = folder, uuid, made, command
        self._has_tpm = has_tpm

    @property
    def name(self) -> str:
        """The machine's name, which is the folder's."""
        return self._folder.path.name

    @property
    def uuid(self) -> str:
        """The UUID in ``domain.xml``."""
        return self._uuid

    @property
    def start_command(self) -> str:
        """The script."""
        return shlex.quote(str(self._folder.path / SCRIPT_FILE))

    def start(self) -> None:
        """Run QEMU in the background, its serial console in ``serial.log``.

        Raises:
            TargetError: it does not start (``E_START``).
        """
        try:
            with held_back():  # a QEMU that has not locked its file yet could not be found to be stopped
                self._run()
        except ToolError as exc:
            raise TargetError(
                f"the machine {quoted(self.name)} does not start: {exc.message}", code="E_START", hint=exc.hint
            ) from exc

    def watch(self, seconds: float) -> BootReport:
        """Start it and follow it by all that QEMU shows; see `virt_ova.target.base.Domain.watch`."""
        return self._watch(seconds, only_disk=False)

    def watch_disk(self, seconds: float) -> BootReport:
        """See `virt_ova.target.base.Trial.watch_disk`."""
        return self._watch(seconds, only_disk=True)

    def reach(self) -> Reach:
        """See `virt_ova.target.base.Reachable.reach`."""
        folder = self._folder.path
        has_screen = (folder / VNC_SOCKET).is_socket()
        return Reach(
            console=f"socat -,raw,echo=0,escape=0x1d UNIX-CONNECT:{shlex.quote(str(folder / CONSOLE_SOCKET))}",
            screen=f"vncviewer {shlex.quote(str(folder / VNC_SOCKET))}" if has_screen else "",
            vnc=str(folder / VNC_SOCKET) if has_screen else "",
            monitor=f"socat - UNIX-CONNECT:{shlex.quote(str(folder / MONITOR_SOCKET))}",
        )

    def discard(self) -> None:
        """Stop it and remove its files; the images stay. Raises `TargetError`."""
        stop(self._folder.path)
        logs = (partial(_remove, self._folder.path / name) for name in RUNNING_FILES)
        discard_all(*(each.discard for each in self._made), *logs)
        self._folder.release()

    def _run(self) -> None:
        folder = self._folder.path
        if self._has_tpm:
            with examined(folder):
                self._folder.tell(tpm_record(folder))
            start_tpm(folder)
        try:
            run(self._command, package=PACKAGE, cwd=folder)
        except BaseException:
            end_tpm(folder)
            raise

    def _watch(self, seconds: float, *, only_disk: bool) -> BootReport:
        self.start()
        folder = self._folder.path
        with senses_of(folder, lambda: running_pid(folder) is not None) as senses:
            return watch_boot(senses, self.name, seconds, only_disk=only_disk)


def daemon_options(folder: Path) -> list[str]:
    """What makes a QEMU in `folder` a daemon that can be watched; its character device `CONSOLE` is the console.

    The short forms of monitors (``unix:PATH``) take a path with ``=`` for an option.
    """
    return [
        *("-chardev", f"socket,id={CONSOLE},path={listening(folder, CONSOLE_SOCKET)},logfile={SERIAL_LOG}"),
        *("-chardev", f"socket,id=monitor,path={listening(folder, MONITOR_SOCKET)}", "-mon", "monitor"),
        *("-chardev", f"socket,id=qmp,path={listening(folder, QMP_SOCKET)}", "-mon", "qmp,mode=control"),
        *("-daemonize", "-pidfile", PID_FILE),
    ]


def _remove(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError as exc:
        raise file_error(exc, path, REMOVED) from exc


def running_pid(folder: Path) -> int | None:
    """Process id of the QEMU that runs the machine in `folder`; None when none does."""
    return lock_holder(folder / PID_FILE)


def stop(folder: Path) -> None:
    """End the QEMU that runs the machine in `folder`, if one does, and its TPM.

    Raises:
        TargetError: QEMU does not end (``E_STOP``).
    """
    for number in (signal.SIGTERM, signal.SIGKILL):
        if (pid := running_pid(folder)) is None:
            break
        _send(pid, number)
        deadline = time.monotonic() + _STOP_SECONDS
        while running_pid(folder) is not None and time.monotonic() < deadline:
            time.sleep(_POLL_SECONDS)
    if running_pid(folder) is not None:
        raise TargetError(f"QEMU, which runs the machine in {quoted(str(folder))}, does not end", code="E_STOP")
    end_tpm(folder)


def _send(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return
