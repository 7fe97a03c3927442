"""An open connection to an ESXi host or a vCenter."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any, Final

from pyVmomi import vim, vmodl

from virt_ova.errors import TargetError
from virt_ova.findings import Finding, Severity
from virt_ova.interrupt import Held
from virt_ova.plan.host import HostCapabilities
from virt_ova.plan.machine import Connection, ConnectionKind
from virt_ova.target.esx.credentials import find_credentials
from virt_ova.target.esx.errors import BROKEN_LINE, error_of, translated, words_of
from virt_ova.target.esx.inventory import Place, find_place
from virt_ova.target.esx.lease import Lease
from virt_ova.target.esx.machine import EsxMachine, remove
from virt_ova.target.esx.removal import BY_HAND, Kind, intended, is_anothers, made, remove_recorded
from virt_ova.target.esx.session import Session
from virt_ova.target.esx.upload import UploadSink
from virt_ova.target.esx.uri import parse_address
from virt_ova.target.identity import new_uuid
from virt_ova.target.importing import Ask, ImportRequest, Receipt, WantedFile
from virt_ova.target.record import Note, Record, Removal, unnoted
from virt_ova.text import printable, quoted
from virt_ova.undo import Made, take_back

_USUAL_NETWORK: Final = "VM Network"
_NOT_DISKS: Final = frozenset({14, 15, 16})
"""CIM types of floppy, CD and DVD drives (`OvfFileItem.cimType`)."""

_HARDWARE: Final = (
    ((5, 5), 10),
    ((6, 0), 11),
    ((6, 5), 13),
    ((6, 7), 14),
    ((6, 7, 2), 15),
    ((7, 0), 17),
    ((7, 0, 1), 18),
    ((7, 0, 2), 19),
    ((8, 0), 20),
    ((8, 0, 2), 21),
)
"""API version, and the newest hardware version that came with it (VMware KB 1003746)."""

_NAMED: Final = {vim.VirtualApp: Kind.GROUP, vim.Folder: "folder"}
"""What may have a machine's name besides a machine."""

_UNKNOWN_VERSION: Final = (9,)

_ENVIRONMENT_KEY: Final = "guestinfo.ovfEnv"


def open_vsphere(uri: str, *, pool: str | None, ask: Ask | None) -> EsxTarget:
    """Log in at `uri`.

    Raises:
        TargetError: the URI makes no sense (``E_URI``); there is no password, or it is refused (``E_AUTH``); no
            connection (``E_CONNECT``, ``E_TLS``); no such datastore (``E_POOL``).
    """
    address = parse_address(uri)
    session = Session(address, find_credentials(address, ask))
    try:
        return EsxTarget(session, find_place(session, datastore=pool))
    except BaseException:
        session.close()
        raise


@dataclass(frozen=True, kw_only=True, slots=True)
class EsxOffer:
    """A `virt_ova.target.importing.Offer`; `spec` is the server's own, with the UUID that `record` tells."""

    name: str
    record: Record
    spec: Any = field(repr=False)
    files: tuple[WantedFile, ...]
    total_bytes: int
    algorithm: str
    secrets: tuple[str, ...] = field(repr=False)
    findings: tuple[Finding, ...]

    @property
    def what(self) -> str:
        """See `virt_ova.target.importing.Offer.what`."""
        return f"{self.record.kind} {printable(self.name)}"


