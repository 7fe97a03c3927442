"""A session of the vSphere API.

Managed objects of pyvmomi hold the connection they came by, and may be used from several threads. When the session has
ended or the line is broken, what must still be done (taking back what was made) is done in a new one.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from typing import Any, Final, TypeVar
from urllib.parse import unquote

from pyVmomi import vim, vmodl
from pyVmomi.VmomiSupport import versionMap

from virt_ova.errors import TargetError
from virt_ova.target.esx.answers import ApiConnection, Stub
from virt_ova.target.esx.credentials import Credentials
from virt_ova.target.esx.errors import BROKEN_LINE, GarbledError, translated
from virt_ova.target.esx.tls import Trust
from virt_ova.target.esx.uri import Address
from virt_ova.text import printable, quoted

ANSWER_SECONDS: Final = 60.0
"""How long the server may take for one answer, from its first byte to its last as well."""

_NAMESPACE: Final = "vim25/6.5"
"""The API that is spoken at first: the oldest that any server still in use has, and newer ones speak as well."""

_NEWER_API: Final = (6, 7)
_NEWER_NAMESPACE: Final = "vim25/6.7"
"""The one that is spoken with servers that have it: there, a lease can be asked for SHA-256."""

_TICK_SECONDS: Final = 0.2
_TASK_SECONDS: Final = 600.0

T = TypeVar("T")


class Session:
    """Logged in at one vSphere.

    Attributes:
        address: where it is.
        trust: which certificates are taken there.
        content: of the service instance.
    """

    def __init__(self, address: Address, credentials: Credentials) -> None:
        """Log in.

        Raises:
            TargetError: no connection (``E_CONNECT``, ``E_TLS``), or the login is refused (``E_AUTH``).
        """
        self.address, self._credentials = address, credentials
        self.trust = Trust(is_verified=address.is_verified, thumbprint=address.thumbprint)
        self._is_over = False
        self._stub = _stub(address, self.trust)
        try:
            self._log_in()
        except BaseException:
            self._stub.DropConnections()
            raise

    def _log_in(self) -> None:
        address, credentials = self.address, self._credentials
        instance: Any = vim.ServiceInstance("ServiceInstance", self._stub)
        with translated(f"connecting to {quoted(address.uri)}"):
            self.content = instance.RetrieveContent()
            about = self.content.about
            if not (about and about.apiType and self.content.sessionManager and self.content.rootFolder):
                raise GarbledError("it does not tell what it is")
        if self.api_version >= _NEWER_API and (newer := versionMap.get(_NEWER_NAMESPACE)):
            self._stub.ComputeVersionInfo(newer)
        kind = str(self.content.about.apiType)
        if (kind == "VirtualCenter") != address.is_vcenter:
            expected = "vpx://VCENTER/DATACENTER/CLUSTER" if kind == "VirtualCenter" else "esx://HOST/"
            raise TargetError(
                f"{quoted(address.uri)} is a {printable(kind)}, whose URI is {expected}",
                code="E_URI",
                hint="Use the other scheme.",
            )
        with translated(f"logging in at {quoted(address.host)} as {quoted(credentials.user)}"):
            self.content.sessionManager.Login(credentials.user, credentials.password, None)

    @property
    def api_version(self) -> tuple[int, ...]:
        """Of the API that the server speaks, ``(6, 7, 2)``."""
        return tuple(int(part) for part in re.findall(r"[0-9]{1,4}", str(self.content.about.apiVersion))[:4])

    def renewed(self) -> Session:
        """Another session of the same user."""
        return Session(self.address, self._credentials)

    def own(self, thing: Any) -> Any:  # noqa: ANN401 - pyvmomi has no types
        """The managed object `thing`, which may have come by another session."""
        return self.thing(type(thing), thing._GetMoId())  # noqa: SLF001 - pyvmomi's word for a public thing

    def thing(self, kind: Any, moid: str) -> Any:  # noqa: ANN401 - pyvmomi has no types
        """The managed object of that kind and id, which is not asked whether it is there."""
        return kind(moid, self._stub)

    def names_of(self, things: Sequence[Any]) -> dict[str, Any]:
        """Managed entities by their names; of two with one name, the first. Raises as `named`."""
        return dict(reversed(self.named(things)))

    def named(self, things: Sequence[Any]) -> list[tuple[str, Any]]:
        """Managed entities, each with its name as people see it, by one question.

        Raises:
            vmodl.MethodFault: they cannot be asked for.
        """
        if not things:
            return []
        collector = vmodl.query.PropertyCollector
        wanted = collector.FilterSpec(
            objectSet=[collector.ObjectSpec(obj=thing) for thing in things],
            propSet=[collector.PropertySpec(type=vim.ManagedEntity, pathSet=["name"])],
        )
        found = self.content.propertyCollector.RetrieveContents([wanted])
        return [(shown_name(each.propSet[0].val), each.obj) for each in found if each.propSet]

    def child(self, folder: Any, name: str) -> Any:  # noqa: ANN401 - pyvmomi has no types
        """What has that name in a folder; None when there is no such thing. Raises `vmodl.MethodFault`."""
        return self.content.searchIndex.FindChild(self.own(folder), name)

    def inside(self, container: Any, kind: Any) -> list[Any]:  # noqa: ANN401 - pyvmomi has no types
        """All managed objects of that kind in a container, however deep. Raises `vmodl.MethodFault`."""
        view = self.content.viewManager.CreateContainerView(container, [kind], recursive=True)
        try:
            return list(view.view)
        finally:
            view.DestroyView()

    def lasting(self, action: Callable[[Session], T]) -> T:
        """What `action` returns; done again in a new session when this one has ended or its line is broken.

        Raises:
            TargetError: it failed, or there is no new session.
        """
        try:
            return action(self)
        except (vim.fault.NotAuthenticated, *BROKEN_LINE):
            self._is_over = True
        renewed = self.renewed()
        try:
            return action(renewed)
        finally:
            renewed.close()

    def close(self) -> None:
        """Log out, as far as that is still possible; who did not answer before is not asked again."""
        try:
            if not self._is_over:
                self.content.sessionManager.Logout()
        except (vmodl.MethodFault, *BROKEN_LINE):
            return
        finally:
            self._stub.DropConnections()


def shown_name(name: str | None) -> str:
    """A name as people see it: the API escapes slashes and percent signs. What has none is shown without."""
    return printable(unquote(name or ""))


def run_task(task: Any, doing: str, *, seconds: float = _TASK_SECONDS) -> None:  # noqa: ANN401 - pyvmomi has no types
    """Wait for a task of the server to end.

    Raises:
        TargetError: it takes longer than `seconds` (``E_VSPHERE``).
        vmodl.MethodFault: it failed, or cannot be asked for.
    """
    deadline = time.monotonic() + seconds
    while (info := task.info).state in {"queued", "running"}:
        if time.monotonic() > deadline:
            raise TargetError(
                f"{doing} has not ended after {seconds:.0f} s",
                code="E_VSPHERE",
                hint="Look at the tasks of the host or vCenter.",
            )
        time.sleep(_TICK_SECONDS)
    if info.state != "success":
        raise info.error or TargetError(
            f"{doing} failed: the server does not say why",
            code="E_VSPHERE",
            hint="Look at the tasks of the host or vCenter.",
        )


def _stub(address: Address, trust: Trust) -> Any:  # noqa: ANN401 - pyvmomi has no types
    stub = Stub(host=address.host, port=address.port, ns=_NAMESPACE, acceptCompressedResponses=False)
    stub.scheme = ApiConnection
    stub.schemeArgs = {"trust": trust, "timeout": ANSWER_SECONDS}
    return stub
