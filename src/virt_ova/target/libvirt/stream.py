"""A volume filled through libvirt, for hosts whose files we cannot write ourselves."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Final

import libvirt

from virt_ova.disk.base import Buffer
from virt_ova.errors import SpaceError, TargetError
from virt_ova.target.libvirt.errors import SPACE_HINT, absent_is_fine, translated
from virt_ova.target.libvirt.pool import free_bytes
from virt_ova.text import quoted

HEAD_BYTES: Final = 65536
"""So much of what is uploaded is remembered."""

_CHUNK_BYTES: Final = 262120
"""Most bytes that one message of a stream carries (``VIR_NET_MESSAGE_LEGACY_PAYLOAD_MAX``)."""

_ZEROS: Final = bytes(_CHUNK_BYTES)


class StreamSink:
    """Takes the bytes of an image in order and uploads them. Gaps are sent as holes where the host knows holes.

    The upload begins with the first byte. It ends on the host when `finish` returns; when the host's kernel puts it on
    the disk is not told, because libvirt has no call for that. What has arrived is measured then: a daemon whose write
    fails while it is told that the stream is finished may say that all is well (seen with libvirt 9.0).
    """

    in_order = True

    def __init__(
        self,
        connection: Any,  # noqa: ANN401 - libvirt has no types
        volume: Any,  # noqa: ANN401 - libvirt has no types
        name: str,
        *,
        begin: Callable[[bytes], None] = lambda _: None,
    ) -> None:
        """Fill `volume` of `connection`; `name` is for messages, and `begin` is told of the first bytes to be sent."""
        self._connection, self._volume, self._name, self._begin = connection, volume, name, begin
        self._stream: Any = None
        self._sends_holes = True
        self._position = 0
        self._head = bytearray()

    def fileno(self) -> None:
        """There is no local file."""

    def write_at(self, offset: int, buffers: Sequence[Buffer]) -> None:
        """Write `buffers` one after the other from `offset`, which is not before the end of the last call.

        Raises:
            SpaceError: no room (``E_SPACE``).
            TargetError: the upload failed, or the order is wrong (``E_DISK_ORDER``).
        """
        if offset < self._position:
            raise TargetError(
                f"{quoted(self._name)} is written at {offset}, expected {self._position} or later", code="E_DISK_ORDER"
            )
        with translated(f"uploading {quoted(self._name)}"):
            if self._stream is None:
                self._begin(_beginning(offset, buffers))
            self._skip_to(offset)
            for buffer in buffers:
                self._send(memoryview(buffer).cast("B"))

    def finish(self, size_bytes: int) -> None:
        """All is written: send the last hole, and wait until the host has everything. Raises as `write_at`."""
        if size_bytes < self._position:
            raise TargetError(
                f"{quoted(self._name)} has {self._position} bytes already, expected {size_bytes}", code="E_SIZE"
            )
        with translated(f"uploading {quoted(self._name)}"):
            if self._stream is None:
                self._begin(_beginning(size_bytes, ()))
            self._skip_to(size_bytes)
            stream, self._stream = self._open(), None
            stream.finish()
            stored_bytes = int(self._volume.infoFlags(libvirt.VIR_STORAGE_VOL_GET_PHYSICAL)[2])
        if stored_bytes != size_bytes:
            raise self._cut_short(stored_bytes, size_bytes)

    def abort(self) -> None:
        """Break off the upload, if one is under way. One that had failed already is over as well."""
        stream, self._stream = self._stream, None
        if stream is not None:
            with suppress(libvirt.libvirtError):
                stream.abort()

    def began_with(self, head: bytes) -> bool:
        """Whether `head`, of `HEAD_BYTES` at most, is the beginning of what was uploaded, or of what was under way."""
        return self._head.startswith(head)

    def _cut_short(self, stored_bytes: int, size_bytes: int) -> TargetError:
        """The error for an upload that did not arrive whole, of which the host said nothing."""
        with translated(f"uploading {quoted(self._name)}"):
            pool = self._volume.storagePoolLookupByVolume()
        is_full = free_bytes(pool, is_local=False) < size_bytes - stored_bytes
        message = f"uploading {quoted(self._name)} failed: the host has {stored_bytes} bytes of {size_bytes}"
        if is_full:
            return SpaceError(f"{message}, and no more room", code="E_SPACE", hint=SPACE_HINT)
        return TargetError(message, code="E_IO", hint="See the log of the host's libvirt daemon for the reason.")

    def _open(self) -> Any:  # noqa: ANN401 - libvirt has no types
        """The stream, begun at the first call. A length of 0 lets the volume grow with what is sent."""
        if self._stream is None:
            stream = self._connection.newStream(0)
            self._sends_holes = False
            with absent_is_fine(libvirt.VIR_ERR_INVALID_ARG, libvirt.VIR_ERR_ARGUMENT_UNSUPPORTED):
                self._volume.upload(stream, 0, 0, libvirt.VIR_STORAGE_VOL_UPLOAD_SPARSE_STREAM)
                self._sends_holes = True
            if not self._sends_holes:
                self._volume.upload(stream, 0, 0, 0)
            self._stream = stream
        return self._stream

    def _skip_to(self, offset: int) -> None:
        """Send what lies between the last byte and `offset`: nothing but zeros."""
        stream, gap = self._open(), offset - self._position
        if gap and self._sends_holes:
            self._remember(_ZEROS[: min(gap, HEAD_BYTES)])
            stream.sendHole(gap, 0)
            self._position = offset
        while self._position < offset:
            self._send(memoryview(_ZEROS)[: offset - self._position])

    def _send(self, data: memoryview) -> None:
        stream = self._open()
        self._remember(data)
        while data:
            sent = stream.send(bytes(data[:_CHUNK_BYTES]))
            self._position += sent
            data = data[sent:]

    def _remember(self, data: Buffer) -> None:
        if room := HEAD_BYTES - len(self._head):
            self._head += data[:room]


def _beginning(offset: int, buffers: Sequence[Buffer]) -> bytes:
    """The first bytes of an upload, `HEAD_BYTES` if it begins with so many: zeros up to `offset`, then `buffers`."""
    head = bytearray(min(offset, HEAD_BYTES))
    for buffer in buffers:
        head += memoryview(buffer).cast("B")[: HEAD_BYTES - len(head)]
    return bytes(head)
