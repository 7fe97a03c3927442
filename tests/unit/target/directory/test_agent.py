"""A guest agent may say what it likes."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from virt_ova.target.boot.watch import AgentReply
from virt_ova.target.directory.agent import AgentPort
from virt_ova.target.directory.qmp import Qmp
from virt_ova.target.directory.sockets import AGENT_SOCKET, QMP_SOCKET

OSINFO = {"return": {"name": "Debian GNU/Linux", "pretty-name": "Debian GNU/Linux 12 (bookworm)"}}
ADDRESSES = [
    {"name": "lo", "ip-addresses": [{"ip-address-type": "ipv4", "ip-address": "127.0.0.1", "prefix": 8}]},
    {"name": "eth1"},
    {
        "name": "eth0",
        "ip-addresses": [
            {"ip-address-type": "ipv6", "ip-address": "fe80::1", "prefix": 64},
            {"ip-address-type": "ipv6", "ip-address": "2001:db8::7", "prefix": 64},
            {"ip-address-type": "ipv4", "ip-address": "192.0.2.7", "prefix": 24},
        ],
    },
]


@contextmanager
def listener(path: Path, answer: Callable[[socket.socket], None]) -> Iterator[None]:
    """A socket whose one connection is served."""
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen()

        def serve() -> None:
            connection, _ = server.accept()
            with connection:
                answer(connection)

        serving = threading.Thread(target=serve)
        serving.start()
        yield
        serving.join()


def asked(folder: Path, make: Callable[[int], bytes]) -> AgentReply | None:
    """What is made of an agent that sends what `make` makes of the number it is asked to repeat."""

    def answer(connection: socket.socket) -> None:
        first = json.loads(connection.recv(65536).split(b"\n")[0])
        assert first["execute"] == "guest-sync-delimited"
        connection.sendall(make(first["arguments"]["id"]))

    path = folder / AGENT_SOCKET
    with listener(path, answer):
        port = AgentPort(folder)
    with closing(port):
        return port.reply()


def lines(*messages: object) -> bytes:
    return b"".join(json.dumps(message).encode() + b"\n" for message in messages)


def test_an_agent_tells_its_system_and_addresses(tmp_path: Path) -> None:
    reply = asked(tmp_path, lambda number: b"old\xff" + lines({"return": number}, OSINFO, {"return": ADDRESSES}))
    assert reply == AgentReply(
        system="Debian GNU/Linux 12 (bookworm)",
        addresses=("192.0.2.7", "2001:db8::7"),
    )


@pytest.mark.parametrize(
    "rest",
    [
        b"",
        b"nonsense\n",
        lines({"error": {"class": "CommandNotFound"}}, {"error": {}}),
        lines({"return": {"name": 5}}, {"return": [1, None, {"ip-addresses": "x"}, {"ip-addresses": [{}, 3]}]}),
        b"[" * 200_000 + b"\n",
        b"\n" * 300_000,
    ],
)
def test_an_agent_that_answers_at_all_is_there(tmp_path: Path, rest: bytes) -> None:
    reply = asked(tmp_path, lambda number: b"\xff" + lines({"return": number}) + rest[:150_000])
    assert reply is not None
    assert reply.addresses == ()


@pytest.mark.parametrize("said", [b"", b"\xff", b"\xff{}\n", b'\xff{"return": -1}\n', b"\xff[1]\n", b"\x00" * 100])
def test_what_does_not_repeat_the_number_is_no_agent(tmp_path: Path, said: bytes) -> None:
    assert asked(tmp_path, lambda _: said) is None


def test_a_machine_without_port_has_no_agent(tmp_path: Path) -> None:
    with closing(AgentPort(tmp_path)) as port:
        assert port.reply() is None


@pytest.mark.parametrize("said", [b"", b"{}\n", b'{"QMP": {}}\n{"error": {}}\n', b"nonsense\n", b'{"QMP": {}}\n[]\n'])
def test_a_monitor_that_does_not_answer_shows_nothing(tmp_path: Path, said: bytes) -> None:
    with listener(tmp_path / QMP_SOCKET, lambda connection: connection.sendall(said)):
        assert _shown(tmp_path) == (b"", b"")


def _shown(folder: Path) -> tuple[bytes, bytes]:
    with closing(Qmp(folder)) as qmp:
        return qmp.screenshot(), qmp.text_memory()


def test_a_machine_without_monitor_shows_nothing(tmp_path: Path) -> None:
    assert _shown(tmp_path) == (b"", b"")
