"""Volumes: made empty by libvirt, filled by us, in place where we can.

libvirt makes the volume, because only it can refuse a name that is taken on every host; as a raw file without data, so
that it lays nothing out under us. Its real format is seen when the pool is refreshed. Its first length is a random
number that the journal has already: until more is known, the volume is known by that.
"""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from typing import Any, Final
from xml.etree import ElementTree as ET

import libvirt

from virt_ova.disk.sink import FileSink, examined
from virt_ova.errors import TargetError
from virt_ova.kernel import file_identity, has_identity, seal_of
from virt_ova.plan.inputs import Backing
from virt_ova.plan.plan import ImageFormat
from virt_ova.target.libvirt.errors import absent_is_fine, translated
from virt_ova.target.libvirt.lifeline import Lifeline, when_free
from virt_ova.target.libvirt.records import vol_delete, volume_record
from virt_ova.target.libvirt.stream import HEAD_BYTES, StreamSink
from virt_ova.target.record import Note, Record
from virt_ova.text import quoted
from virt_ova.undo import Made, take_back

_FIRST_LENGTHS: Final = range(1 << 20, 1 << 31)
"""What a volume's first length is chosen from: every file system takes a file without data that long."""


class LibvirtVolume:
    """A volume that was made by us."""

    def __init__(
        self,
        *,
        pool: str,
        volume: Any,  # noqa: ANN401 - libvirt has no types
        sink: FileSink | StreamSink,
        lifeline: Lifeline,
        image_format: ImageFormat,
        backing: Backing | None = None,
        first_length: int = 0,
    ) -> None:
        """Own `volume`, made with `first_length`, and `sink`; use `create_volume`."""
        self._pool, self._volume, self._sink, self._lifeline = pool, volume, sink, lifeline
        self.image_format, self.backing, self._first_length = image_format, backing, first_length
        self._name, self._path = str(volume.name()), str(volume.path())

    @property
    def name(self) -> str:
        """Its name in the pool."""
        return self._name

    @property
    def path(self) -> str:
        """Its file on the host."""
        return self._path

    @property
    def pool(self) -> str:
        """The pool's name."""
        return self._pool

    @property
    def sink(self) -> FileSink | StreamSink:
        """Takes the image's bytes."""
        return self._sink

    def seal(self) -> Record:
        """What the volume is known by now that it is complete."""
        if isinstance(self._sink, StreamSink):
            return volume_record(self._pool, self._name, changed=changed_of(self._volume))
        path = self._sink.path
        self._sink.check_present()
        with examined(path):
            return volume_record(self._pool, self._name, file=file_identity(path), sealed=seal_of(path))

    def read(self, length: int) -> bytes:
        """Its first bytes, `length` if it has so many. Raises `TargetError`."""
        return head_of(self._volume.connect(), self._volume, length)

    def discard(self) -> None:
        """Remove the volume, whatever state it is in.

        Raises:
            TargetError: it stays; or its name now belongs to another file, which is left alone (``E_CHANGED``).
        """
        match self._sink:
            case FileSink():
                self._sink.close()
                if os.path.lexists(self._path) and not self._sink.is_present():
                    raise TargetError(
                        f"{quoted(self._path)} was replaced by another file; it is left", code="E_CHANGED"
                    )
            case StreamSink():
                self._sink.abort()
        by_hand = vol_delete(self._pool, self._name)
        self._lifeline.take_back(lambda: delete(self._volume, self._name), self._discard_anew, by_hand=by_hand)

    def _discard_anew(self, connection: Any) -> None:  # noqa: ANN401 - libvirt has no types
        """Remove the volume over another connection, where it must be looked for by its name.

        So what is found is removed only if it is the file that is open here, or has not a byte that was not uploaded.
        """
        with translated(f"looking for the storage pool {quoted(self._pool)}"):
            pool = connection.storagePoolLookupByName(self._pool)
        if (found := find_volume(pool, self._name)) is None:
            return
        if isinstance(self._sink, StreamSink) and not self._is_ours(connection, found, self._sink):
            raise TargetError(
                f"the volume {quoted(self._name)} does not begin with what was uploaded; it is left", code="E_CHANGED"
            )
        delete(found, self._name)

    def _is_ours(self, connection: Any, found: Any, sink: StreamSink) -> bool:  # noqa: ANN401 - libvirt has no types
        """Whether a volume of that name is as it was made, or begins with what was uploaded."""
        return length_of(found) == self._first_length or sink.began_with(head_of(connection, found))


