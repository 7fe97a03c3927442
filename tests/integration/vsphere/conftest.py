"""A simulated ESXi and a simulated vCenter, and a look at what is in them."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
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
    with looked_into(vsphere) as folder:
        for group in groups_beside(folder):
            group.Destroy_Task()
        for machine in folder.childEntity:
            if machine.name not in before:
                if machine.runtime.powerState == "poweredOn":
                    machine.PowerOffVM_Task()
                machine.Destroy_Task()


def machines(vsphere: VSphere) -> list[str]:
    """Names of all machines."""
    with looked_into(vsphere) as folder:
        return sorted(machine.name for machine in folder.childEntity)


def groups_beside(folder: Any) -> list[Any]:  # noqa: ANN401 - pyvmomi has no types
    """All vApps of the datacenter that the folder of machines is in."""
    pools = [each for compute in folder.parent.hostFolder.childEntity for each in compute.resourcePool.resourcePool]
    return [pool for pool in pools if isinstance(pool, vim.VirtualApp)]


def everything(vsphere: VSphere) -> list[str]:
    """Names of all machines and vApps."""
    with looked_into(vsphere) as folder:
        return sorted(each.name for each in (*folder.childEntity, *groups_beside(folder)))


def machine_of(vsphere: VSphere, name: str) -> tuple[Any, str]:
    """Configuration of a machine, and its power state."""
    with looked_into(vsphere) as folder:
        machine = next(machine for machine in folder.childEntity if machine.name == name)
        return machine.config, str(machine.runtime.powerState)


@contextmanager
def looked_into(vsphere: VSphere) -> Iterator[Any]:
    """The folder of machines, for the time of the block."""
    host, port = vsphere.address.split(":")
    context = ssl.create_default_context(cafile=str(vsphere.certificate))
    stub: Any = SoapStubAdapter(host=host, port=int(port), ns="vim25/6.5", sslContext=context)
    content: Any = vim.ServiceInstance("ServiceInstance", stub).RetrieveContent()
    content.sessionManager.Login(USER, PASSWORD, None)
    try:
        yield content.rootFolder.childEntity[0].vmFolder
    finally:
        content.sessionManager.Logout()
        stub.DropConnections()


def uploads(vsphere: VSphere) -> list[tuple[str, bytes]]:
    """Method and bytes of each upload."""
    return [(each["Method"], Path(each["File"]).read_bytes()) for each in vsphere.seen()["Uploads"]]
