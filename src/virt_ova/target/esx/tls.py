"""Connections whose other end is known: by a valid certificate, or by the thumbprint of the only one that is taken.

What comes back is taken for an answer when it is whole. Python's own client takes ``HTTP/1.1 200`` and a broken line
for the good news that it begins with, and waits without end for one that comes byte by byte.
"""

from __future__ import annotations

import hashlib
import hmac
import socket
import ssl
import time
from dataclasses import dataclass
from functools import cached_property
from http.client import HTTPException, HTTPResponse, HTTPSConnection
from io import BufferedReader, RawIOBase
from typing import Any, Final, cast

_ALGORITHMS: Final = {40: "sha1", 64: "sha256"}
"""By the number of hex digits. vSphere itself names certificates by SHA-1; another certificate of the same SHA-1 would
have to be made for a certificate that its maker chose freely, too."""


class ThumbprintError(OSError):
    """The other end has another certificate than the one that was pinned."""


@dataclass(frozen=True, kw_only=True)
class Trust:
    """Which certificates are taken: any, valid ones, or the one with the `thumbprint`, valid or not."""

    is_verified: bool = True
    thumbprint: str = ""

    @cached_property
    def context(self) -> ssl.SSLContext:
        """How to speak TLS; the thumbprint is looked at by `PinnedConnection`. Made once: authorities read slowly."""
        if self.is_verified and not self.thumbprint:
            return ssl.create_default_context()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        return context


class _WholeLines:
    """A reader that takes no line but a whole one; nothing at all is the caller's to judge, if it comes first."""

    def __init__(self, reader: BufferedReader) -> None:
        self._reader = reader
        self._has_begun = False

    def readline(self, limit: int = -1) -> bytes:
        """The next line. Raises `HTTPException` when it is cut short."""
        line = self._reader.readline(limit)
        if not line.endswith(b"\n") and (line or self._has_begun):
            raise HTTPException("its answer was cut short")
        self._has_begun = True
        return line

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whatever it is
        return getattr(self._reader, name)


class _InTime(RawIOBase):
    """What comes by a socket until its timeout has passed since the beginning; the socket's own is for each byte."""

    def __init__(self, raw: RawIOBase, line: socket.socket) -> None:
        self._raw, self._line = raw, line
        self._seconds = line.gettimeout()
        self.begin()

    def begin(self) -> None:
        """Let the time begin anew."""
        self._end = None if self._seconds is None else time.monotonic() + self._seconds

    def readable(self) -> bool:
        """Yes."""
        return True

    def readinto(self, buffer: Any) -> int | None:  # noqa: ANN401 - whatever takes bytes
        """See `RawIOBase.readinto`. Raises `TimeoutError` when the time is over."""
        if self._end is None:
            return self._raw.readinto(buffer)
        left = self._end - time.monotonic()
        if left <= 0:
            raise TimeoutError("timed out")
        self._line.settimeout(left)
        try:
            return self._raw.readinto(buffer)
        finally:
            self._line.settimeout(self._seconds)

    def close(self) -> None:
        """Release the socket."""
        self._raw.close()
        super().close()


class WholeAnswer(HTTPResponse):
    """An answer whose head is whole, and which comes as a whole in the time that its socket has for a byte."""

    def __init__(self, sock: socket.socket, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - http.client's
        super().__init__(sock, *args, **kwargs)
        self._raw = _InTime(self.fp.detach(), sock)
        self.fp = cast("BufferedReader", _WholeLines(BufferedReader(self._raw)))

    def read(self, amt: int | None = None) -> bytes:
        """See `HTTPResponse.read`. Raises `HTTPException` also when a piece has a length that cannot be."""
        try:
            return super().read(amt)
        except ValueError as exc:
            raise HTTPException("its answer makes no sense") from exc

    def give_time(self) -> None:
        """Let the time begin anew, for the next piece of an answer that may be long."""
        self._raw.begin()


class PinnedConnection(HTTPSConnection):
    """A connection that sends nothing before it knows the other end; old pyvmomi gives the port with the host."""

    response_class = WholeAnswer

    def __init__(self, host: str, port: int | None = None, *, trust: Trust, timeout: float) -> None:
        super().__init__(host, port, timeout=timeout, context=trust.context)
        self._thumbprint = trust.thumbprint

    def getresponse(self) -> WholeAnswer:
        """See `http.client.HTTPConnection.getresponse`."""
        return cast("WholeAnswer", super().getresponse())

    def connect(self) -> None:
        """Connect, and compare the thumbprint.

        Raises:
            OSError: it cannot be reached, or its certificate is not valid (`ssl.SSLCertVerificationError`).
            ThumbprintError: it has another certificate.
        """
        try:
            super().connect()
            self._compare()
        except UnicodeError as exc:
            raise OSError("its name is not that of a host") from exc
        except BaseException:
            self.close()
            raise

    def _compare(self) -> None:
        if not self._thumbprint:
            return
        certificate = self.sock.getpeercert(binary_form=True) or b""
        algorithm = _ALGORITHMS[len(self._thumbprint)]
        found = hashlib.new(algorithm, certificate, usedforsecurity=False).hexdigest()
        if not hmac.compare_digest(found, self._thumbprint):
            raise ThumbprintError(f"its certificate has the {algorithm.upper()} {found}, expected {self._thumbprint}")
