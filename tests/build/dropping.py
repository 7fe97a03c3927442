"""A vSphere that leaves something out: a proxy before the simulator, which cuts one element out of one of its answers.

It may put something else in its place.

with dropping(vsphere) as dropper:
    install(package, dropper.vsphere.uri())          # nothing is cut; what is answered is counted
    for cut in dropper.cuts():
        dropper.begin(cut)
        ...
"""

from __future__ import annotations

import ssl
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from http.client import HTTPConnection, HTTPSConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Final
from xml.parsers import expat

from tests.build.vsphere import VSphere

_HOP_BY_HOP: Final = frozenset({"connection", "content-length", "transfer-encoding", "keep-alive"})


@dataclass(frozen=True, kw_only=True)
class Cut:
    """An element of an answer.

    Attributes:
        answer: its number, in the order of the questions.
        element: its number there, by its end.
        path: its name behind those of the elements around it.
        instead: what comes in its place.
    """

    answer: int
    element: int
    path: str
    instead: bytes = b""


@dataclass(kw_only=True)
class Dropper:
    """Whose address is the `vsphere`'s own; what it answers in a run goes into `answers`, from which `cut` is cut."""

    vsphere: VSphere
    cut: Cut | None = None
    answers: list[bytes] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def begin(self, cut: Cut | None) -> None:
        """Begin another run."""
        self.answers, self.cut = [], cut

    def cuts(self) -> list[Cut]:
        """Every element of every answer of the run, but for the envelopes."""
        return [
            Cut(answer=answer, element=element, path=place.path)
            for answer, data in enumerate(self.answers)
            for element, place in enumerate(_elements(data))
        ]

    def passed(self, data: bytes) -> bytes:
        """What is passed on of an answer."""
        with self._lock:
            number = len(self.answers)
            self.answers.append(data)
        if self.cut is None or self.cut.answer != number:
            return data
        found = [each for each in _elements(data)[self.cut.element :] if each.path == self.cut.path]
        return data[: found[0].start] + self.cut.instead + data[found[0].end :] if found else data


@dataclass(frozen=True)
class _Element:
    path: str
    start: int
    end: int


def _elements(data: bytes) -> list[_Element]:
    """All but the root, each behind those in it."""
    found, opened = list[_Element](), list[tuple[str, int]]()
    parser = expat.ParserCreate()

    def start(name: str, _: object) -> None:
        opened.append((name.rpartition(":")[2], parser.CurrentByteIndex))

    def end(_: str) -> None:
        path = "/".join(name for name, _ in opened)
        _, begin = opened.pop()
        behind = data.index(b">", parser.CurrentByteIndex) + 1
        found.append(_Element(path, begin, behind))

    parser.StartElementHandler, parser.EndElementHandler = start, end
    parser.Parse(data, True)  # noqa: FBT003 - it takes no names
    return found[:-1]


@contextmanager
def dropping(vsphere: VSphere) -> Iterator[Dropper]:
    """A proxy before `vsphere`, which has the same certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(vsphere.certificate.parent / "server.pem")
    with _Server(("127.0.0.1", 0), _Handler) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        server.origin = vsphere.address
        server.dropper = Dropper(vsphere=replace(vsphere, address=f"127.0.0.1:{server.server_port}"))
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield server.dropper
        finally:
            server.shutdown()
            thread.join()


class _Server(ThreadingHTTPServer):
    origin: str
    dropper: Dropper
    daemon_threads = True


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    _origin: HTTPConnection | None = None

    def handle(self) -> None:
        """Serve a connection; the other end may go away."""
        with suppress(OSError):
            super().handle()
        if self._origin:
            self._origin.close()

    def do_POST(self) -> None:
        """Pass it on, and what comes back."""
        body = self.rfile.read(int(self.headers["Content-Length"] or 0))
        if self._origin is None:
            context = ssl._create_unverified_context()  # noqa: S323 - the simulator
            self._origin = HTTPSConnection(self.server.origin, timeout=30, context=context)
        self._origin.request(self.command, self.path, body, _kept(self.headers.items()))
        answer = self._origin.getresponse()
        data = answer.read()
        if self.path.startswith("/sdk"):
            data = self.server.dropper.passed(data)
        self.send_response(answer.status, answer.reason)
        for name, value in _kept(answer.getheaders()).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    do_GET = do_PUT = do_POST  # noqa: N815 - the server's words

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def _kept(headers: Sequence[tuple[str, str]]) -> dict[str, str]:
    return {name: value for name, value in headers if name.lower() not in _HOP_BY_HOP}
