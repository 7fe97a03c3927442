"""The story of an install on a hypervisor for which machines are defined here.

    package -> plan -> check -> volumes -> (conversion, a look inside, tries) -> domains -> start

Nothing is written before the target has agreed to the whole plan; every volume is verified while it is written; domains
are defined last; and whatever goes wrong, at any point, what this run made is taken back.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial

from virt_ova.disk.base import Sink
from virt_ova.errors import DiskError, TargetError
from virt_ova.findings import Finding
from virt_ova.interrupt import held_back
from virt_ova.package.package import Package
from virt_ova.plan.inputs import Backing
from virt_ova.plan.insight import Insight
from virt_ova.plan.machine import Machine
from virt_ova.plan.nics import made_networks
from virt_ova.plan.options import InstallOptions
from virt_ova.plan.plan import DiskMode, InstallPlan, Transfer
from virt_ova.plan.strict import check_strict
from virt_ova.plan.variables import check_variables
from virt_ova.progress import Monitor
from virt_ova.stories.agreement import check_agreed
from virt_ova.stories.conversion import Copy, check_conversion, convert_all, let_go, with_room_for_copies
from virt_ova.stories.delivery import Image, Scrutiny
from virt_ova.stories.environment import EnvironmentDiscs
from virt_ova.stories.fallback import check_fallback, settle
from virt_ova.stories.journal import Journal
from virt_ova.stories.logbook import Completed, Heading, Logbook
from virt_ova.stories.recover import recover_hinted
from virt_ova.stories.result import (
    InstalledNetwork,
    InstallResult,
    installed_domain,
    installed_volume,
    kept_copy,
)
from virt_ova.stories.resume import Earlier, package_digest, take_up
from virt_ova.stories.starting import Start, reports_of, start_all
from virt_ova.stories.supply import Supply, open_supply
from virt_ova.stories.tailoring import check_inspection, fit_machines
from virt_ova.target.base import Domain, HostExpander, Linker, Network, NetworkMaker, Target, Volume
from virt_ova.target.record import Resumable
from virt_ova.text import printable, without_secrets


@dataclass(frozen=True, kw_only=True, slots=True)
class _Ready:
    """Machines that are ready to be defined, and what was seen and done on the way.

    Attributes:
        machines: in the order of the plan.
        copies: of images as they were before a conversion.
        insights: what was seen inside.
        findings: what is to be said of it.
    """

    machines: Sequence[Machine]
    copies: Sequence[Copy]
    insights: tuple[Insight, ...]
    findings: tuple[Finding, ...]


class PackageBuild:
    """One run of `virt_ova.stories.install.install` on a `Target`.

    Attributes:
        plan: what is done.
    """

    def __init__(
        self, package: Package, target: Target, plan: InstallPlan, options: InstallOptions, monitor: Monitor
    ) -> None:
        self.plan = plan
        self._package, self._target = package, target
        self._options, self._monitor = options, monitor
        self._earlier = Earlier()
        self._supply = self._open_supply()
        self._discs = EnvironmentDiscs(package.envelope, plan, options.properties, monitor)

    def take_up(self) -> None:
        """Use what there is of an install like this that was killed; raises as `virt_ova.stories.resume.take_up`."""
        with held_back():
            self._earlier = take_up(self._target, self._heading(), self.plan, self._monitor)
        self._supply = self._open_supply()

    def close(self) -> None:
        """Leave the journal of that install, if it was not gone on with, to whoever comes."""
        if self._earlier.logbook:
            self._earlier.logbook.close()

    def check(self) -> None:
        """Everything that can be refused before the first byte is written."""
        check_agreed(self._package, self.plan, self._options)
        check_variables(self.plan, self._target.capabilities)
        made_bytes = self._discs.check()
        sizes = with_room_for_copies(self.plan, {**self._supply.check(), **made_bytes}, self._options)
        with recover_hinted(self._target.uri):
            self._target.check(replace(self.plan, transfers=tuple(self._to_make())), sizes)
        for backing in self._supply.backings:
            self._linker().check_link(backing)
        if any(transfer.mode is DiskMode.HOST_EXPAND for transfer in self.plan.transfers):
            self._expander()
        self._network_maker()
        check_strict((*self._package.findings, *self.plan.findings), is_strict=self._options.strict)
        check_fallback(self._target, self._options)
        check_inspection(self._target, self._options)
        check_conversion(self._target, self.plan, self._options)

    def carry_out(self, started: float) -> InstallResult:
        """Take up what there is, if that is wanted; check, make, start; take everything back on failure."""
        with closing(self):
            if self._options.resume:
                self.take_up()
            return self._carry_out(started)

    def _carry_out(self, started: float) -> InstallResult:
        self.check()
        volumes = dict(self._earlier.volumes)
        with Journal(self._monitor) as journal:
            logbook = self._begin_file(journal)

            def create(transfer: Transfer, size_bytes: int, backing: Backing | None) -> Sink:
                volumes[transfer.id] = self._make_volume(journal, transfer, size_bytes, backing)
                return volumes[transfer.id].sink

            def done(transfer: str, image: Image) -> None:
                self._note_completed(logbook, transfer, volumes[transfer], image)

            networks = self._make_networks(journal)
            delivery = self._supply.fill(create, done)
            images = {**self._earlier.images, **delivery.images, **self._discs.fill(create)}
            ready = self._make_ready(journal, volumes)
            domains = self._define(journal, ready.machines, volumes)
            told = (*delivery.findings, *ready.findings, *self._earlier.findings)
            check_strict((*delivery.package.findings, *self._target.findings, *told), is_strict=self._options.strict)
            if logbook:
                logbook.note_defined()
            starts = self._start(ready.machines, domains)
            installed = tuple(installed_domain(each, starts) for each in domains)
            kept = let_go(ready.copies, reports_of(starts), target=self._target, journal=journal)
            journal.keep()
        boots = () if self._options.wait_boot_seconds is None else reports_of(starts)
        made = {each.id: installed_volume(volumes[each.id], images[each.id]) for each in self.plan.transfers}
        return InstallResult(
            domains=installed,
            networks=tuple(InstalledNetwork(name=each.name, uuid=each.uuid) for each in networks),
            volumes=(*made.values(), *(kept_copy(each.volume, made[each.transfer]) for each in kept.copies)),
            trust=delivery.appraisal.trust,
            signer=delivery.appraisal.signer,
            findings=(*delivery.package.findings, *self.plan.findings, *self._target.findings, *told, *kept.findings),
            booted=boots[-1] if boots else None,
            boots=boots,
            guests=ready.insights,
            elapsed_seconds=round(time.monotonic() - started, 3),
        )

    def _to_make(self) -> Iterator[Transfer]:
        """The images that are not there already."""
        return (transfer for transfer in self.plan.transfers if transfer.id not in self._earlier.volumes)

    def _open_supply(self) -> Supply:
        of_package = [transfer for transfer in self._to_make() if not transfer.environment]
        scrutiny = Scrutiny(verify=self._options.verify, policy=self._options.trust_policy)
        return open_supply(self._package, of_package, scrutiny, self._monitor)

    def _heading(self) -> Heading:
        """Of the journal's file."""
        return Heading(
            target=self._target.uri,
            pool=self._options.pool,
            package=printable(without_secrets(self._package.name)),
            machines=tuple(machine.name for machine in self.plan.machines),
            digest=package_digest(self._package, self.plan, verify=self._options.verify),
        )

    def _begin_file(self, journal: Journal) -> Logbook | None:
        """Keep the journal in a file as well; what was taken up stands in it already."""
        logbook = journal.begin_file(self._target, lambda: self._earlier.logbook or Logbook.begin(self._heading()))
        for volume in self._earlier.volumes.values():
            journal.take_over(f"volume {volume.name}", volume)
        return logbook

    def _note_completed(self, logbook: Logbook | None, transfer: str, volume: Volume, image: Image) -> None:
        """Tell the journal of an image that need not be made again; a linked one is made in no time."""
        if logbook and isinstance(self._target, Resumable):
            record = self._target.seal(volume)
            if image.mode is not DiskMode.LINK:
                logbook.note_completed(
                    Completed(
                        transfer=transfer,
                        capacity_bytes=image.capacity_bytes,
                        mode=image.mode,
                        kind=record.kind,
                        name=record.name,
                    )
                )

    def _make_volume(self, journal: Journal, transfer: Transfer, size_bytes: int, backing: Backing | None) -> Volume:
        """Make an empty volume."""
        create: Callable[[], Volume] = partial(self._target.create_volume, transfer, size_bytes)
        if backing is not None:
            create = partial(self._linker().create_linked, transfer, size_bytes, backing)
        elif transfer.mode is DiskMode.HOST_EXPAND:
            create = partial(self._expander().create_host_expanded, transfer, size_bytes)
        return journal.make(f"volume {transfer.image_name}", create)

    def _linker(self) -> Linker:
        """The target, when it can link. Raises `DiskError`."""
        if not isinstance(self._target, Linker):
            raise DiskError(
                f"{self._target.uri} takes no linked disks, expected a folder or libvirt on this host",
                code="E_DISK_LINK",
                hint="Use --disk-mode expand.",
            )
        return self._target

    def _expander(self) -> HostExpander:
        """The target, when its host can expand disks. Raises `DiskError`."""
        if not isinstance(self._target, HostExpander):
            raise DiskError(
                f"{self._target.uri} cannot expand disks by itself, expected libvirt",
                code="E_NOT_SUPPORTED",
                hint="Use --disk-mode expand.",
            )
        return self._target

    def _make_ready(self, journal: Journal, volumes: Mapping[str, Volume]) -> _Ready:
        """The machines as they are to be defined, for guests that are as they are to be started."""
        plan, options, monitor = self.plan, self._options, self._monitor
        conversion = convert_all(plan, self._target, volumes=volumes, options=options, journal=journal, monitor=monitor)
        host = self._target.capabilities
        fitted = fit_machines(plan, volumes, options=options, host=host, journal=journal, monitor=monitor)
        settled = settle(
            fitted.machines, self._target, volumes=volumes, options=options, journal=journal, monitor=monitor
        )
        fallbacks = (each.finding for each in settled if each.finding)
        return _Ready(
            machines=[each.machine for each in settled],
            copies=conversion.copies,
            insights=fitted.insights,
            findings=(*conversion.findings, *fitted.findings, *fallbacks),
        )

    def _define(self, journal: Journal, machines: Sequence[Machine], volumes: Mapping[str, Volume]) -> list[Domain]:
        return [
            journal.make(f"domain {machine.name}", partial(self._target.define, machine, volumes))
            for machine in machines
        ]

    def _start(self, machines: Sequence[Machine], domains: Sequence[Domain]) -> tuple[Start, ...]:
        if not self._options.start:
            return ()
        watch_seconds = self._options.wait_boot_seconds
        return start_all(machines, domains, watch_seconds=watch_seconds, monitor=self._monitor)

    def _make_networks(self, journal: Journal) -> list[Network]:
        """Make the networks that machines are plugged into and the host has not."""
        if (maker := self._network_maker()) is None:
            return []
        return [
            journal.make(f"network {connection.name}", partial(maker.create_network, connection))
            for connection in made_networks(self.plan)
        ]

    def _network_maker(self) -> NetworkMaker | None:
        """The target, when networks are to be made. Raises `TargetError`."""
        if not made_networks(self.plan):
            return None
        if not isinstance(self._target, NetworkMaker):
            raise TargetError(
                f"{self._target.uri} cannot make networks, expected libvirt",
                code="E_NETWORK",
                hint="Use networks that are there: --network 'OVF NAME=TARGET'.",
            )
        return self._target
