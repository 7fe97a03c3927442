"""The story of an export: one machine of a hypervisor becomes an OVA.

    the hypervisor lets the machine go -> a draft of its descriptor -> each file, into its place -> descriptor, manifest
    -> the package is read once more -> the hypervisor agrees -> the file gets its name

Each byte comes once and is written once. Nothing has the name that was asked for before all of it is there, durable,
and a package that can be read; whatever goes wrong before, the file is removed and the machine let go.
"""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from itertools import count
from pathlib import Path
from typing import Final

from virt_ova.disk.base import DiskFormat
from virt_ova.disk.opener import open_disk
from virt_ova.disk.sink import FileSink, examined, file_error
from virt_ova.errors import DescriptorError, DiskError, PackageError, PlanError, TargetError, VirtOvaError
from virt_ova.findings import Finding, Severity
from virt_ova.interrupt import held_back
from virt_ova.ovf.reader import read_envelope
from virt_ova.package.package import PackageDisk, open_package
from virt_ova.package.writer import OvaMember, OvaWriter, WrittenFile
from virt_ova.plan.naming import machine_name
from virt_ova.progress import Monitor, SilentMonitor
from virt_ova.stories.journal import Journal, begin_new_file
from virt_ova.stories.placement import check_capacity
from virt_ova.target.exporting import Description, Export, Exporter, OfferedFile, PackedFile
from virt_ova.target.importing import Ask
from virt_ova.target.newfile import NewFile
from virt_ova.target.registry import open_exporter
from virt_ova.text import printable, quoted
from virt_ova.units import KIB

ALGORITHMS: Final = ("SHA256", "SHA1", "SHA512")
"""What a manifest can be made of."""

ATTEMPTS: Final = 5
"""How often a file is asked for when its transfer breaks off."""

PAUSE_SECONDS: Final = 2.0
"""Before the second attempt; twice as long before the third, and so on."""

_IMAGES: Final = frozenset({".iso", ".img", ".flp"})
_UNKNOWN_BYTES: Final = 1 << 40
"""Size of a file in the draft, when nobody knows it: as many digits as it may have."""

_SLACK_BYTES: Final = 4 * KIB
_SLACK_BYTES_PER_FILE: Final = 128
"""By how much the descriptor may be longer than its draft: by the digits of sizes, and those that a draft lacks."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ExportOptions:
    """Choices of an export.

    Attributes:
        algorithm: of the manifest, one of `ALGORITHMS`.
        images: whether images in CD and floppy drives are taken along.
    """

    algorithm: str = "SHA256"
    images: bool = True


@dataclass(frozen=True, kw_only=True, slots=True)
class ExportedDisk:
    """A disk of the package: its id in the descriptor, its file, and the size of the guest's disk."""

    id: str
    file_name: str
    file_size: int
    capacity_bytes: int


@dataclass(frozen=True, kw_only=True, slots=True)
class ExportResult:
    """A machine that was exported.

    Attributes:
        machine: its name.
        path: the new package.
        size_bytes: of the package.
        algorithm: of the manifest.
        files: descriptor and files, with their digests; the manifest lists them.
        disks: of the package.
        findings: what the hypervisor remarked, and what was left out.
        elapsed_seconds: from connecting to the end.
    """

    machine: str
    path: Path
    size_bytes: int
    algorithm: str
    files: tuple[WrittenFile, ...]
    disks: tuple[ExportedDisk, ...]
    findings: tuple[Finding, ...]
    elapsed_seconds: float


def export(
    uri: str,
    domain: str,
    output: str | os.PathLike[str],
    *,
    options: ExportOptions | None = None,
    monitor: Monitor | None = None,
    ask: Ask | None = None,
) -> ExportResult:
    """Write the machine `domain`, which is powered off, to the new OVA `output`.

    Args:
        uri: connection URI of its hypervisor (``esx://root@esx.example/``).
        domain: its name there.
        output: a file that does not exist yet, whose name ends in ``.ova``.
        options: choices; the defaults when None.
        monitor: is told of progress.
        ask: asks a person for the user name and the password, when nothing else has them; None when nobody is there.

    Raises:
        VirtOvaError: it failed, `output` is not there, and the machine was let go.
        RollbackError: it failed, and the file could not be removed.
    """
    started, listener, choices = time.monotonic(), monitor or SilentMonitor(), options or ExportOptions()
    path = _checked(output, choices)
    with (
        closing(open_exporter(uri, ask=ask)) as exporter,
        _begun(exporter, domain, listener) as machine,
        Journal(listener) as journal,
    ):
        packing = _Packing(machine, stem=_stem(domain), options=choices, monitor=listener)
        file = NewFile(path)
        logbook = begin_new_file(journal, file, package=domain, monitor=listener)
        sink = journal.make(f"file {printable(str(path))}", file.create_hidden)
        files = packing.write(sink)
        size_bytes, disks, remarks = _read_again(sink.path, path.name)
        with held_back():
            machine.complete()
            sink.publish(path)
            if logbook:
                logbook.note_defined()
        journal.keep()
    return ExportResult(
        machine=domain,
        path=path,
        size_bytes=size_bytes,
        algorithm=choices.algorithm,
        files=files,
        disks=disks,
        findings=(*packing.findings, *remarks),
        elapsed_seconds=round(time.monotonic() - started, 3),
    )


