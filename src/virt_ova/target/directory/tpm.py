"""The TPM 2.0 of a machine in a folder: swtpm(8), which runs beside QEMU and ends with it.

What the TPM keeps is in the folder `TPM_FOLDER`, and swtpm makes it at the first start. QEMU speaks to swtpm on a Unix
socket in the machine's folder. swtpm ends when QEMU's connection does; one that QEMU never connected to is told to.
"""

from __future__ import annotations

import fcntl
import shutil
import struct
import time
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path
from typing import IO, Final

from virt_ova.disk.sink import REMOVED, examined, file_error, sync_directory
from virt_ova.errors import ToolError
from virt_ova.kernel import file_identity, has_identity
from virt_ova.process import run
from virt_ova.target.directory.lock import lock_holder
from virt_ova.target.directory.sockets import TPM_SOCKET, connected, name_of
from virt_ova.text import printable
from virt_ova.undo import Made

TPM_EMULATOR: Final = "swtpm"
TPM_FOLDER: Final = "tpm"
TPM_PID_FILE: Final = "tpm.pid"
"""swtpm writes it when its socket can be connected to, and removes it at its end."""

TPM_COMMAND: Final = (
    *(TPM_EMULATOR, "socket", "--tpm2", "--terminate", "--tpmstate", f"dir={TPM_FOLDER}"),
    *("--ctrl", f"type=unixio,path={TPM_SOCKET},mode=0600", "--pid", f"file={TPM_PID_FILE}"),
)
"""Runs swtpm in the foreground, in the machine's folder."""

TPM_LOCK_FILE: Final = f"{TPM_FOLDER}/run.lock"
"""Whoever starts swtpm locks it (flock(2)) and leaves the lock to it, so that there is one at a time."""

_OWN_LOCK_FILE: Final = ".lock"
"""swtpm holds a lock on it while the TPM is on."""

_SHUTDOWN: Final = struct.pack(">I", 3)
"""``CMD_SHUTDOWN`` of swtpm's control channel (``swtpm_ioctls(3)``)."""

_ANSWER_BYTES: Final = 4
_TIMEOUT_SECONDS: Final = 5
_POLL_SECONDS: Final = 0.02


def has_tpm() -> bool:
    """Whether a TPM can be emulated here."""
    return shutil.which(TPM_EMULATOR) is not None


def make_tpm(folder: Path) -> Made:
    """The TPM of the machine in `folder`: an empty folder, private to the user.

    Raises:
        TargetError: something has that name (``E_EXISTS``), or it cannot be made (``E_IO``).
        SpaceError: no room (``E_SPACE``).
    """
    path = folder / TPM_FOLDER
    try:
        path.mkdir(0o700)
    except OSError as exc:
        raise file_error(exc, path, "made") from exc
    try:
        sync_directory(folder)
        identity = file_identity(path)
    except OSError as exc:
        path.rmdir()
        raise file_error(exc, path, "made durable") from exc
    return Made(what=f"folder {printable(str(path))}", discard=partial(_discard, path, identity))


def start_tpm(folder: Path) -> None:
    """Run the TPM of the machine in `folder` in the background; QEMU can connect when this returns.

    The daemon works in ``/``, so its files must have absolute names. Options of swtpm cannot hold every name.

    Raises:
        ToolError: the machine runs already, or swtpm is missing or fails.
        TargetError: its folder cannot be written to (``E_IO``).
    """
    with _locked(folder / TPM_LOCK_FILE) as lock:
        run(
            [
                *(TPM_EMULATOR, "socket", "--tpm2", "--terminate", "--daemon"),
                *("--ctrl", f"type=unixio,path={name_of(folder, TPM_SOCKET, forbidden=',')},mode=0600"),
            ],
            package=TPM_EMULATOR,
            cwd=folder,
            environment={"TPM_PATH": str(folder / TPM_FOLDER)},
            keeps=(lock.fileno(),),
        )


def _locked(path: Path) -> IO[bytes]:
    """The file `path`, made if it is not there, and locked as long as anybody has it open."""
    with examined(path), ExitStack() as stack:
        file = stack.enter_context(path.open("ab"))
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as exc:
            raise ToolError(
                "it runs already, its TPM is in use", code="E_TOOL_FAILED", hint="Shut it down first."
            ) from exc
        stack.pop_all()
        return file


def end_tpm(folder: Path) -> None:
    """End the TPM of the machine in `folder`, whose QEMU has ended or never came; wait until it has."""
    with suppress(OSError), connected(folder, TPM_SOCKET) as control:
        control.settimeout(_TIMEOUT_SECONDS)
        control.sendall(_SHUTDOWN)
        while control.recv(_ANSWER_BYTES):  # its answer, then the end of the connection
            pass
    deadline = time.monotonic() + _TIMEOUT_SECONDS
    while lock_holder(folder / TPM_FOLDER / _OWN_LOCK_FILE) is not None and time.monotonic() < deadline:
        time.sleep(_POLL_SECONDS)


def _discard(path: Path, identity: str) -> None:
    """Remove the folder `path` and what swtpm put into it, unless the name now belongs to another."""
    try:
        if has_identity(path, identity):
            shutil.rmtree(path)
    except OSError as exc:
        raise file_error(exc, path, REMOVED) from exc