def create_volume(
    connection: Any,  # noqa: ANN401 - libvirt has no types
    pool: Any,  # noqa: ANN401 - libvirt has no types
    name: str,
    image_format: ImageFormat,
    *,
    lifeline: Lifeline,
    note: Note,
    in_place: bool,
    backing: Backing | None = None,
) -> LibvirtVolume:
    """Make the empty volume `name`, to be written in place where that is allowed and possible, and to lie on `backing`.

    `note` is told what it is known by, now and whenever that changes.

    Raises:
        TargetError: the name is taken (``E_EXISTS``), or libvirt refuses.
        SpaceError: no room (``E_SPACE``).
    """
    with translated(f"making the volume {quoted(name)}"):
        if _exists(pool, name):
            raise volume_exists(name, pool.name())
        length = secrets.choice(_FIRST_LENGTHS)
        note(volume_record(pool.name(), name, length=length))
        volume = _make(pool, name, length)
    try:
        with translated(f"making the volume {quoted(name)}"):
            if (sink := _sink_in_place(volume, length) if in_place else None) is not None:
                with examined(sink.path):
                    note(volume_record(pool.name(), name, file=file_identity(sink.path)))
                sink.empty()
            return LibvirtVolume(
                pool=pool.name(),
                volume=volume,
                sink=sink or _stream(connection, pool.name(), volume, length, note),
                lifeline=lifeline,
                image_format=image_format,
                backing=backing,
                first_length=length,
            )
    except BaseException as exc:
        take_back([Made(what=f"volume {name}", discard=lambda: delete(volume, name))], exc)
        raise


def adopt_volume(
    connection: Any,  # noqa: ANN401 - libvirt has no types
    pool: Any,  # noqa: ANN401 - libvirt has no types
    record: Record,
    image_format: ImageFormat,
    *,
    lifeline: Lifeline,
) -> LibvirtVolume | None:
    """The volume that was sealed as `record`; None when it is not there, or was changed since. Raises `TargetError`."""
    key = record.key
    if key["pool"] != pool.name() or (volume := find_volume(pool, record.name)) is None:
        return None
    if "sealed" in key:
        path = Path(volume.path())
        with examined(path):
            if not has_identity(path, key["file"]) or seal_of(path) != key["sealed"]:
                return None
        file = FileSink.adopt(path)
        file.close()
        sink: FileSink | StreamSink = file
    elif changed_of(volume) == key.get("changed"):
        sink = StreamSink(connection, volume, record.name)
    else:
        return None
    return LibvirtVolume(pool=key["pool"], volume=volume, sink=sink, lifeline=lifeline, image_format=image_format)


def _stream(connection: Any, pool: str, volume: Any, length: int, note: Note) -> StreamSink:  # noqa: ANN401 - libvirt has no types
    """A sink that uploads, and tells `note` of the beginning before it sends it."""
    name = str(volume.name())

    def begin(head: bytes) -> None:
        note(volume_record(pool, name, length=length, head=head))
        volume.resize(0, libvirt.VIR_STORAGE_VOL_RESIZE_SHRINK)

    return StreamSink(connection, volume, name, begin=begin)


