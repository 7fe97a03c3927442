"""Fills images from a package that passes by once: out of a pipe, or a gzip'd OVA.

The plan was made from the descriptor alone, which comes first. Each member is used at the moment when its bytes come:
copied into the image that wants it, or hashed and dropped. What only the end can tell - that the manifest fits, that
nothing is missing - is asked there, before any machine is defined.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from virt_ova.disk.forward import copy_forward, open_forward
from virt_ova.disk.pump import Hasher, read_pieces
from virt_ova.disk.send import send_pieces
from virt_ova.disk.vmdk.forward import ForwardVmdk
from virt_ova.errors import DiskError, SourceError, TargetError
from virt_ova.findings import Finding
from virt_ova.interrupt import Held, held_back
from virt_ova.ovf.envelope import File
from virt_ova.package.files import PackageFile, hrefs
from virt_ova.package.package import Package
from virt_ova.package.passing import PassingHashes
from virt_ova.package.verify import UNVERIFIED, Appraisal
from virt_ova.plan.inputs import Backing
from virt_ova.plan.plan import FOR_HYPERVISORS, DiskMode, Transfer
from virt_ova.progress import Monitor, SilentMonitor
from virt_ova.source.base import MemberName, Passing, Rest
from virt_ova.source.pipe import SAVE_FIRST
from virt_ova.stories.delivery import CreateImage, Delivery, Done, Image, Scrutiny, untold
from virt_ova.stories.inflation import forward_size_bytes, forward_writer
from virt_ova.stories.patience import PatientReader, PatientSink
from virt_ova.stories.placement import check_capacity, not_transplanted, open_placement
from virt_ova.text import printable, quoted


class PassingSupply:
    """A `virt_ova.stories.supply.Supply` from a package that passes by."""

    backings: Sequence[Backing] = ()

    def __init__(
        self, package: Package, rest: Rest, transfers: Sequence[Transfer], scrutiny: Scrutiny, monitor: Monitor
    ) -> None:
        """Take `package`, of which only the beginning is known, and its `rest`."""
        self._package, self._rest, self._transfers = package, rest, transfers
        self._policy, self._verify, self._monitor = scrutiny.policy, scrutiny.verify, monitor
        self._hashes = PassingHashes(package.manifest)
        self._images: dict[str, Image] = {}
        self._used: dict[str, MemberName] = {}
        self._findings: list[Finding] = []

    def check(self) -> Mapping[str, int]:
        """See `Supply.check`; of the disks only what the descriptor says is known."""
        if self._verify:
            self._package.check_manifest(self._policy)
        wanted = [transfer for transfer in self._transfers if transfer.member]
        for number, transfer in enumerate(wanted):
            if any(transfer.member == other.member for other in wanted[:number]):
                raise _out_of_turn(f"the file {quoted(transfer.member)} fills two images, and will come once only")
            self._check_transfer(transfer)
        return {transfer.id: self._expected_bytes(transfer) for transfer in wanted}

    def fill(self, create: CreateImage, done: Done = untold) -> Delivery:
        """See `Supply.fill`; reads the package to its end."""
        for transfer in self._transfers:
            if not transfer.member:
                self._fill_blank(transfer, create)
        for passing in self._rest:
            self._take(passing, create)
        package = self._package.whole()
        self._check_complete(package)
        appraisal = self._check_digests(package) if self._verify else UNVERIFIED
        package.archive.check_unchanged()
        for name, image in self._images.items():
            done(name, image)
        findings = (*appraisal.findings, *self._findings)
        return Delivery(package=package, appraisal=appraisal, images=self._images, findings=findings)

    def _check_transfer(self, transfer: Transfer) -> None:
        """Refuse a disk that could not be filled, as far as the descriptor tells."""
        if transfer.mode is DiskMode.LINK:
            raise DiskError(
                "the disk cannot be linked: its package can only be read from front to back",
                code="E_DISK_LINK",
                where=printable(transfer.member),
                hint=SAVE_FIRST,
            )
        if transfer.parents:
            what = f"the file {quoted(transfer.member)} holds the difference to {quoted(transfer.parents[0])}"
            raise _out_of_turn(f"{what}, expected a whole disk in such a package")
        resolved, file = _file(self._package, transfer)
        if not resolved.is_awaited:
            resolved.require_member()
        if resolved.compression or file.chunk_bytes:
            how = "compressed" if resolved.compression else "in chunks"
            raise _out_of_turn(f"the file {quoted(transfer.member)} is {how}, expected it as it is in such a package")

    def _expected_bytes(self, transfer: Transfer) -> int:
        """What the image will take: what the descriptor estimates, else the size of the file, else nothing is known."""
        resolved, file = _file(self._package, transfer)
        populated = (disk.populated_bytes for disk in self._package.envelope.disks if disk.file_ref == file.id)
        return next((size for size in populated if size), resolved.size or 0)

    def _fill_blank(self, transfer: Transfer, create: CreateImage) -> None:
        placement = open_placement(
            self._package, None, capacity_bytes=transfer.capacity_bytes, image_format=transfer.image_format
        )
        sink = create(transfer, placement.size_bytes, None)
        self._monitor.begin(placement.step)
        placement.write(sink, verify=self._verify)
        self._monitor.end(placement.step)
        self._images[transfer.id] = Image(capacity_bytes=placement.capacity_bytes, mode=placement.mode)

    def _take(self, passing: Passing, create: CreateImage) -> None:
        """Use a member, or drop it; what can be known of its digest is checked at once."""
        if self._verify:
            self._package.digest_check(passing.member)
        transfer = next((each for each in self._transfers if self._fills(passing, each)), None)
        if transfer:
            self._copy(passing, transfer, create)
        elif self._verify:
            self._hashes.pass_over(passing, self._monitor)
        expected = self._package.expected_digest(passing.member)
        if self._verify and expected:
            self._hashes.check(passing.member, expected, self._monitor).finish()

    def _fills(self, passing: Passing, transfer: Transfer) -> bool:
        """Whether the file of `transfer` is this member."""
        if not transfer.member or transfer.id in self._used:
            return False
        return passing.name in hrefs(_file(self._package, transfer)[1])

    def _copy(self, passing: Passing, transfer: Transfer, create: CreateImage) -> None:
        """Fill the image of `transfer`."""
        member, step = passing.member, f"Copying {printable(passing.name)}"
        hasher = self._hashes.start(member) if self._verify else None
        self._monitor.begin(step, member.size)
        with held_back() as held:  # an exception out of nowhere breaks the thread pool's own locks

            def advance(done_bytes: int) -> None:
                held.deliver()
                self._monitor.advance(step, done_bytes)

            copy = _pass_on if transfer.mode in FOR_HYPERVISORS else _expand
            try:
                image = copy(passing, transfer, create, hasher=hasher, advance=advance, held=held)
            except (SourceError, TargetError):
                held.deliver()  # the terminal's Ctrl-C stops the program before us, and ssh below us, too
                raise
        self._monitor.end(step)
        self._used[transfer.id] = member.name
        self._images[transfer.id] = image
        if transfer.mode not in {DiskMode.EXPAND, *FOR_HYPERVISORS}:
            problem = "its package can only be read from front to back"
            self._findings.append(not_transplanted(member, problem, transfer.mode))

    def _check_complete(self, package: Package) -> None:
        """Every image was filled, and from the member that the package means now that all of it is known."""
        for transfer in self._transfers:
            if transfer.member and _file(package, transfer)[0].require_member().name != self._used.get(transfer.id):
                raise _out_of_turn(f"the file {quoted(transfer.member)} came in a way that could not be used")

    def _check_digests(self, package: Package) -> Appraisal:
        """All that passed is as the manifest says, which may have come last, as may who signed it."""
        appraisal = package.check_manifest(self._policy)
        for name, expected in package.manifest.entries.items() if package.manifest else ():
            self._hashes.check(package.archive.members[name], expected, SilentMonitor()).finish()
        return appraisal


def _expand(
    passing: Passing,
    transfer: Transfer,
    create: CreateImage,
    *,
    hasher: Hasher | None,
    advance: Callable[[int], None],
    held: Held,
) -> Image:
    """Expand a disk into the image of `transfer`."""
    disk = open_forward(PatientReader(passing, held), size_bytes=passing.member.size)
    check_capacity(passing.member, disk.block_map, transfer.capacity_bytes or None)
    expanded = replace(transfer, mode=DiskMode.EXPAND)
    sink = create(expanded, forward_size_bytes(disk.block_map, transfer.image_format), None)
    copy_forward(disk, sink, writer=forward_writer(transfer.image_format), hasher=hasher, advance=advance)
    return Image(capacity_bytes=disk.block_map.capacity_bytes, mode=DiskMode.EXPAND)


def _pass_on(
    passing: Passing,
    transfer: Transfer,
    create: CreateImage,
    *,
    hasher: Hasher | None,
    advance: Callable[[int], None],
    held: Held,
) -> Image:
    """Send a file as it is to a hypervisor that takes packages."""
    size, source = passing.member.size, PatientReader(passing, held)
    sent = replace(transfer, mode=DiskMode.PASS_THROUGH)
    if transfer.mode is DiskMode.PASS_THROUGH:
        sink = PatientSink(create(sent, size, None), held)
        send_pieces(read_pieces(source), sink, hasher=hasher, advance=advance)
        sink.finish(size)
        return Image(capacity_bytes=size, mode=DiskMode.PASS_THROUGH)
    disk = open_forward(source, size_bytes=size)
    if not isinstance(disk, ForwardVmdk):
        raise _out_of_turn(f"the disk {quoted(passing.name)} is no stream-optimized VMDK, and must be made one")
    check_capacity(passing.member, disk.block_map, transfer.capacity_bytes or None)
    sink = PatientSink(create(sent, size, None), held)
    send_pieces(disk.pieces(), sink, hasher=hasher, advance=advance)
    disk.finish()
    sink.finish(size)
    return Image(capacity_bytes=disk.block_map.capacity_bytes, mode=DiskMode.PASS_THROUGH)


def _file(package: Package, transfer: Transfer) -> tuple[PackageFile, File]:
    """What References says of the file of `transfer`. Raises `PackageError` (``E_PKG_FILE``)."""
    for resolved, file in zip(package.files, package.envelope.files, strict=True):
        if transfer.member in {resolved.name, *hrefs(file)}:
            return resolved, file
    raise package.no_file(transfer.member)


def _out_of_turn(message: str) -> SourceError:
    return SourceError(message, code="E_PIPE_ORDER", hint=SAVE_FIRST)
