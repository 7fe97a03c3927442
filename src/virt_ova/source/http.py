"""A package on an http(s) server, read in place by ranges.

Two ways of reading, chosen by how the file is read. Small reads here and there (tar headers, the descriptor, a disk's
tables) come from a few aligned blocks that are kept. Reads that follow each other (a disk that is installed) come from
one answer that stays open, so that each byte is sent once and no request is made for a piece. Reads of any other kind
are each one request.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from typing import Final, Self

import httpx

from virt_ova.findings import Finding, Severity
from virt_ova.source.base import truncated
from virt_ova.source.httprange import PATIENCE, Answer, CutError, Patience, RemoteFile, Version
from virt_ova.text import quoted

BLOCK_BYTES: Final = 32 << 10
_KEPT_BLOCKS: Final = 16
_SMALL_BYTES: Final = 256 << 10
"""Reads up to this size, and rows of reads up to this size, come from blocks."""
_SKIPPED_BYTES: Final = 256 << 10
"""Bytes that are read and dropped rather than asking again behind them."""


class HttpSource:
    """The file at `url`; see `virt_ova.source.base.ByteSource` for the methods.

    Raises:
        SourceError: as `RemoteFile`, and `RemoteFile.open`.
    """

    def __init__(self, url: str, *, patience: Patience = PATIENCE) -> None:
        self._lock = threading.Lock()
        self._blocks: OrderedDict[int, bytes] = OrderedDict()
        self._stream: Stream | None = None
        self._row_end = -1
        self._row_bytes = 0
        self._file = RemoteFile(url, patience)
        try:
            with Stream(self._file, 0, BLOCK_BYTES) as head:
                self._version = head.begin()
                self._blocks[0] = head.read(min(BLOCK_BYTES, self._version.size))
        except BaseException:
            self._file.close()
            raise
        self.name = self._file.name
        self.size = self._version.size

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What was odd about the server."""
        if self._version.has_validator:
            return ()
        message = "the server sends neither ETag nor Last-Modified: a file that changes meanwhile may not be noticed"
        return (Finding(code="HTTP_NO_VALIDATOR", severity=Severity.WARNING, message=message, where=self.name),)

    def read_at(self, offset: int, size: int) -> bytes:
        """Exactly `size` bytes from `offset`; see `ByteSource.read_at`.

        Raises:
            SourceError: also as `RemoteFile.open`, and ``E_HTTP_READ`` when the connection is cut again and again.
        """
        if offset < 0 or size < 0 or offset + size > self.size:
            raise truncated(self.name, offset + size, self.size)
        if size == 0:
            return b""
        with self._lock:
            follows = offset == self._row_end
            self._row_bytes = size + (self._row_bytes if follows else 0)
            self._row_end = offset + size
            if self._stream and 0 <= offset - self._stream.position <= _SKIPPED_BYTES:
                return self._from_stream(self._stream, offset, size)
            if follows and self._row_bytes > _SMALL_BYTES:
                return self._from_stream(self._new_stream(offset), offset, size)
            if size > _SMALL_BYTES:
                return self._fetch(offset, offset + size)
            return self._from_blocks(offset, size)

    def fileno(self) -> None:
        """None: there is no local file."""

    def check_unchanged(self) -> None:
        """Ask for one byte, and compare what comes with it; see `ByteSource.check_unchanged`."""
        with self._lock:
            self._fetch(0, 1)

    def close(self) -> None:
        """Close all connections; a second call does nothing."""
        self._close_stream()
        self._file.close()

    def _new_stream(self, offset: int) -> Stream:
        self._close_stream()
        self._stream = Stream(self._file, offset, self.size)
        return self._stream

    def _close_stream(self) -> None:
        if self._stream:
            self._stream.close()
            self._stream = None

    def _from_stream(self, stream: Stream, offset: int, size: int) -> bytes:
        stream.read(offset - stream.position)
        return stream.read(size)

    def _from_blocks(self, offset: int, size: int) -> bytes:
        numbers = range(offset // BLOCK_BYTES, (offset + size - 1) // BLOCK_BYTES + 1)
        missing = [number for number in numbers if number not in self._blocks]
        if missing:
            self._load(range(missing[0], missing[-1] + 1))
        for number in numbers:
            self._blocks.move_to_end(number)
        while len(self._blocks) > _KEPT_BLOCKS:
            self._blocks.popitem(last=False)
        start = offset - numbers[0] * BLOCK_BYTES
        return b"".join(self._blocks[number] for number in numbers)[start : start + size]

    def _load(self, numbers: range) -> None:
        """Fetch blocks that follow each other."""
        start = numbers[0] * BLOCK_BYTES
        data = self._fetch(start, min(start + len(numbers) * BLOCK_BYTES, self.size))
        for index, number in enumerate(numbers):
            self._blocks[number] = data[index * BLOCK_BYTES : (index + 1) * BLOCK_BYTES]

    def _fetch(self, start: int, end: int) -> bytes:
        with Stream(self._file, start, end) as stream:
            return stream.read(end - start)


class Stream:
    """The bytes of a remote file from one position on, front to back; a cut connection is taken up where it broke."""

    def __init__(self, file: RemoteFile, start: int, end: int) -> None:
        self._file = file
        self._end = end
        self._answer: Answer | None = None
        self._rest = memoryview(b"")
        self.position = start

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def begin(self) -> Version:
        """Ask now, once; the end moves back to that of a shorter file. Raises as `RemoteFile.open`."""
        with _Deadline(self._file, 0) as deadline:
            try:
                version = self._open().version
            except CutError:
                deadline.check()
                raise
        self._end = min(self._end, version.size)
        return version

    def read(self, size: int) -> bytes:
        """The next `size` bytes, all before the end that was asked for.

        Raises:
            CutError: the connection was cut again and again, or once when nothing tells that the file is still the
                same (``E_HTTP_READ``).
            SourceError: as `RemoteFile.open`.
        """
        if size <= len(self._rest):
            return bytes(self._take(size))
        pieces: list[memoryview] = []
        stop = self.position + size
        cuts = 0
        with _Deadline(self._file, size) as deadline:
            while self.position < stop:
                deadline.check()
                try:
                    self._receive()
                except CutError:
                    self.close()
                    deadline.check()
                    if cuts == self._retries:
                        raise
                    time.sleep(self._file.patience.backoff_seconds * 2**cuts)
                    cuts += 1
                else:
                    pieces.append(self._take(stop - self.position))
        return b"".join(pieces)

    def close(self) -> None:
        """Release the connection: to the next request when the answer was read to its end."""
        self._rest = memoryview(b"")
        answer, self._answer = self._answer, None
        if answer is None:
            return
        try:
            if self.position == self._end:
                next(answer.chunks, None)
        except httpx.TransportError:
            pass  # nothing was missing
        finally:
            answer.response.close()

    @property
    def _retries(self) -> int:
        version = self._file.version
        return self._file.patience.retries if version and version.has_validator else 0

    def _open(self) -> Answer:
        self._answer = self._file.open(self.position, self._end)
        return self._answer

    def _receive(self) -> None:
        """Wait for bytes until there is at least one."""
        if self._rest:
            return
        answer = self._answer or self._open()
        with self._file.translated():
            self._rest = memoryview(next(answer.chunks, b""))
        if not self._rest:
            raise CutError(
                f"{quoted(self._file.name)} broke off at byte {self.position}, expected {self._end} bytes",
                code="E_HTTP_READ",
                hint="Try again.",
            )

    def _take(self, most: int) -> memoryview:
        """What was received, up to so many bytes."""
        taken, self._rest = self._rest[:most], self._rest[most:]
        self.position += len(taken)
        return taken


class _Deadline:
    """Until when `size` bytes must have come; then all connections are cut.

    A server that sends a byte now and then never runs into a timeout of the socket.
    """

    def __init__(self, file: RemoteFile, size: int) -> None:
        self._file = file
        self._size = size
        self._seconds = file.patience.silence_seconds + size / file.patience.least_bytes_per_second
        self._is_over = False
        self._timer = threading.Timer(self._seconds, self._end)
        self._timer.daemon = True

    def __enter__(self) -> Self:
        self._timer.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()

    def check(self) -> None:
        """Raise `SourceError` (``E_HTTP_TIMEOUT``) when it is over."""
        if self._is_over:
            raise self._file.too_slow(f"did not send {self._size} bytes in {self._seconds:.1f} s")

    def _end(self) -> None:
        self._is_over = True
        self._file.cut()