def _make(pool: Any, name: str, length: int) -> Any:  # noqa: ANN401 - libvirt has no types
    """The volume `name`. Raises what libvirt raises, and `TargetError` for a file that it does not list."""
    try:
        return pool.createXML(_volume_xml(name, length), 0)
    except libvirt.libvirtError as exc:
        if exc.get_error_code() == libvirt.VIR_ERR_OPERATION_INVALID and pool.isActive():
            raise TargetError(
                f"the folder of the storage pool {quoted(pool.name())} has a file {quoted(name)}, "
                "which libvirt does not list",
                code="E_EXISTS",
                hint="Choose another name with --name, or remove that file.",
            ) from exc
        raise


def delete(volume: Any, name: str) -> None:  # noqa: ANN401 - libvirt has no types
    """Delete a volume that may be gone already. Raises `TargetError` when it stays."""
    with translated(f"removing the volume {quoted(name)}"), absent_is_fine(libvirt.VIR_ERR_NO_STORAGE_VOL):
        when_free(lambda: volume.delete(0))


def find_volume(pool: Any, name: str) -> Any:  # noqa: ANN401 - libvirt has no types
    """The volume `name` of `pool`, or None. Raises `TargetError`."""
    with translated(f"looking for the volume {quoted(name)}"), absent_is_fine(libvirt.VIR_ERR_NO_STORAGE_VOL):
        return pool.storageVolLookupByName(name)
    return None


def volume_exists(name: str, pool: str) -> TargetError:
    """The error for a volume's name that is taken."""
    return TargetError(
        f"the storage pool {quoted(pool)} has a volume {quoted(name)} already",
        code="E_EXISTS",
        hint="Choose another name with --name, or remove that volume.",
    )


def _exists(pool: Any, name: str) -> bool:  # noqa: ANN401 - libvirt has no types
    return find_volume(pool, name) is not None


def head_of(connection: Any, volume: Any, length: int = HEAD_BYTES) -> bytes:  # noqa: ANN401 - libvirt has no types
    """The first bytes of a volume, `length` if it has so many. Raises `TargetError`."""
    head = bytearray()
    with translated("reading a volume"):
        stream = connection.newStream(0)
        volume.download(stream, 0, length, 0)
        while chunk := stream.recv(length):
            head += chunk
        stream.finish()
    return bytes(head)


def changed_of(volume: Any) -> str:  # noqa: ANN401 - libvirt has no types
    """When a volume's file was written last, in seconds with nine decimals. Raises `TargetError`."""
    with translated("reading a volume"):
        described = ET.fromstring(volume.XMLDesc(0))  # noqa: S314 - libvirt made it
    return described.findtext("target/timestamps/mtime", "")


def length_of(volume: Any) -> int:  # noqa: ANN401 - libvirt has no types
    """Length of a volume's file in bytes. Raises `TargetError`."""
    with translated("reading a volume"):
        return int(volume.infoFlags(libvirt.VIR_STORAGE_VOL_GET_PHYSICAL)[2])


def _volume_xml(name: str, length: int) -> str:
    """A file without data: libvirt neither reserves space nor writes metadata, and what is sent makes it grow."""
    volume = ET.Element("volume")
    ET.SubElement(volume, "name").text = name
    ET.SubElement(volume, "capacity", {"unit": "B"}).text = str(length)
    ET.SubElement(volume, "allocation", {"unit": "B"}).text = "0"
    ET.SubElement(ET.SubElement(volume, "target"), "format", {"type": "raw"})
    return ET.tostring(volume, encoding="unicode")


def _sink_in_place(volume: Any, length: int) -> FileSink | None:  # noqa: ANN401 - libvirt has no types
    """The volume's own file, if it can be written from here; None if not.

    A path can name another file here than where the daemon runs (a container, another mount namespace). It is the same
    file when it has the volume's first length and was changed in the very nanosecond that the daemon reports.
    """
    path, changed = Path(volume.path()), changed_of(volume)
    try:
        sink = FileSink.adopt(path)
    except TargetError:
        return None
    status = os.fstat(sink.fileno())
    written = f"{status.st_mtime_ns // 10**9}.{status.st_mtime_ns % 10**9:09d}"
    if status.st_size == length and changed == written:
        return sink
    sink.close()
    return None
