"""An NFC lease: the right to send the files of a machine that is being made, or to read those of one that is there.

It lasts for as long as somebody says so: without a word the server takes it back after some minutes, and nothing of it
can be resumed. So a thread of its own reports progress every few seconds, whatever a transfer waits for; and when the
server does not want to hear it any more, it lets the transfer know.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, Final
from urllib.parse import urlsplit

from pyVmomi import vim, vmodl

from virt_ova.errors import TargetError
from virt_ova.interrupt import Held
from virt_ova.target.esx.download import Download
from virt_ova.target.esx.errors import BROKEN_LINE, error_of, translated, words_of
from virt_ova.target.esx.session import Session
from virt_ova.target.esx.tls import Trust
from virt_ova.target.esx.upload import Destination, UploadSink
from virt_ova.target.importing import Receipt
from virt_ova.text import printable, quoted
from virt_ova.units import KIB
from virt_ova.workers import Thread

BEAT_SECONDS: Final = 2.0
"""How often progress is reported."""

READY_SECONDS: Final = 600.0
"""How long a lease may take to begin: the server makes the disks, which may be allocated in full."""

SILENCE_SECONDS: Final = 120.0
"""How long the server may not answer: less than the least time after which it takes a lease back."""

_TICK_SECONDS: Final = 0.5
_JOIN_SECONDS: Final = 5.0
_WILDCARD: Final = "*"
_HTTPS: Final = 443
_KEEPING: Final = "keeping the lease alive"
_NO_MANIFEST: Final = (vmodl.fault.MethodNotFound, vmodl.fault.NotSupported, vim.fault.InvalidState)
"""What a server says that does not tell what was transferred."""


class Lease:
    """A lease, and the thread that keeps it alive."""

    def __init__(self, session: Session, handle: Any, *, total_bytes: int = 0, algorithm: str = "") -> None:  # noqa: ANN401 - pyvmomi has no types
        """Keep a lease; `wait` comes next.

        Args:
            session: it came by.
            handle: a vim.HttpNfcLease.
            total_bytes: so many will be sent; 0 when nobody knows, or they will be read.
            algorithm: what the server is to hash what it receives by, if it can; empty when nobody wants to know.
        """
        self._session, self._handle, self._total = session, handle, total_bytes
        self._algorithm = algorithm
        self._info: Any = None
        self._sent = 0
        self._failure: TargetError | None = None
        self._transfers: list[UploadSink | Download] = []
        self._is_over = threading.Event()
        self._thread = Thread(self._keep)

    def wait(self, held: Held) -> None:
        """Wait until it is ready, and keep it alive from then on.

        Raises:
            TargetError: it will not be (``E_LEASE``), or the server cannot be asked.
        """
        deadline = time.monotonic() + READY_SECONDS
        with translated("waiting for the lease"):
            while (state := self._handle.state) == "initializing":
                if time.monotonic() > deadline:
                    raise _lease_error(f"it was not ready after {READY_SECONDS:.0f} s")
                with held.let_through():
                    time.sleep(_TICK_SECONDS)
            if state != "ready":
                raise self._reason(f"its state is {printable(str(state))}")
            self._info = self._handle.info
            self._ask_for_digests()
            self._total = self._total or (self._info.totalDiskCapacityInKB or 0) * KIB or 1
        self._thread.start()

    def entity(self, session: Session) -> Any:  # noqa: ANN401 - pyvmomi has no types
        """The machine, or the vApp, that it is for; None when that cannot be told, or not yet, or it is neither."""
        if self._info is None:
            try:
                self._info = session.own(self._handle).info
            except vmodl.fault.ManagedObjectNotFound:
                return None
        entity = self._info.entity if self._info else None
        return entity if isinstance(entity, vim.VirtualMachine | vim.VirtualApp) else None

    def open_upload(self, key: str, size_bytes: int, *, name: str, is_disk: bool) -> UploadSink:
        """Where the file goes that the import spec calls `key`.

        Raises:
            TargetError: the lease has no such file, or would have it sent to a place that is not known (``E_LEASE``).
        """
        device = next((each for each in self._info.deviceUrl or () if each.importKey == key), None)
        if device is None:
            raise _lease_error(f"it has no place for {quoted(name)} ({quoted(key)})")
        destination = self._destination(str(device.url), str(device.sslThumbprint or ""), is_disk=is_disk)
        sink = UploadSink(destination, size_bytes, name=name, sent=self._advance, alive=self.check)
        self._transfers.append(sink)
        return sink

    @property
    def devices(self) -> Sequence[Any]:
        """What has files (vim.HttpNfcLease.DeviceUrl)."""
        return tuple(self._info.deviceUrl or ())

    def open_download(self, key: str, start: int, tag: str, *, name: str) -> Download:
        """Begin to read the file of the device `key`; `start` and `tag` as `Download.open` has them.

        Raises:
            TargetError: it would come from a place that is not known (``E_LEASE``), or as `Download.open`.
        """
        device = next(each for each in self.devices if each.key == key)
        source = self._destination(str(device.url), str(device.sslThumbprint or ""), is_disk=bool(device.disk))
        download = Download(source, name=name, received=self._advance, alive=self.check)
        self._transfers.append(download)
        download.open(start, tag)
        return download

    def manifest(self) -> Mapping[str, Any]:
        """What the server says was transferred (vim.HttpNfcLease.ManifestEntry), by key; nothing when it cannot tell.

        Raises:
            TargetError: it cannot be asked.
        """
        with translated("asking for the digests"):
            try:
                entries = self._handle.HttpNfcLeaseGetManifest()
            except _NO_MANIFEST:
                return {}
        return {str(each.key): each for each in entries or ()}

    def target_id(self, key: str) -> str:
        """The server's file name for the file `key`."""
        ids = (each.targetId for each in self._info.deviceUrl or () if each.importKey == key)
        return printable(next((str(each) for each in ids if each), ""))

    def check(self) -> None:
        """Raise `TargetError` when the server has taken the lease back."""
        if self._failure:
            raise self._failure

    def receipts(self) -> tuple[Receipt, ...]:
        """What the server says of the files that it received; empty when it says nothing.

        Raises:
            TargetError: it cannot be asked.
        """
        if not self._algorithm:
            return ()
        self.check()
        keys = {str(each.key): str(each.importKey) for each in self.devices}
        received = (_receipt(keys.get(key, ""), each, self._algorithm) for key, each in self.manifest().items())
        return tuple(each for each in received if each.key and each.hex)

    def complete(self) -> None:
        """Tell the server that everything is there.

        Raises:
            TargetError: it does not agree.
        """
        self.check()
        with translated("completing the lease"):
            self._handle.HttpNfcLeaseComplete()
        self.stop()

    def abort(self, session: Session) -> None:
        """Break it off; one that is over already is as good."""
        self.stop()
        try:
            session.own(self._handle).HttpNfcLeaseAbort()
        except (vmodl.fault.ManagedObjectNotFound, vim.fault.InvalidState, vim.fault.Timedout):
            return

    def stop(self) -> None:
        """Keep it alive no longer."""
        self._is_over.set()
        for each in self._transfers:
            each.close()
        if self._thread.ident is not None:
            self._thread.join(_JOIN_SECONDS)

    def _ask_for_digests(self) -> None:
        """Ask for SHA-256; SHA-1 comes unasked (`HttpNfcLeaseManifestEntry`)."""
        if self._algorithm != "SHA256":
            return
        wanted = [vim.KeyValue(key=each.key, value="sha256") for each in self._info.deviceUrl or ()]
        with suppress(*_NO_MANIFEST):
            self._handle.HttpNfcLeaseSetManifestChecksumType(wanted)

    def _advance(self, done_bytes: int) -> None:
        self._sent += done_bytes

    def _keep(self) -> None:
        """Report progress until it is over; of one that is lost, tell the upload."""
        heard = time.monotonic()
        while not self._is_over.wait(BEAT_SECONDS):
            try:
                self._handle.HttpNfcLeaseProgress(min(99, 100 * self._sent // self._total))
                heard = time.monotonic()
                if self._has_failed():
                    self._lose(self._reason())
            except (vim.fault.Timedout, vim.fault.InvalidState) as exc:
                self._lose(self._reason(words_of(exc)))
            except vmodl.MethodFault as exc:
                self._lose(error_of(exc, _KEEPING))
            except BROKEN_LINE as exc:
                if time.monotonic() - heard > SILENCE_SECONDS:
                    self._lose(error_of(exc, _KEEPING))

    def _has_failed(self) -> bool:
        """Whether the server calls it failed; of one that is gone the next report of progress tells why."""
        try:
            return str(self._handle.state) == "error"
        except vmodl.fault.ManagedObjectNotFound:
            return False

    def _lose(self, failure: TargetError) -> None:
        if not self._is_over.is_set():
            self._failure = self._failure or failure
            self._is_over.set()
            for each in self._transfers:
                each.break_off()

    def _reason(self, otherwise: str = "") -> TargetError:
        """What the server says went wrong; `otherwise` when it says nothing."""
        try:
            fault = self._handle.error
        except (vmodl.MethodFault, *BROKEN_LINE):
            fault = None
        if fault is None:
            return _lease_error(otherwise)
        error = error_of(fault, "the lease")
        return _lease_error(words_of(fault)) if error.code == "E_VSPHERE" else error

    def _destination(self, url: str, thumbprint: str, *, is_disk: bool) -> Destination:
        """Where `url` leads, if it may lead there.

        A lease of ESXi leads to the host itself. That of a vCenter leads to one of its hosts, whose certificate it
        names in a session that is trusted; without that, the certificate must be valid.
        """
        address, plain = self._session.address, thumbprint.replace(":", "").strip().lower()
        host, port, path = _parts_of(url)
        host = address.host if host == _WILDCARD else host
        is_own = host.lower() == address.host.lower()
        if not host or not (is_own or address.is_vcenter):
            raise _lease_error(f"it leads to {quoted(url)}, expected https://{address.host}/")
        where = f"[{host}]" if ":" in host else host
        there = f"https://{where}:{port or (address.port if is_own else _HTTPS)}{path}"
        if plain:
            trust = Trust(thumbprint=_checked_thumbprint(plain))
        elif is_own:
            trust = self._session.trust
        else:
            trust = Trust(is_verified=address.is_verified)
        return Destination(url=there, trust=trust, is_disk=is_disk)


def _receipt(key: str, entry: Any, algorithm: str) -> Receipt:  # noqa: ANN401 - pyvmomi has no types
    """What an entry of the server's manifest says; without a digest when it has none by `algorithm`."""
    digest = entry.sha1 if algorithm == "SHA1" else ""
    if str(getattr(entry, "checksumType", "") or "").upper() == algorithm:
        digest = entry.checksum
    return Receipt(key=key, algorithm=algorithm, hex=str(digest or "").lower(), size_bytes=int(entry.size or 0))


def _parts_of(url: str) -> tuple[str, int | None, str]:
    """Host, port and path of a URL; no host when it is not one of https."""
    try:
        parts = urlsplit(url)
        port = None if parts.hostname == _WILDCARD else parts.port
    except ValueError:
        return "", None, ""
    host = (parts.hostname or "") if parts.scheme == "https" else ""
    return host, port, parts._replace(scheme="", netloc="").geturl()


def _checked_thumbprint(text: str) -> str:
    if len(text) not in {40, 64} or not set(text) <= set("0123456789abcdef"):
        raise _lease_error(f"it names the thumbprint {quoted(text)}, expected a SHA-1 or SHA-256 in hex")
    return text


def _lease_error(reason: str) -> TargetError:
    return TargetError(
        f"the lease cannot be used: {reason or 'the server does not say why'}",
        code="E_LEASE",
        hint="Try again; if it fails in the same place, look at the events of the host or vCenter.",
    )