class EsxTarget:
    """A `virt_ova.target.importing.Importer` and a `virt_ova.target.record.Recoverable`."""

    def __init__(self, session: Session, place: Place) -> None:
        self._session, self._place = session, place
        self._note: Note = unnoted
        self.uri, self.opened_by = session.address.uri, session.address.whole
        self.findings: Sequence[Finding] = place.findings

    @cached_property
    def capabilities(self) -> HostCapabilities:
        """See `virt_ova.target.importing.Importer.capabilities`."""
        names = tuple(sorted(self._place.networks))
        name = _USUAL_NETWORK if _USUAL_NETWORK in names else next(iter(names), _USUAL_NETWORK)
        return HostCapabilities(
            makes_hardware=True,
            secure_boot=True,
            makes_groups=self._session.address.is_vcenter,
            tells_properties=self._session.address.is_vcenter,
            newest_hardware=_newest_hardware(self._session.api_version),
            networks=names,
            default_connection=Connection(kind=ConnectionKind.NETWORK, name=name),
        )

    def prepare(self, request: ImportRequest) -> EsxOffer:
        """See `virt_ova.target.importing.Importer.prepare`."""
        place = self._place
        with translated(f"looking for {quoted(request.name)}"):
            taken = self._session.child(place.folder, request.name)
        if taken is not None:
            raise TargetError(
                f"{self.uri} has a {_NAMED.get(type(taken), 'machine')} {quoted(request.name)} already",
                code="E_EXISTS",
                hint="Choose another name with --name.",
            )
        with translated("reading the descriptor on the server"):
            params = vim.OvfManager.CreateImportSpecParams(
                entityName=request.name,
                locale="",
                deploymentOption=request.deployment_option,
                diskProvisioning="thin",
                hostSystem=place.host,
                networkMapping=[
                    vim.OvfManager.NetworkMapping(name=name, network=self._network(name, connection))
                    for name, connection in request.networks.items()
                ],
                propertyMapping=[vim.KeyValue(key=key, value=value) for key, value in request.properties.items()],
            )
            result = self._session.content.ovfManager.CreateImportSpec(
                request.descriptor, place.pool, place.datastore, params
            )
            return self._offer(request, result)

    def begin(self, offer: EsxOffer) -> EsxImport:
        """See `virt_ova.target.importing.Importer.begin`."""
        self._note(offer.record)
        doing = f"making {quoted(offer.name)}"
        with translated(doing):
            try:
                handle = self._place.pool.ImportVApp(offer.spec, self._place.folder, self._place.host)
            except (vmodl.MethodFault, *BROKEN_LINE) as exc:
                error = error_of(exc, doing)
                error.message = _hidden(error.message, offer.secrets)
                forget = partial(self.remove, offer.record)
                take_back([Made(what=f"{offer.what}, if it was made", discard=forget)], error)
                raise error from exc
        lease = Lease(self._session, handle, total_bytes=offer.total_bytes, algorithm=offer.algorithm)
        datastore = self._place.datastore_name
        return EsxImport(self._session, lease, record=offer.record, datastore=datastore, note=self._note)

    def tell(self, note: Note) -> None:
        """See `virt_ova.target.record.Recoverable.tell`."""
        self._note = note

    def remove(self, record: Record) -> Removal:
        """See `virt_ova.target.record.Recoverable.remove`."""
        try:
            with translated(f"removing {quoted(record.name)}"):
                return self._session.lasting(partial(remove_recorded, record=record))
        except TargetError as exc:
            exc.hint = BY_HAND
            raise

    def close(self) -> None:
        """Log out."""
        self._session.close()

    def _network(self, name: str, connection: Connection) -> Any:  # noqa: ANN401 - pyvmomi has no types
        networks = self._place.networks
        if connection.kind is ConnectionKind.NETWORK and connection.name in networks:
            return networks[connection.name]
        there = ", ".join(quoted(each) for each in sorted(networks)) or "none"
        raise TargetError(
            f"network {quoted(name)} of the package cannot go to {quoted(connection.name or connection.kind)}, "
            f"{self.uri} has: {there}",
            code="E_NETWORK",
            hint=f"Choose one with --network '{printable(name)}=network:NAME'.",
        )

    def _offer(self, request: ImportRequest, result: Any) -> EsxOffer:  # noqa: ANN401 - pyvmomi has no types
        problems = [_hidden(words_of(each), request.secrets) for each in result.error or ()]
        if problems or result.importSpec is None:
            raise TargetError(
                f"the server cannot make {quoted(request.name)} from the descriptor: "
                + ("; ".join(problems) or "it does not say why"),
                code="E_IMPORT_SPEC",
                hint="See what is wrong with: virt-ova inspect; --fix-hardware changes what ESXi is known to refuse.",
            )
        kind, uuid = _own(result.importSpec, request.environment)
        items = list(result.fileItem or ())
        return EsxOffer(
            name=request.name,
            record=intended(kind, request.name, uuid),
            spec=result.importSpec,
            files=tuple(_wanted(item) for item in items),
            total_bytes=sum(int(item.size or 0) for item in items),
            algorithm=request.algorithm,
            secrets=request.secrets,
            findings=tuple(self._remark(each, request.secrets) for each in result.warning or ()),
        )

    def _remark(self, fault: Any, secrets: Sequence[str]) -> Finding:  # noqa: ANN401 - pyvmomi has no types
        words = _hidden(words_of(fault), secrets)
        return Finding(code="IMPORT_WARNING", severity=Severity.WARNING, message=words, where=self.uri)


