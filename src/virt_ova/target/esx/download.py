"""One file on its way from a lease's URL, which may be taken up where it broke off."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from http.client import IncompleteRead
from typing import Final

from virt_ova.errors import TargetError
from virt_ova.target.esx.errors import BROKEN_LINE, REFUSED_HINT
from virt_ova.target.esx.tls import PinnedConnection, WholeAnswer
from virt_ova.target.esx.upload import DISK_TYPE, STALL_SECONDS, Destination, transfer_error
from virt_ova.text import printable, quoted

_WHOLE: Final = 200
_PART: Final = 206


class Download:
    """A `virt_ova.target.exporting.FileStream` over HTTP.

    Attributes:
        start: see `FileStream.start`.
        tag: the server's name for these bytes, if they always are the same under it; else empty.
    """

    def __init__(
        self, source: Destination, *, name: str, received: Callable[[int], None], alive: Callable[[], None]
    ) -> None:
        """Do nothing yet; `open` comes next.

        Args:
            source: where it comes from.
            name: of the file, for people.
            received: is told of every so many bytes.
            alive: raises why the host does not send them any more; asked when none come.
        """
        self._source, self._name, self._received, self._alive = source, name, received, alive
        self._lock = threading.Lock()
        self._connection: PinnedConnection | None = None
        self._socket: socket.socket | None = None
        self._answer: WholeAnswer | None = None
        self._position = 0
        self.start, self.tag = 0, ""

    def open(self, start: int, tag: str) -> None:
        """Ask for the bytes from `start`, if they are still those that had the `tag` (RFC 9110 13.1.5, 14.2).

        Raises:
            TargetError: the host cannot be reached (``E_CONNECT``, ``E_TLS``), or does not give them (``E_DOWNLOAD``).
        """
        answer = self._ask(start, tag)
        if start and answer.status != _WHOLE and not _continues(answer, start):
            self.close()
            answer = self._ask(0, "")
        if answer.status != _WHOLE and not _continues(answer, start):
            self.close()
            raise TargetError(
                f"the host does not give {quoted(self._name)}: {answer.status} {printable(answer.reason)}",
                code="E_DOWNLOAD",
                hint=REFUSED_HINT,
            )
        self.start = self._position = 0 if answer.status == _WHOLE else start
        etag = str(answer.headers["ETag"] or "")
        self.tag = etag if etag.startswith('"') else ""

    def read(self, size: int) -> bytes:
        """See `FileStream.read`."""
        answer = self._answer
        assert answer is not None  # noqa: S101 - it is open
        answer.give_time()
        try:
            data = answer.read(size)
            if len(data) < size and answer.length:
                raise IncompleteRead(data, answer.length)
        except BROKEN_LINE as exc:
            raise self._lost(exc) from exc
        self._position += len(data)
        self._received(len(data))
        return data

    def break_off(self) -> None:
        """Let whoever waits for the host wait no more; called from another thread."""
        with self._lock:
            if self._socket:
                try:
                    self._socket.shutdown(socket.SHUT_RDWR)
                except OSError:
                    return  # it is closed already

    def close(self) -> None:
        """See `FileStream.close`."""
        with self._lock:
            self._socket = None
        for each in (self._answer, self._connection):
            if each:
                each.close()

    def _ask(self, start: int, tag: str) -> WholeAnswer:
        self._alive()
        self._position = start
        connection = self._connection = self._source.connection()
        try:
            connection.connect()
            with self._lock:
                self._socket = connection.sock
            headers = {"Accept": DISK_TYPE if self._source.is_disk else "*/*", "Connection": "close"}
            headers |= {"Range": f"bytes={start}-"} if start else {}
            headers |= {"If-Range": tag} if start and tag else {}
            connection.request("GET", self._source.path, headers=headers)
            self._answer = connection.getresponse()
        except BROKEN_LINE as exc:
            self.close()
            raise self._lost(exc) from exc
        return self._answer

    def _lost(self, exc: BaseException) -> TargetError:
        """Why no more came: the lease's own reason, else what the line says."""
        self._alive()
        if isinstance(exc, TimeoutError):
            return TargetError(
                f"the host sent nothing, or too little, of {quoted(self._name)} for {STALL_SECONDS:.0f} s, after "
                f"{self._position} bytes",
                code="E_CONNECT",
                hint="Look at the load of the host and its datastore, then try again.",
            )
        return transfer_error(exc, f"reading {quoted(self._name)}, at byte {self._position},")


def _continues(answer: WholeAnswer, start: int) -> bool:
    """Whether it is the part that begins at `start`."""
    return answer.status == _PART and str(answer.headers["Content-Range"]).startswith(f"bytes {start}-")
