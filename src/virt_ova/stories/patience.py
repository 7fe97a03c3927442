"""Waits that a stop signal may end, while all else holds signals back."""

from __future__ import annotations

from collections.abc import Sequence

from virt_ova.disk.base import Buffer, Sink
from virt_ova.interrupt import Held
from virt_ova.source.base import Passing


class PatientReader:
    """A `virt_ova.source.base.ForwardReader` whose wait for bytes a stop signal may end."""

    def __init__(self, reader: Passing, held: Held) -> None:
        self._reader, self._held = reader, held
        self.name = reader.name

    def read(self, size: int) -> bytes:
        """See `ForwardReader.read`."""
        with self._held.let_through():
            return self._reader.read(size)


class PatientSink:
    """A `virt_ova.disk.base.Sink` that takes bytes in order, whose wait for the other end a stop signal may end."""

    in_order = True

    def __init__(self, sink: Sink, held: Held) -> None:
        self._sink, self._held = sink, held

    def fileno(self) -> int | None:
        """See `Sink.fileno`."""
        return self._sink.fileno()

    def write_at(self, offset: int, buffers: Sequence[Buffer]) -> None:
        """See `Sink.write_at`."""
        with self._held.let_through():
            self._sink.write_at(offset, buffers)

    def finish(self, size_bytes: int) -> None:
        """See `Sink.finish`."""
        with self._held.let_through():
            self._sink.finish(size_bytes)