class EsxImport:
    """A `virt_ova.target.importing.Import`: a machine, and the lease by which it gets its files."""

    def __init__(self, session: Session, lease: Lease, *, record: Record, datastore: str, note: Note) -> None:
        self._session, self._lease, self._datastore = session, lease, datastore
        self._record, self._note, self._name = record, note, record.name
        self._volumes: list[EsxVolume] = []

    def wait(self, held: Held) -> None:
        """See `virt_ova.target.importing.Import.wait`."""
        self._lease.wait(held)
        with translated(f"looking at {quoted(self._name)}"):
            self._note(made(self._record, self._lease.entity(self._session)))

    def open_volume(self, file: WantedFile, size_bytes: int) -> EsxVolume:
        """See `virt_ova.target.importing.Import.open_volume`."""
        name = printable(file.href)
        sink = self._lease.open_upload(file.key, size_bytes, name=name, is_disk=file.is_disk)
        volume = EsxVolume(name=self._lease.target_id(file.key) or name, pool=self._datastore, sink=sink)
        self._volumes.append(volume)
        return volume

    def receipts(self) -> Sequence[Receipt]:
        """See `virt_ova.target.importing.Import.receipts`."""
        return self._lease.receipts()

    def complete(self) -> EsxMachine:
        """See `virt_ova.target.importing.Import.complete`; what the server calls done must be there."""
        self._lease.complete()
        entity = self._lease.entity(self._session)
        try:
            with translated(f"looking at {quoted(self._name)}"):
                name, config = str(entity.name), _config_of(entity)
                uuid = str(config.uuid or "") if config else ""
                folder = str(config.files.vmPathName or "").rpartition("/")[0] if config else ""
        except TargetError as exc:
            if isinstance(exc.__cause__, vmodl.fault.ManagedObjectNotFound):
                raise self._vanished() from exc
            raise
        for volume in self._volumes:
            volume.path = f"{printable(folder)}/{volume.name}" if folder else ""
        return EsxMachine(self._session, entity, name=printable(name), uuid=printable(uuid))

    def discard(self) -> None:
        """See `virt_ova.target.importing.Import.discard`."""
        with translated(f"removing {quoted(self._name)}"):
            self._session.lasting(self._remove)

    def _remove(self, session: Session) -> None:
        """Abort the lease; what of its machine is still there then goes, and in any case what has its UUID."""
        entity = self._lease.entity(session)
        self._lease.abort(session)
        with suppress(vmodl.fault.ManagedObjectNotFound):  # it has gone
            if entity is not None and not is_anothers(self._record, session.own(entity)):
                remove(session, entity)
        remove_recorded(session, self._record)

    def _vanished(self) -> TargetError:
        return TargetError(
            f"the server says that {quoted(self._name)} is complete, and has no such machine",
            code="E_DOMAIN",
            hint="Somebody may have removed it meanwhile: look at the events of the host or vCenter.",
        )


@dataclass(kw_only=True, slots=True)
class EsxVolume:
    """A `virt_ova.target.base.Volume`: a file that is sent to a lease, which goes when the machine goes."""

    name: str
    pool: str
    sink: UploadSink
    path: str = ""

    def discard(self) -> None:
        """Nothing: it belongs to the machine."""


def _config_of(entity: Any) -> Any:  # noqa: ANN401 - pyvmomi has no types
    """Configuration of a machine; None for a vApp, for nothing, and while the server has none."""
    return entity.config if isinstance(entity, vim.VirtualMachine) else None


def _newest_hardware(api_version: tuple[int, ...]) -> int:
    """The newest hardware version of a host of that version; 0 when it is newer than what is known here."""
    if api_version >= _UNKNOWN_VERSION:
        return 0
    return max((hardware for version, hardware in _HARDWARE if version <= api_version), default=0)


def _wanted(item: Any) -> WantedFile:  # noqa: ANN401 - pyvmomi has no types
    is_file = bool(item.create) or int(item.cimType or 0) in _NOT_DISKS
    return WantedFile(key=str(item.deviceId), href=str(item.path), is_disk=not is_file)


def _hidden(words: str, secrets: Sequence[str]) -> str:
    """`words` of the server, which may repeat the values that it was given, without those that are secret."""
    for secret in secrets:
        words = words.replace(printable(secret), "(hidden)")
    return words


def _own(spec: Any, environment: str) -> tuple[Kind, str]:  # noqa: ANN401 - pyvmomi has no types
    """Give the machine or vApp a UUID of ours, and put the OVF environment where VMware Tools read it.

    Returns:
        What it is, and the UUID.
    """
    uuid = new_uuid()
    if not isinstance(spec, vim.vm.VmImportSpec):
        spec.vAppConfigSpec.instanceUuid = uuid
        return Kind.GROUP, uuid
    spec.configSpec.uuid = uuid
    if environment:
        told = vim.option.OptionValue(key=_ENVIRONMENT_KEY, value=environment)
        spec.configSpec.extraConfig = [*(spec.configSpec.extraConfig or ()), told]
    return Kind.MACHINE, uuid
