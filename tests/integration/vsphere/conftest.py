"""A simulated ESXi and a simulated vCenter, and a look at what is in them."""

from __future__ import annotations

import ssl
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from pyVmomi import SoapStubAdapter, vim

from tests.build.vsphere import PASSWORD, USER, VSphere, started
from virt_ova.target.esx import lease


@pytest.fixture(scope="session")
def simulators(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, VSphere]]:
    """Both kinds."""
    folders = tmp_path_factory.mktemp("esx"), tmp_path_factory.mktemp("vcenter")
    with started(folders[0]) as esx, started(folders[1], is_vcenter=True) as vcenter:
        yield {"esx": esx, "vcenter": vcenter}


@pytest.fixture(params=["esx", "vcenter"])
def vsphere(
    request: pytest.FixtureRequest, simulators: dict[str, VSphere], monkeypatch: pytest.MonkeyPatch
) -> Iterator[VSphere]:
    """Each kind, with nothing but its own machines, and credentials for it."""
    yield from _ready(simulators[request.param], monkeypatch)


@pytest.fixture
def esx(simulators: dict[str, VSphere], monkeypatch: pytest.MonkeyPatch) -> Iterator[VSphere]:
    """The ESXi."""
    yield from _ready(simulators["esx"], monkeypatch)


@pytest.fixture
def vcenter(simulators: dict[str, VSphere], monkeypatch: pytest.MonkeyPatch) -> Iterator[VSphere]:
    """The vCenter."""
    yield from _ready(simulators["vcenter"], monkeypatch)


def _ready(vsphere: VSphere, monkeypatch: pytest.MonkeyPatch) -> Iterator[VSphere]:
    monkeypatch.setenv("LIBVIRT_AUTH_FILE", str(vsphere.auth_file))
    monkeypatch.setattr(lease, "BEAT_SECONDS", 0.1)
    vsphere.set_faults()
    before = machines(vsphere)
    yield vsphere
    vsphere.set_faults()
    clear(vsphere, before)


def clear(vsphere: VSphere, kept: Sequence[str]) -> None:
    """Remove all machines and vApps but those of these names."""
    with placed_in(vsphere) as place:
        for each in place.entities():
            if each.name in kept:
                continue
            runs = any(machine.runtime.powerState == "poweredOn" for machine in place.inside(each))
            if runs and _is_group(each):
                each.PowerOffVApp_Task(force=True)
            elif runs:
                each.PowerOffVM_Task()
            each.Destroy_Task()


def machines(vsphere: VSphere) -> list[str]:
    """Names of all machines, those in vApps included."""
    with placed_in(vsphere) as place:
        return sorted(machine.name for machine in place.machines())


def everything(vsphere: VSphere) -> list[str]:
    """Names of all machines and vApps; what is in a vApp stands behind its name, as in ``shop/db``."""
    with placed_in(vsphere) as place:
        return sorted(place.paths())


def machine_of(vsphere: VSphere, name: str) -> tuple[Any, str]:
    """Configuration of a machine, and its power state."""
    with placed_in(vsphere) as place:
        machine = next(machine for machine in place.machines() if machine.name == name)
        return machine.config, str(machine.runtime.powerState)


@dataclass(frozen=True)
class Place:
    """Where machines and vApps are; pyvmomi has no types."""

    content: Any

    @property
    def folder(self) -> Any:  # noqa: ANN401
        """Of machines."""
        return self.content.rootFolder.childEntity[0].vmFolder

    def entities(self) -> list[Any]:
        """Machines and vApps in the folder of machines, and vApps that it does not list, which would be wrong."""
        folder = self.folder
        pools = [each for compute in folder.parent.hostFolder.childEntity for each in compute.resourcePool.resourcePool]
        listed = list(folder.childEntity)
        return listed + [pool for pool in pools if isinstance(pool, vim.VirtualApp) and pool not in listed]

    def groups(self) -> list[Any]:
        """The vApps that are in no other."""
        return [each for each in self.entities() if isinstance(each, vim.VirtualApp)]

    def machines(self) -> Iterator[Any]:
        """All machines."""
        for each in self.entities():
            yield from self.inside(each)

    def inside(self, entity: Any) -> Sequence[Any]:  # noqa: ANN401
        """All machines of a vApp, those in vApps of its own included; or the machine."""
        return self._inside(entity, [vim.VirtualMachine], recursive=True) if _is_group(entity) else [entity]

    def paths(self) -> Iterator[str]:
        """The names of all."""
        return self._paths(self.entities(), "")

    def _paths(self, entities: Sequence[Any], place: str) -> Iterator[str]:
        for each in entities:
            yield place + each.name
            if _is_group(each):
                inside = self._inside(each, [vim.VirtualMachine, vim.VirtualApp], recursive=False)
                yield from self._paths(inside, f"{place}{each.name}/")

    def _inside(self, group: Any, kinds: Sequence[Any], *, recursive: bool) -> Sequence[Any]:  # noqa: ANN401
        view = self.content.viewManager.CreateContainerView(group, list(kinds), recursive=recursive)
        found: list[Any] = view.view
        view.DestroyView()
        return found


def _is_group(entity: Any) -> bool:  # noqa: ANN401 - pyvmomi has no types
    return isinstance(entity, vim.VirtualApp)


@contextmanager
def looked_into(vsphere: VSphere) -> Iterator[Any]:
    """The folder of machines, for the time of the block."""
    with placed_in(vsphere) as place:
        yield place.folder


@contextmanager
def placed_in(vsphere: VSphere) -> Iterator[Place]:
    """What is there, for the time of the block."""
    host, port = vsphere.address.split(":")
    context = ssl.create_default_context(cafile=str(vsphere.certificate))
    stub: Any = SoapStubAdapter(host=host, port=int(port), ns="vim25/6.5", sslContext=context)
    content: Any = vim.ServiceInstance("ServiceInstance", stub).RetrieveContent()
    content.sessionManager.Login(USER, PASSWORD, None)
    try:
        yield Place(content)
    finally:
        content.sessionManager.Logout()
        stub.DropConnections()


def uploads(vsphere: VSphere) -> list[tuple[str, bytes]]:
    """Method and bytes of each upload."""
    return [(each["Method"], Path(each["File"]).read_bytes()) for each in vsphere.seen()["Uploads"]]
