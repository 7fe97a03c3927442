"""One disk of a package on its way into a new image.

Opening a placement reads the disk's tables and lays the image out, so that its size is known before the first byte is
written; writing it is one pass in which the manifest is checked over the very bytes that are used.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, assert_never

from virt_ova.disk.base import BlockMap, DiskFormat, DiskReader, DiskWriter, Sink
from virt_ova.disk.gzipped import examine_gzipped
from virt_ova.disk.layers import LayeredReader
from virt_ova.disk.opener import open_disk
from virt_ova.disk.pump import Hasher
from virt_ova.disk.qcow2.transplant import TransplantLayout
from virt_ova.disk.qcow2.writer import Qcow2Writer
from virt_ova.disk.raw import RawWriter
from virt_ova.disk.send import can_send
from virt_ova.disk.transplant import TooManyExpandedError, can_transplant
from virt_ova.disk.vmdk.stream import measure
from virt_ova.disk.witness import Witness
from virt_ova.errors import DiskError, TargetError
from virt_ova.findings import Finding, Severity
from virt_ova.interrupt import held_back
from virt_ova.package.package import Package
from virt_ova.package.verify import ByteCheck
from virt_ova.plan.inputs import Backing
from virt_ova.plan.plan import FOR_HYPERVISORS, DiskMode, ImageFormat
from virt_ova.source.base import Member
from virt_ova.source.joined import JoinedSource
from virt_ova.stories import ways as way
from virt_ova.stories.inflation import inflated_as_it_is, inflated_bytes, inflation
from virt_ova.stories.link import open_link
from virt_ova.stories.patience import PatientSink
from virt_ova.stories.ways import Way
from virt_ova.text import printable
from virt_ova.units import MIB, format_bytes

_BLANK_BLOCK_BYTES: Final = 64 << 10
_CAPACITY_SLACK_BYTES: Final = MIB
_DOING: Final = {DiskMode.LINK: "Linking", DiskMode.PASS_THROUGH: "Sending", DiskMode.STREAM: "Sending"}


@dataclass(kw_only=True, slots=True)
class Placement:
    """A disk that was opened, and how its image will be filled.

    Attributes:
        package: where it comes from.
        member: its file; None for a blank disk.
        capacity_bytes: size of the guest's disk.
        ways: how the image can be filled, best first; the next one is taken when one turns out not to work.
        findings: why it is not placed as it was asked.
        witness: remembers what was read of the member to open the disk; None when all is read in the pass.
    """

    package: Package
    member: Member | None
    capacity_bytes: int
    ways: list[Way]
    findings: list[Finding]
    witness: Witness | None = None

    @property
    def mode(self) -> DiskMode:
        """How it is placed."""
        return self.ways[0].mode

    @property
    def size_bytes(self) -> int:
        """Most length that the new image can have."""
        return max(way.size_bytes for way in self.ways)

    @property
    def needed_bytes(self) -> int:
        """Most room that the new image is expected to take."""
        return self.ways[0].needed_bytes

    @property
    def backing(self) -> Backing | None:
        """What its image lies on; None for one that stands alone."""
        return self.ways[0].backing

    @property
    def step(self) -> str:
        """What filling it is called."""
        done = _DOING.get(self.mode, "Copying")
        return f"{done} {printable(self.member.name)}" if self.member else "Making a blank disk"

    def write(self, sink: Sink, *, verify: bool, advance: Callable[[int], None] = lambda _: None) -> None:
        """Fill `sink`; check the manifest meanwhile when `verify` is set, and tell `advance` of every so many bytes.

        Raises:
            DigestError: the bytes differ from the manifest (``E_DIGEST``).
            DiskError: the image is damaged.
            SourceError: the package cannot be read, or changed.
            TargetError: the sink cannot be written.
        """
        try:
            self._fill(sink, advance, verify=verify)
        except TooManyExpandedError as exc:
            self.ways.pop(0)
            self.findings.append(not_transplanted(self.member, exc.message))
            self._fill(sink, advance, verify=verify)
        self.package.archive.check_unchanged()

    def _fill(self, sink: Sink, tell: Callable[[int], None], *, verify: bool) -> None:
        check = self.package.digest_check(self.member) if verify and self.member else None

        def advance(done_bytes: int) -> None:
            held.deliver()
            tell(done_bytes)

        with held_back() as held:  # an exception out of nowhere breaks the thread pool's own locks
            try:
                taker = PatientSink(sink, held) if self.mode in FOR_HYPERVISORS else sink
                self.ways[0].fill(taker, self._watched(check), advance)
            except TargetError:
                held.deliver()  # the terminal's Ctrl-C stops the ssh below a remote connection, too
                raise
        if check:
            check.finish()

    def _watched(self, check: ByteCheck | None) -> Hasher | None:
        """`check`, which is also told whether the disk is the one that was opened."""
        if self.witness and check:
            return self.witness.compare(check)
        if self.witness:
            self.witness.forget()
        return check


def open_placement(
    package: Package,
    member: Member | None,
    *,
    parents: Sequence[Member] = (),
    capacity_bytes: int | None,
    image_format: ImageFormat,
    mode: DiskMode = DiskMode.EXPAND,
) -> Placement:
    """Open a disk and lay out its image.

    Args:
        package: where it comes from.
        member: its file; None for a blank disk.
        parents: the files of the disks that it holds the difference to, the nearest first; none for a whole disk.
        capacity_bytes: size that the descriptor declares; None when it declares none.
        image_format: of the new image.
        mode: how it is to be placed; another way is taken, with a finding, when the disk does not allow it.

    Raises:
        DiskError: the image is damaged, unsafe, its size is not the one declared (``E_DISK_CAPACITY``), it cannot be
            linked (``E_DISK_LINK``), or is a difference that is not read (``E_NOT_SUPPORTED``).
        SourceError: the member cannot be read.
    """
    if member is None:
        blank = _blank(capacity_bytes)
        ways = [way.blank(_writer(blank, image_format))]
        return Placement(package=package, member=None, capacity_bytes=blank.capacity_bytes, ways=ways, findings=[])
    if mode in FOR_HYPERVISORS:
        return _open_sent(package, member, capacity_bytes, mode)
    if parents:
        return _open_layered(package, (member, *parents), capacity_bytes, image_format, mode)
    if package.compression_of(member):
        return _open_gzipped(package, member, capacity_bytes, image_format, mode)
    witness = Witness(member)
    reader = open_disk(witness.member)
    if mode is DiskMode.LINK:
        block_map, link = open_link(package, member, reader, image_format)
        check_capacity(member, block_map, capacity_bytes)
        return Placement(
            package=package, member=member, capacity_bytes=block_map.capacity_bytes, ways=[link], findings=[]
        )
    check_capacity(member, reader.block_map, capacity_bytes)
    ways, findings = _choose_ways(witness.member, reader, image_format, mode)
    return Placement(
        package=package,
        member=member,
        capacity_bytes=reader.block_map.capacity_bytes,
        ways=ways,
        findings=findings,
        witness=witness,
    )


def _open_sent(package: Package, member: Member, declared_bytes: int | None, mode: DiskMode) -> Placement:
    """As `open_placement`, for a hypervisor that takes packages: a disk as a stream-optimized VMDK, a file as it is."""
    if package.compression_of(member):
        return _open_sent_gzipped(package, member, declared_bytes, mode)
    if mode is DiskMode.PASS_THROUGH:
        ways = [way.pass_through(member, None)]
        return Placement(package=package, member=member, capacity_bytes=member.size, ways=ways, findings=[])
    witness = Witness(member)
    reader = open_disk(witness.member)
    check_capacity(member, reader.block_map, declared_bytes)
    capacity_bytes, findings = reader.block_map.capacity_bytes, []
    chosen = way.pass_through(witness.member, reader)
    if not can_send(reader):
        chosen = way.restream(witness.member, reader, measure(witness.member, reader))
        message = f"a {reader.format} disk is sent as a stream-optimized VMDK, which is what the hypervisor reads"
        where = printable(member.name)
        findings = [Finding(code="DISK_STREAMED", severity=Severity.INFO, message=message, where=where)]
    return Placement(
        package=package,
        member=member,
        capacity_bytes=capacity_bytes,
        ways=[chosen],
        findings=findings,
        witness=witness,
    )


def _open_sent_gzipped(package: Package, member: Member, declared_bytes: int | None, mode: DiskMode) -> Placement:
    """As `_open_sent`, for a file that is compressed as a whole: what is sent is what it holds."""
    disk = examine_gzipped(member, declared_bytes=declared_bytes)
    if mode is DiskMode.STREAM:
        check_capacity(member, disk.block_map, declared_bytes)
        if disk.format is not DiskFormat.VMDK_STREAM:
            raise DiskError(
                f"found a {disk.format} disk that is gzip'd as a whole, expected a stream-optimized VMDK in it",
                code="E_NOT_SUPPORTED",
                where=printable(member.name),
                hint="Decompress the file, and take ovf:compression out of the descriptor.",
            )
    ways = [inflated_as_it_is(disk, inflated_bytes(disk))]
    return Placement(
        package=package, member=member, capacity_bytes=disk.block_map.capacity_bytes, ways=ways, findings=[]
    )


def _choose_ways(
    member: Member, reader: DiskReader, image_format: ImageFormat, mode: DiskMode
) -> tuple[list[Way], list[Finding]]:
    """The ways that the disk allows, the one asked for first; a finding when it is not allowed."""
    block_map = reader.block_map
    expansion = way.expansion(member, reader, _writer(block_map, image_format))
    if mode is DiskMode.TRANSPLANT:
        if problem := _transplant_problem(reader, image_format):
            return [expansion], [not_transplanted(member, problem)]
        layout = TransplantLayout(block_map, member_offset=member.offset, member_bytes=member.size)
        return [way.transplant(member, reader, layout), expansion], []
    if mode is DiskMode.HOST_EXPAND:
        if not can_send(reader):
            problem = f"a {reader.format} disk is not smaller than its content"
            return [expansion], [not_transplanted(member, problem, mode)]
        return [way.host_expansion(member, reader, expansion)], []
    return [expansion], []


def _open_gzipped(
    package: Package, member: Member, declared_bytes: int | None, image_format: ImageFormat, mode: DiskMode
) -> Placement:
    """As `open_placement`, for a file that is compressed as a whole."""
    problem = "its file is gzip'd as a whole"
    if mode is DiskMode.LINK:
        raise _not_linked(member, problem)
    disk = examine_gzipped(member, declared_bytes=declared_bytes)
    check_capacity(member, disk.block_map, declared_bytes)
    return Placement(
        package=package,
        member=member,
        capacity_bytes=disk.block_map.capacity_bytes,
        ways=[inflation(disk, image_format)],
        findings=[] if mode is DiskMode.EXPAND else [not_transplanted(member, problem, mode)],
    )


def _open_layered(
    package: Package, members: Sequence[Member], declared_bytes: int | None, image_format: ImageFormat, mode: DiskMode
) -> Placement:
    """As `open_placement`, for a disk and those that it lies on, in one image."""
    problem = "it holds the difference to another disk"
    if mode is DiskMode.LINK:
        raise _not_linked(members[0], problem)
    for each in members:
        if package.compression_of(each):
            raise DiskError(
                "its file is gzip'd as a whole, and disks that lie on each other must be read in places, "
                "expected it without compression",
                code="E_NOT_SUPPORTED",
                where=printable(each.name),
                hint="Decompress the file, and correct its File in References.",
            )
    source = JoinedSource(members[0].name, members)
    joined = Member(name=members[0].name, source=source, offset=0, size=source.size)
    witness = Witness(joined)
    reader = LayeredReader(witness.member, members)
    check_capacity(joined, reader.block_map, declared_bytes)
    return Placement(
        package=package,
        member=joined,
        capacity_bytes=reader.block_map.capacity_bytes,
        ways=[way.expansion(witness.member, reader, _writer(reader.block_map, image_format))],
        findings=[] if mode is DiskMode.EXPAND else [not_transplanted(joined, problem, mode)],
        witness=witness,
    )


def _not_linked(member: Member, problem: str) -> DiskError:
    return DiskError(
        f"the disk cannot be linked: {problem}",
        code="E_DISK_LINK",
        where=printable(member.name),
        hint="Use --disk-mode expand.",
    )


def _transplant_problem(reader: DiskReader, image_format: ImageFormat) -> str:
    """Why a disk's blocks cannot be taken as they are, or nothing."""
    if image_format is not ImageFormat.QCOW2:
        return "only a qcow2 image can hold compressed blocks"
    return "" if can_transplant(reader) else f"a {reader.format} disk has no compressed blocks that qcow2 can hold"