@contextmanager
def _begun(exporter: Exporter, name: str, monitor: Monitor) -> Iterator[Export]:
    """The machine `name`, ready to give files; it is let go when the block fails."""
    begun: list[Export] = []
    step = "Waiting for the server"
    monitor.begin(step)
    try:
        with held_back() as held:
            begun.append(exporter.begin(name))
            begun[0].wait(held)
        monitor.end(step)
        yield begun[0]
    except BaseException:
        with held_back():
            for machine in begun:
                _let_go(machine, monitor)
        raise


def _let_go(machine: Export, monitor: Monitor) -> None:
    """Break the export off; who cannot be told of it notices by himself."""
    try:
        machine.discard()
    except TargetError as exc:
        monitor.note(f"{exc.message}; the server lets the machine go by itself after some minutes")


class _Packing:
    """A machine's way into a package.

    Attributes:
        findings: what is worth telling so far.
    """

    def __init__(self, machine: Export, *, stem: str, options: ExportOptions, monitor: Monitor) -> None:
        """Let the hypervisor describe the machine; nothing is written yet."""
        self._machine, self._stem, self._options, self._monitor = machine, stem, options, monitor
        self._resumed: set[str] = set()
        offered = _named(stem, [each for each in machine.files if options.images or each.ending not in _IMAGES])
        draft = machine.describe(offered)
        self._files, self.findings = _agreed(draft, offered)
        self._room_bytes = len(draft.descriptor.encode()) + _SLACK_BYTES + len(offered) * _SLACK_BYTES_PER_FILE

    def write(self, sink: FileSink) -> tuple[WrittenFile, ...]:
        """Fill `sink` with the package, and make it durable.

        Raises:
            TargetError: a file cannot be had, or is not what the hypervisor says (``E_EXPORT``).
        """
        names, algorithm = [each.name for each in self._files], self._options.algorithm
        writer = OvaWriter(sink, stem=self._stem, names=names, room_bytes=self._room_bytes, algorithm=algorithm)
        written = []
        for file in self._files:
            member = writer.begin(file.name, also=("SHA1",))
            self._fetch(file, member)
            written.append(writer.end(member))
        self._compare(written)
        packed = [replace(each, size_bytes=done.size) for each, done in zip(self._files, written, strict=True)]
        described = self._machine.describe(packed)
        self.findings = (*described.findings, *self.findings)
        return writer.finish(described.descriptor.encode())

    def _fetch(self, file: PackedFile, member: OvaMember) -> None:
        """The whole of a file; a transfer that breaks off is taken up, or begun again, some times."""
        step = f"Reading {file.name}"
        self._monitor.begin(step, file.file.size_bytes)
        for attempt in range(1, ATTEMPTS + 1):
            try:
                self._take(file, member, partial(self._monitor.advance, step))
                break
            except TargetError as exc:
                self._machine.check()
                if exc.code != "E_CONNECT":
                    raise
                if attempt == ATTEMPTS:
                    raise _given_up(exc) from exc
                self._monitor.note(f"{exc.message}; trying again")
            time.sleep(PAUSE_SECONDS * attempt)
        self._monitor.end(step)

    def _take(self, file: PackedFile, member: OvaMember, advance: Callable[[int], None]) -> None:
        begun = member.size
        with closing(self._machine.open_file(file.file, begun, name=file.name)) as stream:
            if stream.start:
                self._resumed.add(file.name)
            else:
                member.restart()
            member.take(stream.read, advance)

    def _compare(self, written: Sequence[WrittenFile]) -> None:
        """Refuse what the hypervisor says it sent otherwise; it cannot tell of what came in several parts."""
        said = self._machine.digests()
        for file, done in zip(self._files, written, strict=True):
            for algorithm, digest in said.get(file.file.key, {}).items():
                if done.name not in self._resumed and done.digests.get(algorithm, digest) != digest:
                    raise TargetError(
                        f"the {algorithm} of {quoted(done.name)} is {done.digests[algorithm]}, "
                        f"expected {digest} as the server says",
                        code="E_EXPORT",
                        hint="The file was damaged on its way: export the machine again.",
                    )


