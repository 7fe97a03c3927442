"""A small web server on 127.0.0.1 that serves ranges, counts what it sends, and misbehaves when told.

with serve({"/a.ova": path}) as server:
    open_archive(server.url("/a.ova"))
    assert server.sent_bytes < 1 << 20
"""

from __future__ import annotations

import hashlib
import http.server
import re
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from socketserver import ThreadingMixIn
from typing import Any

_RANGE = re.compile(r"bytes=([0-9]+)-([0-9]+)")
_PIECE_BYTES = 64 << 10
MODIFIED = "Wed, 21 Oct 2015 07:28:00 GMT"


@dataclass(kw_only=True)
class Answer:
    """What the server is about to send; a fault changes it.

    Attributes:
        status: of the answer.
        headers: by name; None is left out.
        path: the file that the body comes from; None for an empty body.
        start: the first byte of it.
        size: how many bytes.
        cut_after: bytes of the body after which the connection is closed.
        headers_pause: seconds before each byte of the headers.
        body_pause: seconds before each byte of the body.
    """

    status: int
    headers: dict[str, str | None] = field(default_factory=dict)
    path: Path | None = None
    start: int = 0
    size: int = 0
    cut_after: int | None = None
    headers_pause: float = 0
    body_pause: float = 0


@dataclass(kw_only=True)
class Asked:
    """One request, and how many bytes of the file went out for it.

    Attributes:
        target: as in the request line: a path, or a URL when the server is used as a proxy.
        headers: in lower case.
        start: the first byte asked for.
        sent: bytes of the body that were sent.
    """

    target: str
    headers: dict[str, str]
    start: int = 0
    sent: int = 0


Fault = Callable[[Asked, Answer], None]


class WebServer(ThreadingMixIn, http.server.HTTPServer):
    """Serves `files`, by path; `fault` may be set at any time."""

    daemon_threads = True

    def __init__(self, files: Mapping[str, Path], tls: ssl.SSLContext | None) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.files = dict(files)
        self.asked: list[Asked] = []
        self.fault: Fault = lambda _asked, _answer: None
        self.scheme = "https" if tls else "http"
        self._tls = tls

    @property
    def sent_bytes(self) -> int:
        """Bytes of files that went out."""
        return sum(asked.sent for asked in self.asked)

    def url(self, path: str, *, userinfo: str = "") -> str:
        """The address of `path`."""
        return f"{self.scheme}://{userinfo}{'@' if userinfo else ''}127.0.0.1:{self.server_port}{path}"

    def finish_request(self, request: Any, client_address: Any) -> None:  # noqa: ANN401 - as the base class has it
        """Speak TLS first, in the connection's own thread."""
        if self._tls:
            request = self._tls.wrap_socket(request, server_side=True)
        try:
            super().finish_request(request, client_address)
        finally:
            request.close()

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing: clients that hang up are part of the tests."""


class _Handler(http.server.BaseHTTPRequestHandler):
    server: WebServer
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        asked = Asked(target=self.path, headers={name.lower(): value for name, value in self.headers.items()})
        self.server.asked.append(asked)
        answer = self._answer(asked)
        self.server.fault(asked, answer)
        self._send_headers(answer)
        self._send_body(asked, answer)

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def _answer(self, asked: Asked) -> Answer:
        """What an honest server says."""
        path = self.server.files.get(asked.target.partition("?")[0])
        if path is None:
            return Answer(status=404)
        status = path.stat()
        etag = hashlib.sha256(f"{status.st_mtime_ns} {status.st_size}".encode()).hexdigest()[:12]
        headers: dict[str, str | None] = {"ETag": f'"{etag}"', "Last-Modified": MODIFIED}
        if asked.headers.get("if-match", headers["ETag"]) != headers["ETag"]:
            return Answer(status=412)
        wanted = _RANGE.fullmatch(asked.headers.get("range", ""))
        if wanted is None:
            return Answer(status=200, headers=headers, path=path, size=status.st_size)
        start, end = int(wanted[1]), min(int(wanted[2]) + 1, status.st_size)
        if start >= end:
            return Answer(status=416, headers={"Content-Range": f"bytes */{status.st_size}"})
        headers["Content-Range"] = f"bytes {start}-{end - 1}/{status.st_size}"
        asked.start = start
        return Answer(status=206, headers=headers, path=path, start=start, size=end - start)

    def _send_headers(self, answer: Answer) -> None:
        headers = {"Content-Length": str(answer.size), **answer.headers}
        phrases = {each.value: each.phrase for each in HTTPStatus}
        lines = [f"HTTP/1.1 {answer.status} {phrases.get(answer.status, '')}"]
        lines += [f"{name}: {value}" for name, value in headers.items() if value is not None]
        self._send(("\r\n".join(lines) + "\r\n\r\n").encode(), answer.headers_pause)
        self.close_connection = answer.cut_after is not None or headers["Content-Length"] is None

    def _send_body(self, asked: Asked, answer: Answer) -> None:
        if answer.path is None:
            return
        left = answer.size if answer.cut_after is None else min(answer.size, answer.cut_after)
        with answer.path.open("rb") as file:
            file.seek(answer.start)
            while data := file.read(min(_PIECE_BYTES, left)):
                asked.sent += len(data)  # before who reads it can look
                self._send(data, answer.body_pause)
                left -= len(data)

    def _send(self, data: bytes, pause: float) -> None:
        if not pause:
            self.wfile.write(data)
            return
        for byte in data:
            time.sleep(pause)
            self.wfile.write(bytes([byte]))


@contextmanager
def serve(files: Mapping[str, Path], *, tls: ssl.SSLContext | None = None) -> Iterator[WebServer]:
    """A running server."""
    server = WebServer(files, tls)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def make_certificate(folder: Path) -> tuple[Path, ssl.SSLContext]:
    """A certificate for 127.0.0.1 that signs itself, and the server's side of TLS with it."""
    certificate, key = folder / "server.pem", folder / "server.key"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
         "-subj", "/CN=virt-ova test", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", certificate],
        check=True, capture_output=True,
    )  # fmt: skip
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return certificate, context
