"""The Unix sockets of a running machine, in its folder.

The name of such a socket has 107 bytes at most, a folder's path may have more. QEMU binds in the folder, by a relative
name if it must; we connect through a descriptor of the folder, whose name is short.
"""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Final

AGENT_SOCKET: Final = "agent.sock"
CONSOLE_SOCKET: Final = "console.sock"
MONITOR_SOCKET: Final = "monitor.sock"
QMP_SOCKET: Final = "qmp.sock"
TPM_SOCKET: Final = "tpm.sock"
VNC_SOCKET: Final = "vnc.sock"

SOCKETS: Final = (AGENT_SOCKET, CONSOLE_SOCKET, MONITOR_SOCKET, QMP_SOCKET, TPM_SOCKET, VNC_SOCKET)

_LONGEST_NAME: Final = 107


def listening(folder: Path, name: str) -> str:
    """Value of QEMU's options for a socket that it listens on, run in `folder`."""
    return f"{escaped(folder, name)},server=on,wait=off"


def escaped(folder: Path, name: str) -> str:
    """What a QEMU that is started in `folder` calls its socket there, as it stands among other options."""
    return name_of(folder, name).replace(",", ",,")


def name_of(folder: Path, name: str, *, forbidden: str = "") -> str:
    """What a daemon that is started in `folder` calls its socket there; `forbidden` are characters it cannot take.

    A daemon removes at its end only what it can name from anywhere.
    """
    path = folder / name
    is_usable = len(os.fsencode(path)) <= _LONGEST_NAME and not set(forbidden) & set(str(path))
    return str(path) if is_usable else name


def connected(folder: Path, name: str) -> socket.socket:
    """A connection to the socket `name` in `folder`. Raises `OSError`."""
    descriptor = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.connect(f"/proc/self/fd/{descriptor}/{name}")
    except BaseException:
        connection.close()
        raise
    finally:
        os.close(descriptor)
    return connection