def _checked(output: str | os.PathLike[str], options: ExportOptions) -> Path:
    """Where the package goes, if that and the options make sense."""
    if options.algorithm not in ALGORITHMS:
        raise PlanError(
            f"found the algorithm {quoted(options.algorithm)}, expected one of {', '.join(ALGORITHMS)}", code="E_OPTION"
        )
    path = Path(output)
    if path.suffix.lower() != ".ova":
        raise PlanError(
            f"found the output {quoted(str(path))}, expected a file whose name ends in .ova",
            code="E_OPTION",
            hint="An export is finished at its beginning, so it cannot go into a pipe; tar -xf makes a folder of it.",
        )
    with examined(path):
        is_taken, has_folder = os.path.lexists(path), path.parent.is_dir()
    if is_taken or not has_folder:
        raise file_error(OSError(errno.EEXIST if is_taken else errno.ENOENT, ""), path, "made")
    return path


def _stem(domain: str) -> str:
    """How names of files begin."""
    return machine_name(domain).replace(" ", "-")


def _named(stem: str, offered: Sequence[OfferedFile]) -> list[PackedFile]:
    """The files by the names that ovftool gives them."""
    disks, others = count(1), count(1)
    return [
        PackedFile(
            file=each,
            name=f"{stem}-disk{next(disks)}.vmdk" if each.is_disk else f"{stem}-file{next(others)}{each.ending}",
            size_bytes=each.size_bytes or _UNKNOWN_BYTES,
        )
        for each in offered
    ]


def _agreed(draft: Description, offered: Sequence[PackedFile]) -> tuple[list[PackedFile], tuple[Finding, ...]]:
    """The files that the draft names, in its order, which is that of the package; and what it leaves out."""
    try:
        names = [file.href for file in read_envelope(draft.descriptor.encode()).files]
    except DescriptorError as exc:
        raise _unreadable(str(exc)) from exc
    by_name = {each.name: each for each in offered}
    if strange := [name for name in names if name not in by_name]:
        raise _unreadable(f"the descriptor names the file {quoted(strange[0])}, expected one that the lease has")
    findings = (
        Finding(
            code="EXPORT_LEFT",
            severity=Severity.WARNING if each.file.is_disk else Severity.INFO,
            message=f"the descriptor does not name the file {quoted(each.name)}, which is left out",
            where=printable(each.file.key),
        )
        for each in offered
        if each.name not in names
    )
    return [by_name[name] for name in dict.fromkeys(names)], tuple(findings)


def _read_again(temporary: Path, name: str) -> tuple[int, tuple[ExportedDisk, ...], tuple[Finding, ...]]:
    """Size, disks and weaknesses of the package, read as any other, with the tables of its disks."""
    try:
        with open_package(temporary) as package:
            findings = [replace(each, where=each.where.replace(temporary.name, name)) for each in package.findings]
            broken = [each.message for each in findings if each.severity is Severity.ERROR]
            disks = tuple(_exported(disk) for disk in package.disks if disk.file)
            size_bytes = sum(source.size for source in package.archive.sources)
    except VirtOvaError as exc:
        raise _unreadable(str(exc).replace(temporary.name, name)) from exc
    if broken:
        raise _unreadable(broken[0])
    return size_bytes, disks, tuple(findings)


def _exported(disk: PackageDisk) -> ExportedDisk:
    """The disk, if it is one that was sent, and whole: its tables stand at its end. Raises `VirtOvaError`."""
    member = disk.require_member()
    reader = open_disk(member)
    if reader.format is not DiskFormat.VMDK_STREAM:
        raise DiskError(
            f"found a {reader.format} image of {member.size} bytes, expected a stream-optimized VMDK",
            code="E_DISK_TYPE",
            where=member.name,
        )
    block_map = reader.block_map
    check_capacity(member, block_map, disk.capacity_bytes)
    return ExportedDisk(
        id=disk.id, file_name=member.name, file_size=member.size, capacity_bytes=block_map.capacity_bytes
    )


def _unreadable(problem: str) -> PackageError:
    return PackageError(
        f"what the server gives is no package that can be read: {problem}",
        code="E_EXPORT",
        hint="Export the machine again; if it fails in the same place, look at the events of the host or vCenter.",
    )


def _given_up(exc: TargetError) -> TargetError:
    return TargetError(
        f"{exc.message}; that was attempt {ATTEMPTS} of {ATTEMPTS}",
        code=exc.code,
        hint="Look at the network between here and the host, then export the machine again.",
    )
