"""An open connection to libvirt."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property, partial
from typing import Any, Final, cast

import libvirt

from virt_ova.errors import SpaceError, TargetError
from virt_ova.findings import Finding, Severity
from virt_ova.plan.efivars import MAX_BYTES as MAX_VARIABLES_BYTES
from virt_ova.plan.host import HostCapabilities
from virt_ova.plan.inputs import Backing, VolumeSource
from virt_ova.plan.machine import Connection, ConnectionKind, Machine
from virt_ova.plan.naming import trial_image_name
from virt_ova.plan.plan import ImageFormat, InstallPlan, Transfer
from virt_ova.plan.to_libvirt import domain_xml
from virt_ova.target.base import Volume
from virt_ova.target.identity import identified, new_uuid
from virt_ova.target.libvirt import capabilities, domain, hardware, hostexpand, link, network, removal, volume
from virt_ova.target.libvirt import pool as pools
from virt_ova.target.libvirt.errors import SPACE_HINT, silence, translated
from virt_ova.target.libvirt.lifeline import Lifeline
from virt_ova.target.libvirt.records import domain_record, network_record
from virt_ova.target.libvirt.trial import LibvirtTrial
from virt_ova.target.libvirt.uri import is_local
from virt_ova.target.names import check_file_name
from virt_ova.target.record import Note, Record, Removal, unnoted
from virt_ova.text import quoted, without_secrets
from virt_ova.undo import Made, take_back
from virt_ova.units import format_bytes

_MET: Final = frozenset({ConnectionKind.NETWORK, ConnectionKind.SHARED, ConnectionKind.BRIDGE})
"""Connections on which the host may come to know an address: by a lease, or because it was talked to."""


def open_connection(uri: str, *, pool: str | None = None) -> LibvirtTarget:
    """Connect to `uri`.

    Raises:
        TargetError: the connection is refused (``E_CONNECT``), or there is no such pool (``E_POOL``).
    """
    silence()
    with translated(f"connecting to {quoted(without_secrets(uri))}", otherwise="E_CONNECT"):
        connection = libvirt.open(uri)
    try:
        return LibvirtTarget(connection, uri=uri, pool=pool, in_place=is_local(uri))
    except BaseException:
        connection.close()
        raise


class LibvirtTarget:
    """A hypervisor behind libvirt, with one storage pool of it."""

    def __init__(self, connection: Any, *, uri: str, pool: str | None = None, in_place: bool) -> None:  # noqa: ANN401 - libvirt has no types
        """Own `connection`.

        Args:
            connection: an open connection.
            uri: what it was opened with.
            pool: the pool to use; the default one when None.
            in_place: whether the daemon is on this host, so that volumes may be written as files.
        """
        self._connection, self._uri, self._in_place = connection, without_secrets(uri), in_place
        self._lifeline = Lifeline(uri=self._uri, connect=partial(libvirt.open, uri))
        self._pool = pools.find_pool(connection, pool, uri=self._uri)
        self._needs_refresh = False
        self._findings: list[Finding] = []
        self._note_object: Note = unnoted

    @property
    def uri(self) -> str:
        """The connection URI, without secrets."""
        return self._uri

    @property
    def findings(self) -> Sequence[Finding]:
        """What was done that the user may not expect."""
        return tuple(self._findings)

    @property
    def keeps_files_here(self) -> bool:
        """Whether the daemon is on this host."""
        return self._in_place

    @cached_property
    def capabilities(self) -> HostCapabilities:
        """See `virt_ova.target.base.Target.capabilities`."""
        return capabilities.ask(self._connection, is_local=self._in_place)

    def check(self, plan: InstallPlan, sizes: Mapping[str, int]) -> None:
        """See `virt_ova.target.base.Target.check`."""
        networks = capabilities.network_states(self._connection)
        for machine in plan.machines:
            if domain.domain_exists(self._connection, machine.name):
                raise domain.name_taken(machine.name)
            network.check_networks(machine, networks, self._uri)
            hardware.check_hardware(self._connection, machine, uri=self._uri)
        hardware.check_addresses(self._connection, plan.machines)
        for transfer in plan.transfers:
            name = check_file_name(transfer.image_name, "the volume name")
            if self._pool is not None and volume.find_volume(self._pool, name) is not None:
                raise volume.volume_exists(name, self._pool.name())
        self._check_space(sum(sizes.values()))
        if plan.transfers:
            self._check_support()

    def create_network(self, connection: Connection, *, uuid: str = "") -> network.LibvirtNetwork:
        """See `virt_ova.target.base.NetworkMaker.create_network`."""
        network_uuid = uuid or new_uuid()
        self._note_object(network_record(connection.name, network_uuid))
        return network.create_network(self._connection, connection, network_uuid, lifeline=self._lifeline)

    def create_volume(self, transfer: Transfer, size_bytes: int) -> volume.LibvirtVolume:  # noqa: ARG002 - a volume grows
        """See `virt_ova.target.base.Target.create_volume`."""
        return self._create(transfer.image_name, transfer.image_format)

    def check_link(self, backing: Backing) -> None:
        """See `virt_ova.target.base.Linker.check_link`."""
        link.check(self._connection, backing, uri=self._uri, is_local=self._in_place)

    def create_linked(self, transfer: Transfer, size_bytes: int, backing: Backing) -> volume.LibvirtVolume:  # noqa: ARG002 - a volume grows
        """See `virt_ova.target.base.Linker.create_linked`."""
        return self._create(transfer.image_name, transfer.image_format, backing)

    def create_host_expanded(self, transfer: Transfer, size_bytes: int) -> hostexpand.HostExpandedVolume:  # noqa: ARG002 - a volume grows
        """See `virt_ova.target.base.HostExpander.create_host_expanded`."""
        name = check_file_name(transfer.image_name, "the volume name")
        path = pools.folder_of(self._required_pool()) / name
        return hostexpand.HostExpandedVolume(
            upload=self._create(hostexpand.upload_name(name), transfer.image_format),
            pool=self._required_pool(),
            lifeline=self._lifeline,
            note=self._note_object,
            path=path,
            image_format=transfer.image_format,
            capacity_bytes=transfer.capacity_bytes,
        )

    def _create(self, name: str, image_format: ImageFormat, backing: Backing | None = None) -> volume.LibvirtVolume:
        made = volume.create_volume(
            self._connection,
            self._required_pool(),
            check_file_name(name, "the volume name"),
            image_format,
            lifeline=self._lifeline,
            note=self._note_object,
            in_place=self._in_place,
            backing=backing,
        )
        self._needs_refresh = True
        return made

    def define(self, machine: Machine, volumes: Mapping[str, Volume], *, uuid: str = "") -> domain.LibvirtDomain:
        """See `virt_ova.target.base.Target.define`."""
        return self._define(machine, volumes, uuid or new_uuid(), keeps_writes=True)

    def _define(
        self, machine: Machine, volumes: Mapping[str, Volume], uuid: str, *, keeps_writes: bool
    ) -> domain.LibvirtDomain:
        own = {key: cast("volume.LibvirtVolume", each) for key, each in volumes.items()}
        self._refresh()
        sources = {
            key: VolumeSource(image_format=each.image_format, path=each.path, backing=each.backing)
            for key, each in own.items()
        }
        described = identified(domain_xml(machine, sources=sources, keeps_writes=keeps_writes), uuid)
        may_lease = any(nic.connection.kind in _MET for nic in machine.nics)
        self._note_object(domain_record(machine.name, uuid))
        return domain.define(self._connection, described, machine.name, lifeline=self._lifeline, may_lease=may_lease)

    def define_trial(self, machine: Machine, volumes: Mapping[str, Volume]) -> domain.LibvirtDomain | LibvirtTrial:
        """See `virt_ova.target.base.Trier.define_trial`; what is written goes to a file that libvirt removes."""
        if not (variables := machine.firmware.variables):
            return self._define(machine, volumes, new_uuid(), keeps_writes=False)
        copy = self._copy(cast("volume.LibvirtVolume", volumes[variables]), trial_image_name(machine.name))
        try:
            made = self._define(machine, {**volumes, variables: copy}, new_uuid(), keeps_writes=False)
        except BaseException as exc:
            take_back([Made(what=f"volume {copy.name}", discard=copy.discard)], exc)
            raise
        return LibvirtTrial(domain=made, variables=copy)

    def _copy(self, original: volume.LibvirtVolume, name: str) -> volume.LibvirtVolume:
        """A volume with the same EFI variables."""
        content = original.read(MAX_VARIABLES_BYTES)
        made = self._create(name, original.image_format)
        try:
            made.sink.write_at(0, [content])
            made.sink.finish(len(content))
        except BaseException as exc:
            take_back([Made(what=f"volume {name}", discard=made.discard)], exc)
            raise
        return made

    def tell(self, note: Note) -> None:
        """See `virt_ova.target.record.Recoverable.tell`."""
        self._note_object = note

    def seal(self, made: Volume) -> Record:
        """See `virt_ova.target.record.Resumable.seal`."""
        record = cast("volume.LibvirtVolume | hostexpand.HostExpandedVolume", made).seal()
        self._note_object(record)
        return record

    def adopt(self, transfer: Transfer, record: Record, others: Sequence[Record]) -> volume.LibvirtVolume | None:  # noqa: ARG002 - a volume lies in nothing that was made
        """See `virt_ova.target.record.Resumable.adopt`."""
        if self._pool is None or record.name != transfer.image_name:
            return None
        pools.refresh(self._pool)
        return volume.adopt_volume(self._connection, self._pool, record, transfer.image_format, lifeline=self._lifeline)

    def remove(self, record: Record) -> Removal:
        """See `virt_ova.target.record.Recoverable.remove`."""
        return removal.remove(self._connection, record, uri=self._uri)

    def close(self) -> None:
        """Release the connection; one that is broken is released as well."""
        try:
            self._connection.close()
        except libvirt.libvirtError:
            return

    def _required_pool(self) -> Any:  # noqa: ANN401 - libvirt has no types
        """The pool; made when the host has none at all."""
        if self._pool is None:
            self._pool = self._make_pool()
        return self._pool

    def _make_pool(self) -> Any:  # noqa: ANN401 - libvirt has no types
        try:
            made = pools.make_default_pool(self._connection, uri=self._uri)
        except TargetError:
            if (made := pools.made_by_others(self._connection)) is None:
                raise
            return made
        made_in = quoted(str(pools.folder_of(made)))
        self._note("POOL_CREATED", f"the host had no storage pool; the pool 'default' was made in {made_in}")
        return made

    def _refresh(self) -> None:
        """Let libvirt see the format and size of what was written."""
        if self._needs_refresh and not pools.refresh(self._required_pool()):
            self._note(
                "POOL_STALE",
                "libvirt could not refresh the storage pool because another job works in it; "
                "until it does, it shows the new volumes as raw",
            )
        self._needs_refresh = False

    def _note(self, code: str, message: str) -> None:
        self._findings.append(Finding(code=code, severity=Severity.INFO, message=message, where=self._uri))

    def _check_support(self) -> None:
        """Refuse a driver that takes no bytes."""
        with translated("asking for the kind of hypervisor"):
            kind = str(self._connection.getType())
        if kind == "TEST":
            raise TargetError(
                f"{self._uri} is libvirt's mock driver, which has no volume upload and keeps no bytes",
                code="E_NOT_SUPPORTED",
                hint="Plans can be made for it, machines cannot be installed; use dir:PATH or qemu:///session.",
            )

    def _check_space(self, need: int) -> None:
        """Refuse when the pool has less than `need` bytes, or cannot be made."""
        if self._pool is None:
            pools.default_folder(self._uri)
            return
        free = pools.free_bytes(self._pool, is_local=self._in_place)
        if need > free:
            raise SpaceError(
                f"the storage pool {quoted(self._pool.name())} has {format_bytes(free)} free, "
                f"the images need {format_bytes(need)}",
                code="E_SPACE",
                hint=SPACE_HINT,
            )
