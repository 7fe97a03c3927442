"""One file on its way to a lease's URL: a request whose body is written as it comes."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from http.client import HTTPException
from typing import Final
from urllib.parse import quote, urlsplit

from virt_ova.disk.base import Buffer
from virt_ova.errors import TargetError
from virt_ova.target.esx.errors import BROKEN_LINE, REFUSED_HINT, error_of
from virt_ova.target.esx.tls import PinnedConnection, Trust
from virt_ova.text import printable, quoted
from virt_ova.units import MIB

STALL_SECONDS: Final = 300.0
"""How long a host may take no byte, or give no whole answer; its lease lasts as long without us."""

DISK_TYPE: Final = "application/x-vnd.vmware-streamVmdk"

_ANOTHER_HOST: Final = (
    "The vCenter sends files to that host and does not name its certificate: give the host a valid one, or name its "
    "authority in SSL_CERT_FILE."
)
_LAST_WORDS_SECONDS: Final = 5.0
_ZEROS: Final = bytes(MIB)
_URL_MARKS: Final = "%/?:@!$&'()*+,;="
_DONE: Final = range(200, 300)


@dataclass(frozen=True, kw_only=True, slots=True)
class Destination:
    """Where a file goes, or comes from.

    Attributes:
        url: of the lease.
        trust: which certificates are taken there.
        is_disk: whether it is a stream-optimized VMDK; another file is put in place as it is.
    """

    url: str
    trust: Trust
    is_disk: bool

    @property
    def path(self) -> str:
        """What is asked for there; letters that a URL has not (RFC 3986 2.4) are escaped, what is escaped stays so."""
        parts = urlsplit(self.url)
        return quote(parts.path + (f"?{parts.query}" if parts.query else ""), safe=_URL_MARKS)

    def connection(self) -> PinnedConnection:
        """A connection that is still to be opened."""
        parts = urlsplit(self.url)
        return PinnedConnection(parts.hostname or "", parts.port or 443, trust=self.trust, timeout=STALL_SECONDS)


def transfer_error(exc: BaseException, doing: str) -> TargetError:
    """The error for a line that broke or did not come about; who has an invalid certificate is another host."""
    error = error_of(exc, doing)
    if isinstance(exc, ssl.SSLCertVerificationError):
        error.hint = _ANOTHER_HOST
    return error


class UploadSink:
    """A `virt_ova.disk.base.Sink` that sends what it takes, in order, to one URL."""

    in_order = True

    def __init__(
        self,
        destination: Destination,
        size_bytes: int,
        *,
        name: str,
        sent: Callable[[int], None],
        alive: Callable[[], None],
    ) -> None:
        """Connect when the first byte comes.

        Args:
            destination: where it goes.
            size_bytes: how many bytes will come, exactly.
            name: of the file, for people.
            sent: is told of every so many bytes.
            alive: raises why the host does not want them any more; asked when it takes none.
        """
        self._destination, self._size, self._name = destination, size_bytes, name
        self._sent, self._alive = sent, alive
        self._position = 0
        self._lock = threading.Lock()
        self._is_broken = False
        self._connection: PinnedConnection | None = None

    def fileno(self) -> None:
        """None: the bytes are elsewhere."""

    def write_at(self, offset: int, buffers: Sequence[Buffer]) -> None:
        """See `Sink.write_at`."""
        while offset > self._position:
            self._send(memoryview(_ZEROS)[: offset - self._position])
        for buffer in buffers:
            self._send(memoryview(buffer).cast("B"))

    def finish(self, size_bytes: int) -> None:
        """All was written: hear that the host has it.

        Raises:
            TargetError: it has not (``E_UPLOAD``), or there is no hearing it (``E_CONNECT``).
        """
        self.write_at(size_bytes, ())
        if self._position != self._size:
            raise TargetError(f"{quoted(self._name)} has {self._position} bytes, expected {self._size}", code="E_SIZE")
        connection = self._open()
        try:
            with connection.getresponse() as answer:
                answer.read(MIB)
        except BROKEN_LINE as exc:
            raise self._lost(exc) from exc
        finally:
            connection.close()
        if answer.status not in _DONE:
            raise self._refused(answer.status, answer.reason)

    def break_off(self) -> None:
        """Let whoever waits for the host wait no more; called from another thread."""
        with self._lock:
            self._is_broken = True
            if self._connection and self._connection.sock:
                try:
                    self._connection.sock.shutdown(socket.SHUT_RDWR)
                except OSError:
                    return  # it is closed already

    def close(self) -> None:
        """Release the connection."""
        if self._connection:
            self._connection.close()

    def _send(self, data: memoryview) -> None:
        if self._position + len(data) > self._size:
            raise TargetError(f"{quoted(self._name)} has more bytes than the {self._size} expected", code="E_SIZE")
        connection = self._open()
        try:
            connection.send(data)
        except BROKEN_LINE as exc:
            raise self._lost(exc) from exc
        self._position += len(data)
        self._sent(len(data))

    def _open(self) -> PinnedConnection:
        """The connection, behind the request's header."""
        if self._connection:
            return self._connection
        self._alive()
        connection = self._destination.connection()
        try:
            connection.connect()
            with self._lock:
                self._connection = connection
            self._put_header(connection)
        except BROKEN_LINE as exc:
            raise self._lost(exc) from exc
        return connection

    def _put_header(self, connection: PinnedConnection) -> None:
        method = "POST" if self._destination.is_disk else "PUT"
        connection.putrequest(method, self._destination.path, skip_accept_encoding=True)
        if self._destination.is_disk:
            connection.putheader("Content-Type", DISK_TYPE)
        else:
            connection.putheader("Overwrite", "t")
        connection.putheader("Content-Length", str(self._size))
        connection.endheaders()

    def _lost(self, exc: BaseException) -> TargetError:
        """Why the host took no more: the lease's own reason, its answer, else what the line says."""
        self._alive()
        if isinstance(exc, TimeoutError):
            is_sent = self._position == self._size
            problem = "has not answered that it has" if is_sent else "took no byte of"
            return TargetError(
                f"the host {problem} {quoted(self._name)} for {STALL_SECONDS:.0f} s, "
                f"after {self._position} of {self._size}",
                code="E_CONNECT",
                hint="Look at the load of the host and its datastore, then try again.",
            )
        connection = self._connection
        if connection and connection.sock and not self._is_broken:
            try:
                connection.sock.settimeout(_LAST_WORDS_SECONDS)
                with connection.getresponse() as answer:
                    if answer.status not in _DONE:
                        return self._refused(answer.status, answer.reason)
            except (OSError, HTTPException):
                pass  # it said nothing
        return transfer_error(exc, f"sending {quoted(self._name)}, at byte {self._position} of {self._size},")

    def _refused(self, status: int, reason: str) -> TargetError:
        return TargetError(
            f"the host refused {quoted(self._name)} after {self._position} of {self._size} bytes: "
            f"{status} {printable(reason)}",
            code="E_UPLOAD",
            hint=REFUSED_HINT,
        )
