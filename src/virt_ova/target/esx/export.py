"""Exports a machine of an ESXi host or a vCenter, through an export lease (vim.VirtualMachine.ExportVm)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import PurePosixPath
from typing import Any, Final

from pyVmomi import vim

from virt_ova.errors import TargetError
from virt_ova.findings import Finding, Severity
from virt_ova.interrupt import Held
from virt_ova.target.esx.credentials import find_credentials
from virt_ova.target.esx.download import Download
from virt_ova.target.esx.errors import translated, words_of
from virt_ova.target.esx.inventory import find_machine
from virt_ova.target.esx.lease import Lease
from virt_ova.target.esx.session import Session
from virt_ova.target.esx.uri import parse_address
from virt_ova.target.exporting import Description, OfferedFile, PackedFile
from virt_ova.target.importing import Ask
from virt_ova.text import printable, quoted

_ENDING: Final = re.compile(r"\.[a-z0-9]{1,8}")
_DIGEST: Final = re.compile("[0-9a-f]{40}")
_OFF: Final = "poweredOff"
_STATES: Final = {"poweredOn": "powered on", "suspended": "suspended"}


def open_exporter(uri: str, *, ask: Ask | None) -> EsxExporter:
    """Log in at `uri`.

    Raises:
        TargetError: the URI makes no sense (``E_URI``); there is no password, or it is refused (``E_AUTH``); no
            connection (``E_CONNECT``, ``E_TLS``).
    """
    address = parse_address(uri)
    return EsxExporter(Session(address, find_credentials(address, ask)))


class EsxExporter:
    """A `virt_ova.target.exporting.Exporter`."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self.uri = session.address.uri

    def begin(self, name: str) -> EsxExport:
        """See `Exporter.begin`."""
        machine = find_machine(self._session, name)
        with translated(f"exporting {quoted(name)}"):
            state = str(machine.runtime.powerState or "in a state that the server does not tell")
            if state != _OFF:
                raise TargetError(
                    f"the machine {quoted(name)} is {_STATES.get(state, printable(state))}, expected powered off",
                    code="E_RUNNING",
                    hint="Shut it down, or clone it and export the clone.",
                )
            handle = machine.ExportVm()
        return EsxExport(self._session, machine, Lease(self._session, handle), name=name)

    def close(self) -> None:
        """Log out."""
        self._session.close()


class EsxExport:
    """A `virt_ova.target.exporting.Export`: a machine, and the lease by which it gives its files."""

    def __init__(self, session: Session, machine: Any, lease: Lease, *, name: str) -> None:  # noqa: ANN401 - pyvmomi has no types
        self._session, self._machine, self._lease, self._name = session, machine, lease, name
        self._tags: dict[str, str] = {}

    def wait(self, held: Held) -> None:
        """See `Export.wait`."""
        self._lease.wait(held)

    @cached_property
    def files(self) -> Sequence[OfferedFile]:
        """See `Export.files`."""
        return tuple(_offered(device) for device in self._lease.devices)

    def describe(self, files: Sequence[PackedFile]) -> Description:
        """See `Export.describe`; the server writes it, and is told what it said itself of each disk."""
        sent = self._lease.manifest()
        params = vim.OvfManager.CreateDescriptorParams(
            name=self._name,
            includeImageFiles=not all(each.file.is_disk for each in files),
            ovfFiles=[_told(each, sent.get(each.file.key)) for each in files],
        )
        with translated(f"describing {quoted(self._name)}"):
            result = self._session.content.ovfManager.CreateDescriptor(self._machine, params)
        problems, remarks = list(result.error or ()), list(result.warning or ())
        if not result.ovfDescriptor:
            raise TargetError(
                f"the server cannot describe {quoted(self._name)}: "
                + ("; ".join(map(words_of, problems)) or "it does not say why"),
                code="E_EXPORT",
                hint="Remove the device that it names, or look at the events of the host or vCenter.",
            )
        errors = (self._remark("EXPORT_ERROR", Severity.ERROR, each) for each in problems)
        warnings = (self._remark("EXPORT_WARNING", Severity.WARNING, each) for each in remarks)
        return Description(descriptor=str(result.ovfDescriptor), findings=(*errors, *warnings))

    def open_file(self, file: OfferedFile, start: int, *, name: str) -> Download:
        """See `Export.open_file`."""
        download = self._lease.open_download(file.key, start, self._tags.get(file.key, ""), name=name)
        self._tags[file.key] = download.tag
        return download

    def digests(self) -> Mapping[str, Mapping[str, str]]:
        """See `Export.digests`."""
        found = {key: str(entry.sha1 or "").lower() for key, entry in self._lease.manifest().items()}
        return {key: {"SHA1": digest} for key, digest in found.items() if _DIGEST.fullmatch(digest)}

    def check(self) -> None:
        """See `Export.check`."""
        self._lease.check()

    def complete(self) -> None:
        """See `Export.complete`."""
        self._lease.complete()

    def discard(self) -> None:
        """See `Export.discard`."""
        with translated(f"giving the lease on {quoted(self._name)} back"):
            self._session.lasting(self._lease.abort)

    def _remark(self, code: str, severity: Severity, fault: Any) -> Finding:  # noqa: ANN401 - pyvmomi has no types
        return Finding(code=code, severity=severity, message=words_of(fault), where=self._session.address.uri)


def _told(packed: PackedFile, sent: Any) -> Any:  # noqa: ANN401 - pyvmomi has no types
    """The vim.OvfManager.OvfFile for a file of the package; `sent` is its entry in the lease's manifest, or None."""
    file = vim.OvfManager.OvfFile(deviceId=packed.file.key, path=packed.name, size=packed.size_bytes)
    if sent and sent.disk:
        file.capacity, file.populatedSize = sent.capacity, sent.populatedSize
    return file


def _offered(device: Any) -> OfferedFile:  # noqa: ANN401 - pyvmomi has no types
    ending = PurePosixPath(str(device.targetId or device.url)).suffix.lower()
    return OfferedFile(
        key=str(device.key),
        ending=ending if _ENDING.fullmatch(ending) else "",
        is_disk=bool(device.disk),
        size_bytes=int(device.fileSize) if device.fileSize else None,
    )
