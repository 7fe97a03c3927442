"""What a hypervisor is that its machines can be exported from.

An `Exporter` describes a machine in OVF and gives its files away, as bytes from front to back; it never sees a tar. The
counterpart is `virt_ova.target.importing`.

The order of calls: ``begin``; ``wait``; ``describe`` for a draft; ``open_file`` for each file that the draft names, and
again where a transfer broke off; ``digests``; ``describe`` with the sizes that the files really have; ``complete``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from virt_ova.findings import Finding
from virt_ova.interrupt import Held
from virt_ova.target.importing import Ask


@dataclass(frozen=True, kw_only=True, slots=True)
class OfferedFile:
    """A file of a machine.

    Attributes:
        key: the hypervisor's word for what it belongs to.
        ending: of its name there, as ``.nvram``; lower case, perhaps empty.
        is_disk: whether it is a stream-optimized VMDK.
        size_bytes: None when the hypervisor does not know it before it has sent the file.
    """

    key: str
    ending: str
    is_disk: bool
    size_bytes: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class PackedFile:
    """An offered `file` as it is in the package: its name there, and its size."""

    file: OfferedFile
    name: str
    size_bytes: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Description:
    """A machine in OVF, and what the hypervisor remarks."""

    descriptor: str
    findings: tuple[Finding, ...]


class FileStream(Protocol):
    """The bytes of a file on their way."""

    @property
    def start(self) -> int:
        """Where in the file it began: where it was asked to, or at 0 when it cannot go on there."""

    def read(self, size: int) -> bytes:
        """The next bytes, at most `size`; none at the end.

        Raises:
            TargetError: the transfer broke off, and may be tried again (``E_CONNECT``); or it failed.
        """

    def close(self) -> None:
        """Release the connection."""


class Export(Protocol):
    """A machine that is being exported."""

    def wait(self, held: Held) -> None:
        """Wait until it gives files; meanwhile a stop signal may end the wait. Raises `TargetError`."""

    @property
    def files(self) -> Sequence[OfferedFile]:
        """What it has, once it was waited for."""

    def describe(self, files: Sequence[PackedFile]) -> Description:
        """The machine with those files.

        Raises:
            TargetError: it cannot be described (``E_EXPORT``).
        """

    def open_file(self, file: OfferedFile, start: int, *, name: str) -> FileStream:
        """Begin to read `file`, from byte `start` if possible; messages call it `name`.

        Raises:
            TargetError: as `FileStream.read`.
        """

    def digests(self) -> Mapping[str, Mapping[str, str]]:
        """What the hypervisor says it sent: digests in lower-case hex by algorithm, by key; may know of none.

        Raises:
            TargetError: it cannot be asked.
        """

    def check(self) -> None:
        """Raise `TargetError` when it cannot go on, whatever a file does."""

    def complete(self) -> None:
        """Everything was read. Raises `TargetError` when the hypervisor does not agree."""

    def discard(self) -> None:
        """Break it off. Raises `TargetError` when the hypervisor cannot be told."""


@runtime_checkable
class Exporter(Protocol):
    """An open connection to such a hypervisor."""

    @property
    def uri(self) -> str:
        """Its connection URI, without secrets."""

    def begin(self, name: str) -> Export:
        """Begin to export the machine `name`; nobody can start it until that is over.

        Raises:
            TargetError: there is no such machine, or more than one (``E_DOMAIN``); it runs (``E_RUNNING``).
        """

    def close(self) -> None:
        """Release the connection."""


@runtime_checkable
class ExportingDriver(Protocol):
    """What a `virt_ova.target.base.Driver` has besides when machines can be exported."""

    def open_exporter(self, uri: str, *, ask: Ask | None) -> Exporter:
        """Connect, as `Driver.open`; `ask` is None when there is nobody to ask."""
