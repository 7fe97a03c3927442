"""The story of an install on a hypervisor that makes machines out of packages by itself.

    package -> plan -> the hypervisor reads the descriptor -> check -> a lease -> files, as they are -> done -> start

Of the package, only the descriptor is understood here; its disks pass through, verified on the way. The hypervisor has
agreed to everything before it makes the machine; the machine is finished when the hypervisor says so and it is there;
and whatever goes wrong before, it is removed.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial

from virt_ova.disk.base import Sink
from virt_ova.errors import PlanError, TargetError
from virt_ova.findings import Finding, Severity
from virt_ova.interrupt import held_back
from virt_ova.ovf.edit import only_system, renamed
from virt_ova.ovf.envelope import File
from virt_ova.ovf.fitting import Change, fitted, misfits
from virt_ova.ovf.references import disk_files, drive_files, is_single, variables_files
from virt_ova.package.files import PackageFile, hrefs
from virt_ova.package.package import Package
from virt_ova.plan.importing import check_import_plan, connections_of, group_name, makes_group
from virt_ova.plan.inputs import Backing
from virt_ova.plan.machine import Machine
from virt_ova.plan.options import InstallOptions
from virt_ova.plan.plan import DiskMode, ImageFormat, InstallPlan, Transfer
from virt_ova.plan.properties import surroundings, told_to_all, walk_entities, with_passwords
from virt_ova.plan.strict import check_strict
from virt_ova.plan.turns import turns_of
from virt_ova.progress import Monitor
from virt_ova.stories.agreement import check_agreed
from virt_ova.stories.delivery import Delivery, Scrutiny
from virt_ova.stories.described import described
from virt_ova.stories.environment import environment_document
from virt_ova.stories.journal import Journal
from virt_ova.stories.logbook import Heading, Logbook
from virt_ova.stories.receipts import algorithm_of, check_receipt
from virt_ova.stories.recover import recover_hinted
from virt_ova.stories.result import InstalledDomain, InstallResult, installed_domain, installed_volume
from virt_ova.stories.starting import Start, reports_of, start_all
from virt_ova.stories.supply import Supply, open_supply
from virt_ova.target.base import BootReport, Domain, Volume
from virt_ova.target.importing import Import, Importer, ImportRequest, Offer, WantedFile
from virt_ova.text import printable, quoted, without_secrets


@dataclass(frozen=True, kw_only=True, slots=True)
class _Cargo:
    """A file that a machine wants: which machine of how many, and what is transferred."""

    offer: int
    file: WantedFile
    transfer: Transfer


class PackageImport:
    """One run of `virt_ova.stories.install.install` on an `Importer`.

    Attributes:
        plan: what is done.
    """

    def __init__(
        self,
        package: Package,
        target: Importer,
        plan: InstallPlan,
        *,
        fresh: InstallPlan,
        options: InstallOptions,
        monitor: Monitor,
    ) -> None:
        """Do nothing yet; `fresh` is what would be planned now, and `plan` may be another one that was edited."""
        self.plan = plan
        self._package, self._target, self._fresh = package, target, fresh
        self._options, self._monitor = options, monitor
        self._scrutiny = Scrutiny(verify=options.verify, policy=options.trust_policy)
        self._requests: list[ImportRequest] = []
        self._remarks: list[Finding] = []
        self._offers: list[Offer] = []
        self._cargo: dict[str, _Cargo] = {}
        self._supply: Supply | None = None

    def check(self) -> None:
        """Everything that can be refused before anything is made; the hypervisor reads the descriptor."""
        check_agreed(self._package, self.plan, self._options)
        check_import_plan(self.plan, self._fresh)
        self._requests = self._requested()
        with held_back(), recover_hinted(self._target.uri):
            self._offers = [self._target.prepare(request) for request in self._requests]
        self._cargo = {each.transfer.id: each for each in self._wanted()}
        remarks = (*self._remarks, *(finding for offer in self._offers for finding in offer.findings))
        self.plan = replace(self.plan, findings=(*self.plan.findings, *remarks, *self._not_asked()))
        transfers = [each.transfer for each in self._cargo.values()]
        self._supply = open_supply(self._package, transfers, self._scrutiny, self._monitor)
        self._supply.check()
        check_strict((*self._package.findings, *self.plan.findings), is_strict=self._options.strict)

    def carry_out(self, started: float) -> InstallResult:
        """Check, make, start; take everything back on failure."""
        self.check()
        volumes: dict[str, Volume] = {}
        with Journal(self._monitor) as journal:
            logbook = journal.begin_file(self._target, lambda: Logbook.begin(self._heading()))
            imports = [journal.make(offer.what, partial(self._target.begin, offer)) for offer in self._offers]
            delivery = self._send(imports, volumes)
            domains = self._complete(imports)
            found = (*delivery.package.findings, *self._target.findings, *delivery.findings)
            check_strict(found, is_strict=self._options.strict)
            if logbook:
                logbook.note_defined()
            starts = self._start(domains)
            installed = tuple(installed_domain(each, starts) for each in domains)
            journal.keep()
        boots = () if self._options.wait_boot_seconds is None else reports_of(starts)
        return self._result(delivery, installed, volumes, boots, started)

    def _heading(self) -> Heading:
        """Of the journal's file."""
        return Heading(
            target=self._target.uri,
            opened_by=self._target.opened_by,
            pool=self._options.pool,
            package=printable(without_secrets(self._package.name)),
            machines=tuple(request.name for request in self._requests),
        )

    def _requested(self) -> list[ImportRequest]:
        """What is asked for: the package as one, or each of its machines."""
        envelope, machines = self._package.envelope, self.plan.machines
        text = self._fit(described(self._package))
        if makes_group(envelope, self._target.capabilities):
            names = [(turn.system, machine.name) for turn, machine in zip(turns_of(envelope), machines, strict=True)]
            return [self._request(renamed(text, envelope, names), group_name(self.plan), machines)]
        if is_single(envelope):
            return [self._request(text, machines[0].name, machines)]
        return [
            self._request(only_system(text, envelope, turn.system), machine.name, (machine,))
            for turn, machine in zip(turns_of(envelope), machines, strict=True)
        ]

    def _request(self, text: str, name: str, machines: tuple[Machine, ...]) -> ImportRequest:
        """What is asked for `machines`, with what they are told."""
        request = ImportRequest(
            descriptor=text,
            name=name,
            deployment_option=self.plan.deployment_option,
            networks=connections_of(replace(self.plan, machines=machines)),
            algorithm=algorithm_of(self._package) if self._options.verify else "",
        )
        if not self.plan.entities:
            return request
        entities = with_passwords(self.plan, self._package.envelope, self._options.properties)
        settings = [setting for entity in walk_entities(entities) for setting in entity.properties]
        secret = replace(request, secrets=tuple(each.value for each in settings if each.password and each.value))
        if not self._target.capabilities.tells_properties:
            return replace(secret, environment=environment_document(entities, machines[0].name).decode())
        told = [setting for machine in machines for setting in surroundings(entities, machine.name)[0].properties]
        given = told_to_all(told, entities, self._package.envelope, self.plan.deployment_option)
        return replace(secret, properties={each.key: each.value or "" for each in given})

    def _fit(self, text: str) -> str:
        """The descriptor without what the hypervisor is known to refuse, or an error that says what to do."""
        changes = misfits(text, newest=self._target.capabilities.newest_hardware)
        is_fixed = self._options.fix_hardware
        if certain := [change for change in changes if change.is_certain and not is_fixed]:
            raise PlanError(
                f"{self._target.uri} refuses {certain[0].what}, expected hardware of VMware that it knows",
                code="E_IMPORT_HARDWARE",
                hint=f"With --fix-hardware it is {certain[0].became}; the package stays as it is.",
            )
        self._remarks = [_remark(change, is_fixed=is_fixed) for change in changes]
        return fitted(text, changes) if is_fixed else text

    def _wanted(self) -> Iterator[_Cargo]:
        """What the hypervisor asks for, as transfers of the package's files, in their order."""
        capacities = {disk.file_ref: disk.capacity_bytes or 0 for disk in self._package.envelope.disks}
        found = []
        for number, offer in enumerate(self._offers):
            for file in offer.files:
                resolved, entry = _file(self._package, file.href)
                transfer = Transfer(
                    id=f"{number}{file.key}",
                    member=resolved.name,
                    capacity_bytes=capacities.get(entry.id, 0) if file.is_disk else 0,
                    image_format=ImageFormat.RAW,
                    mode=DiskMode.STREAM if file.is_disk else DiskMode.PASS_THROUGH,
                    image_name=resolved.name,
                )
                place = (resolved.position, self._package.files.index(resolved))
                found.append((place, _Cargo(offer=number, file=file, transfer=transfer)))
        for _, cargo in sorted(found, key=lambda pair: pair[0]):
            yield cargo

    def _not_asked(self) -> Iterator[Finding]:
        """See that every disk gets its bytes; say what else machines are without. Raises `TargetError`."""
        asked = {each.transfer.member for each in self._cargo.values()}
        envelope = self._package.envelope
        needed = disk_files(envelope, self.plan.deployment_option or None)
        useful = drive_files(envelope) | variables_files(envelope)
        for resolved, entry in zip(self._package.files, envelope.files, strict=True):
            if resolved.name in asked:
                continue
            if entry.id in useful:
                message = f"the server does not ask for the file {quoted(resolved.name)}: the machine is without it"
                yield Finding(code="FILE_UNASKED", severity=Severity.WARNING, message=message, where=self._target.uri)
            if entry.id in needed:
                raise TargetError(
                    f"{self._target.uri} does not ask for {quoted(resolved.name)}, of which it has to make a disk",
                    code="E_IMPORT_SPEC",
                    hint="The disk would be empty. Look at the host's log (hostd.log, vpxd.log) for the reason.",
                )

    def _send(self, imports: list[Import], volumes: dict[str, Volume]) -> Delivery:
        """Send every file that is wanted to where it is wanted."""
        assert self._supply is not None  # noqa: S101 - made by `check`
        self._monitor.begin("Waiting for the server")
        with held_back() as held:
            for each in imports:
                each.wait(held)
        self._monitor.end("Waiting for the server")

        def create(transfer: Transfer, size_bytes: int, backing: Backing | None) -> Sink:  # noqa: ARG001 - nothing is linked
            cargo = self._cargo[transfer.id]
            volumes[transfer.id] = imports[cargo.offer].open_volume(cargo.file, size_bytes)
            return volumes[transfer.id].sink

        delivery = self._supply.fill(create)
        self._compare(imports, delivery)
        return delivery

    def _compare(self, imports: list[Import], delivery: Delivery) -> None:
        """See that what was sent as it is has arrived so, where the server can tell. Raises `TargetError`."""
        package, is_gone = delivery.package, self._package.archive.rest is not None
        with held_back():
            received = [(number, receipt) for number, each in enumerate(imports) for receipt in each.receipts()]
        for number, receipt in received:
            cargo = self._cargo.get(f"{number}{receipt.key}")
            if cargo is None or delivery.images[cargo.transfer.id].mode is not DiskMode.PASS_THROUGH:
                continue
            member = package.member(cargo.transfer.member)
            expected = None if package.compression_of(member) else package.expected_digest(member)
            if expected:
                check_receipt(member, expected, receipt, is_disk=cargo.file.is_disk, is_gone=is_gone)

    def _complete(self, imports: list[Import]) -> list[Domain]:
        """All is sent: the machines, once the server agrees."""
        self._monitor.begin("Completing")
        with held_back():
            domains = [each.complete() for each in imports]
        self._monitor.end("Completing")
        return domains

    def _start(self, domains: list[Domain]) -> tuple[Start, ...]:
        """Start the machines, or the one group that they are, which knows its own order."""
        if not self._options.start:
            return ()
        machines = self.plan.machines
        if makes_group(self._package.envelope, self._target.capabilities):
            machines = (replace(machines[0], startup=None),)
        return start_all(machines, domains, watch_seconds=self._options.wait_boot_seconds, monitor=self._monitor)

    def _result(
        self,
        delivery: Delivery,
        domains: tuple[InstalledDomain, ...],
        volumes: Mapping[str, Volume],
        boots: tuple[BootReport, ...],
        started: float,
    ) -> InstallResult:
        return InstallResult(
            domains=domains,
            networks=(),
            volumes=tuple(installed_volume(volumes[name], delivery.images[name]) for name in self._cargo),
            trust=delivery.appraisal.trust,
            signer=delivery.appraisal.signer,
            findings=(
                *delivery.package.findings,
                *self.plan.findings,
                *self._target.findings,
                *delivery.findings,
            ),
            booted=boots[-1] if boots else None,
            boots=boots,
            elapsed_seconds=round(time.monotonic() - started, 3),
        )


def _remark(change: Change, *, is_fixed: bool) -> Finding:
    if is_fixed:
        message = f"{change.what} is {change.became}"
        return Finding(code="HW_FITTED", severity=Severity.INFO, message=message)
    message = f"{change.what} may be refused by the hypervisor; with --fix-hardware it is {change.became}"
    return Finding(code="HW_MISFIT", severity=Severity.WARNING, message=message)


def _file(package: Package, href: str) -> tuple[PackageFile, File]:
    """What References say of the file that the hypervisor calls `href`. Raises `PackageError` (``E_PKG_FILE``)."""
    for resolved, entry in zip(package.files, package.envelope.files, strict=True):
        if href in {resolved.name, *hrefs(entry)}:
            return resolved, entry
    raise package.no_file(href)
