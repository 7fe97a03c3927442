"""Volumes that the host itself expands.

The package's stream-optimized VMDK is uploaded as it is, into a volume that lasts only until libvirt has made the real
one from it (``virStorageVolCreateXMLFrom``, which runs qemu-img there). So only compressed bytes cross the line, but
for a while the pool holds the disk twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final
from xml.etree import ElementTree as ET

from virt_ova.disk.base import Buffer
from virt_ova.errors import TargetError
from virt_ova.plan.plan import ImageFormat
from virt_ova.target.libvirt import pool as pools
from virt_ova.target.libvirt.errors import translated
from virt_ova.target.libvirt.lifeline import Lifeline
from virt_ova.target.libvirt.records import expanded_record, vol_delete
from virt_ova.target.libvirt.volume import LibvirtVolume, changed_of, delete, find_volume
from virt_ova.target.record import Note, Record
from virt_ova.text import quoted
from virt_ova.undo import discard_all

_UPLOADED: Final = "vmdk"
_QCOW2_VERSION: Final = "1.1"
"""As libvirt calls version 3; it makes version 2 unless told otherwise."""


def upload_name(name: str) -> str:
    """Name of the volume that `name` is made from."""
    return f"{name}.upload"


class HostExpandedVolume:
    """A volume to be made by the host, and its own sink: it takes the disk as it is in the package."""

    backing = None
    in_order = True

    def __init__(
        self,
        *,
        upload: LibvirtVolume,
        pool: Any,  # noqa: ANN401 - libvirt has no types
        lifeline: Lifeline,
        note: Note,
        path: Path,
        image_format: ImageFormat,
        capacity_bytes: int,
    ) -> None:
        """Own `upload`, an empty volume of `pool`; `note` is told of `path`, which the host makes of it."""
        self._upload, self._pool_handle, self._lifeline, self._note = upload, pool, lifeline, note
        self._path, self._name = str(path), path.name
        self.image_format, self._capacity = image_format, capacity_bytes
        self._made: Any = None
        self._has_begun = False
        self._record: Record | None = None

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
        return self._upload.pool

    @property
    def sink(self) -> HostExpandedVolume:
        """Takes the bytes of the package's disk."""
        return self

    def fileno(self) -> None:
        """There is no local file."""

    def write_at(self, offset: int, buffers: Sequence[Buffer]) -> None:
        """See `virt_ova.disk.base.Sink.write_at`."""
        self._upload.sink.write_at(offset, buffers)

    def finish(self, size_bytes: int) -> None:
        """Finish the upload, let the host expand it, and remove it. Takes as long as the host needs.

        Raises:
            TargetError: the host does not take what was sent for a disk of the size that it has, or cannot expand it.
            SpaceError: no room (``E_SPACE``).
        """
        self._upload.sink.finish(size_bytes)
        source = self._recognized()
        record = partial(
            expanded_record, self.pool, self._name, capacity_bytes=self._capacity, uploaded=changed_of(source)
        )
        self._note(record())
        self._has_begun = True
        with translated(f"expanding {quoted(self._name)} on the host"):
            self._made = self._pool_handle.createXMLFrom(self._description(), source, 0)
        self._record = record(changed=changed_of(self._made))
        self._note(self._record)
        self._upload.discard()

    def seal(self) -> Record:
        """What the volume that the host made is known by."""
        assert self._record is not None  # noqa: S101 - it is complete
        return self._record

    def discard(self) -> None:
        """Remove what there is.

        Raises:
            TargetError: something stays.
        """
        discard_all(self._discard_made, self._upload.discard)

    def _discard_made(self) -> None:
        """Remove what the host made, if it began to."""
        if self._has_begun:
            by_hand = vol_delete(self.pool, self._name)
            self._lifeline.take_back(self._delete_made, self._check_absent, by_hand=by_hand)

    def _delete_made(self) -> None:
        """Remove the volume; when there is none, libvirt has removed what it began, or its answer was lost."""
        if self._made is not None:
            delete(self._made, self._name)
        else:
            find_volume(self._pool_handle, self._name)

    def _check_absent(self, connection: Any) -> None:  # noqa: ANN401 - libvirt has no types
        """Over another connection the volume cannot be told from another one of its name, so there must be none."""
        with translated(f"looking for the storage pool {quoted(self.pool)}"):
            pool = connection.storagePoolLookupByName(self.pool)
        if find_volume(pool, self._name) is not None:
            raise TargetError(
                f"the connection was lost while the host made the volume {quoted(self._name)}, and one is there",
                code="E_CHANGED",
            )

    def _description(self) -> str:
        """A volume that takes up no more than its data."""
        volume = ET.Element("volume")
        ET.SubElement(volume, "name").text = self._name
        ET.SubElement(volume, "capacity", {"unit": "B"}).text = str(self._capacity)
        ET.SubElement(volume, "allocation", {"unit": "B"}).text = "0"
        target = ET.SubElement(volume, "target")
        ET.SubElement(target, "format", {"type": self.image_format})
        if self.image_format is ImageFormat.QCOW2:
            ET.SubElement(target, "compat").text = _QCOW2_VERSION
        return ET.tostring(volume, encoding="unicode")

    def _recognized(self) -> Any:  # noqa: ANN401 - libvirt has no types
        """The uploaded volume, as libvirt sees it now that it has content."""
        name = self._upload.name
        if not pools.refresh(self._pool_handle):
            raise TargetError(
                f"the storage pool {quoted(self.pool)} cannot be refreshed because another job works in it",
                code="E_POOL",
                hint="Wait for it and install again, or use --disk-mode transplant.",
            )
        source = find_volume(self._pool_handle, name)
        with translated(f"reading the volume {quoted(name)}"):
            described = ET.fromstring(source.XMLDesc(0))  # noqa: S314 - libvirt made it
        kind = described.find("target/format")
        found = ("" if kind is None else kind.get("type", ""), int(described.findtext("capacity", "0")))
        if found != (_UPLOADED, self._capacity):
            raise TargetError(
                f"the host takes what was uploaded for a {found[0]} disk of {found[1]} bytes, "
                f"expected {_UPLOADED}, {self._capacity}",
                code="E_NOT_SUPPORTED",
                hint="Use --disk-mode expand or transplant.",
            )
        return source
