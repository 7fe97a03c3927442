"""The guest agent, through its port (``qga/qapi-schema.json`` of QEMU).

Nothing is waited for: the questions wait in the port until an agent opens it. A guest may answer what it likes, so what
is read has a bound, and what makes no sense is passed over.
"""

from __future__ import annotations

import json
import secrets
import socket
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from virt_ova.target.boot.watch import AgentReply, is_of_network
from virt_ova.target.directory.sockets import AGENT_SOCKET, connected

_SENTINEL: Final = b"\xff"
"""Stands before the answer to ``guest-sync-delimited``; what came before is for somebody else."""

_LONGEST_ANSWER: Final = 256 << 10


class AgentPort:
    """A connection to the port of the agent in the guest that runs in a folder."""

    def __init__(self, folder: Path) -> None:
        """Connect, and ask."""
        self._id = secrets.randbelow(1 << 31)
        self._socket: socket.socket | None = None
        self._received = bytearray()
        with suppress(OSError):
            self._socket = connected(folder, AGENT_SOCKET)
            self._socket.settimeout(0)
        self._ask("guest-sync-delimited", {"id": self._id})
        self._ask("guest-get-osinfo")
        self._ask("guest-network-get-interfaces")

    def close(self) -> None:
        """Leave the agent alone."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def reply(self) -> AgentReply | None:
        """What the agent has answered by now; None while it has not."""
        self._receive()
        answers = bytes(self._received).rpartition(_SENTINEL)[2]
        messages = [_parsed(line) for line in answers.split(b"\n")[:-1]]
        if not messages or messages[0].get("return") != self._id:
            return None
        told = [message.get("return") for message in messages[1:]]
        systems = [each for each in told if isinstance(each, dict)]
        found = tuple(address for each in told if isinstance(each, list) for address in _addresses(each))
        if not found and len(told) > 1:  # both questions were answered: the network is not up yet
            self._ask("guest-network-get-interfaces")
        system = next((str(each.get("pretty-name") or each.get("name") or "") for each in systems), "")
        return AgentReply(system=system, addresses=found)

    def _ask(self, command: str, arguments: Mapping[str, object] | None = None) -> None:
        question = {"execute": command, **({"arguments": arguments} if arguments else {})}
        with suppress(OSError):
            if self._socket is not None:
                self._socket.sendall(json.dumps(question).encode() + b"\n")

    def _receive(self) -> None:
        with suppress(OSError):
            while self._socket is not None and len(self._received) < _LONGEST_ANSWER:
                if not (chunk := self._socket.recv(65536)):
                    break
                self._received += chunk


def _parsed(line: bytes) -> Mapping[str, Any]:
    """An answer; empty when it is none."""
    try:
        message = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    return message if isinstance(message, dict) else {}


def _addresses(interfaces: list[Any]) -> tuple[str, ...]:
    """The addresses in the answer to ``guest-network-get-interfaces``, IPv4 first."""
    entries = [each for item in interfaces if isinstance(item, dict) for each in item.get("ip-addresses") or ()]
    found = [str(each.get("ip-address")) for each in entries if isinstance(each, dict)]
    return tuple(sorted(filter(is_of_network, found), key=lambda address: ":" in address))