def not_transplanted(member: Member | None, problem: str, mode: DiskMode = DiskMode.TRANSPLANT) -> Finding:
    """The finding that `problem` keeps a disk from being placed by `mode`."""
    expanded = (
        "expanded here instead of on the host" if mode is DiskMode.HOST_EXPAND else "expanded instead of transplanted"
    )
    return Finding(
        code="DISK_EXPANDED",
        severity=Severity.INFO,
        message=f"{expanded}: {problem}",
        where=printable(member.name) if member else "",
    )


def _blank(capacity_bytes: int | None) -> BlockMap:
    if not capacity_bytes:
        raise DiskError(
            "a blank disk has no capacity, expected at least 512 bytes",
            code="E_DISK_CAPACITY",
            hint="The descriptor gives the size by a property that has no value.",
        )
    return BlockMap(
        capacity_bytes=capacity_bytes, block_bytes=_BLANK_BLOCK_BYTES, numbers=(), offsets=(), max_stored_bytes=0
    )


def _writer(block_map: BlockMap, image_format: ImageFormat) -> DiskWriter:
    match image_format:
        case ImageFormat.QCOW2:
            return Qcow2Writer(block_map)
        case ImageFormat.RAW:
            return RawWriter(block_map)
    assert_never(image_format)


def check_capacity(member: Member, block_map: BlockMap, declared: int | None) -> None:
    """Refuse a disk of another size than declared: writers round one of the two to a block or a megabyte, no more.

    Raises:
        DiskError: the sizes differ (``E_DISK_CAPACITY``).
    """
    found = block_map.capacity_bytes
    if declared is not None and abs(found - declared) > max(block_map.block_bytes, _CAPACITY_SLACK_BYTES):
        raise DiskError(
            f"the image holds a disk of {found} bytes ({format_bytes(found)}), "
            f"expected {declared} bytes ({format_bytes(declared)}) as the descriptor declares",
            code="E_DISK_CAPACITY",
            where=member.name,
            hint="The descriptor belongs to another disk, or was edited by hand: correct its ovf:capacity.",
        )
