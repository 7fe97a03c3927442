"""Packages of several machines on a vCenter, which makes a vApp of them: names, nesting, and what goes wrong."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from pyVmomi import vim

import virt_ova
from tests.build.ova import build_ova, with_manifest
from tests.build.small import edited
from tests.build.vapp import vapp_members, vapp_ova
from tests.build.vsphere import PASSWORD, USER, VSphere
from tests.integration.vsphere.conftest import everything, machine_of, placed_in
from virt_ova import InstallOptions, PlanError, SpaceError, TargetError, VirtOvaError
from virt_ova.plan.codec import from_json, to_json
from virt_ova.stories.install import preflight
from virt_ova.target.esx.credentials import Credentials
from virt_ova.target.esx.machine import EsxMachine
from virt_ova.target.esx.session import Session
from virt_ova.target.esx.uri import parse_address

Members = list[tuple[str, bytes]]


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """A package of two machines."""
    return vapp_ova(tmp_path / "shop.ova", ("db", "web"))


def nested(names: Sequence[str], inner: Sequence[str]) -> Members:
    """The collection ``shop`` of machines, of which the `inner` ones are in a collection of their own, ``back``."""
    (name, text), *disks = vapp_members(names)
    head, *systems = text.decode().split("<VirtualSystem ")
    *systems, last = [f"<VirtualSystem {each}" for each in systems]
    last, tail = last.split("</VirtualSystemCollection>")
    systems.append(last)
    outside = "".join(each for each, name in zip(systems, names, strict=True) if name not in inner)
    inside = "".join(each for each, name in zip(systems, names, strict=True) if name in inner)
    group = f'<VirtualSystemCollection ovf:id="back"><Info/><Name>back</Name>{inside}</VirtualSystemCollection>'
    return [(name, f"{head}{outside}{group}</VirtualSystemCollection>{tail}".encode()), *disks]


def made(vcenter: VSphere, package: Path, name: str | None = None) -> list[str]:
    """What an install makes, under the name of the vApp; every disk goes to a place of its own."""
    before = everything(vcenter)
    result = virt_ova.install(package, vcenter.uri(), options=InstallOptions(name=name))
    assert len({each["Path"] for each in vcenter.seen()["Uploads"]}) == len(result.volumes)
    (domain,) = result.domains
    new = [each for each in everything(vcenter) if each not in before]
    assert new.pop(0) == domain.name
    return [each.removeprefix(f"{domain.name}/") for each in new]


def failure(vcenter: VSphere, package: Path, options: InstallOptions | None = None) -> VirtOvaError:
    """The error of an install, which left nothing."""
    before = everything(vcenter)
    with pytest.raises(VirtOvaError) as caught:
        virt_ova.install(package, vcenter.uri(), options=options)
    assert everything(vcenter) == before
    return caught.value


def test_a_package_may_be_installed_again_under_another_name(vcenter: VSphere, shop: Path) -> None:
    """Names in a vApp are its own (`ManagedEntity.name`)."""
    assert made(vcenter, shop) == ["db", "web"]
    error = failure(vcenter, shop)
    assert (error.code, error.message, error.hint) == (
        "E_EXISTS",
        f"vpx://{USER}@{vcenter.address}/DC0/DC0_C0 has a vApp 'shop' already",
        "Choose another name with --name.",
    )
    vcenter.set_faults()
    assert made(vcenter, shop, "other") == ["other-db", "other-web"]


def test_a_collection_in_a_collection(vcenter: VSphere, tmp_path: Path) -> None:
    package = build_ova(tmp_path / "a.ova", with_manifest(nested(("db", "web", "app"), ("db", "app"))))
    assert made(vcenter, package) == ["back", "back/app", "back/db", "web"]


@pytest.mark.parametrize(
    ("names", "shown"),
    [
        (("same", "same"), ["same", "same-2"]),
        (("a/pp%2f\\", "d\u00e9\u65e5b &amp; "), ["a-pp-2f", "de-b"]),
        (("", ""), ["db", "web"]),
        (("shop", "web"), ["shop", "web"]),
    ],
    ids=["same", "odd", "none", "group"],
)
def test_machines_have_the_names_that_the_plan_tells(
    vcenter: VSphere, tmp_path: Path, names: tuple[str, str], shown: list[str]
) -> None:
    members = vapp_members(("db", "web"))
    for old, new in zip(("db", "web"), names, strict=True):
        members = edited(members, f"<Name>{old}</Name>", f"<Name>{new}</Name>" if new else "")
    package = build_ova(tmp_path / "a.ova", with_manifest(members))
    assert sorted(machine.name for machine in preflight(package, vcenter.uri()).machines) == shown
    assert made(vcenter, package) == shown


def test_names_may_be_edited_in_a_plan(vcenter: VSphere, shop: Path) -> None:
    plan = preflight(shop, vcenter.uri(), options=InstallOptions(name="store"))
    document = json.loads(to_json(plan))
    assert [each["collection"] for each in document["machines"]] == ["store", "store"]
    before = everything(vcenter)
    for machine, name in zip(document["machines"], ("data", "front"), strict=True):
        machine["name"], machine["collection"] = name, "market"
    virt_ova.install(shop, vcenter.uri(), plan=from_json(json.dumps(document)))
    assert set(everything(vcenter)) - set(before) == {"market", "market/data", "market/front"}
    document["machines"][0]["collection"] = "store"
    with pytest.raises(PlanError) as caught:
        virt_ova.install(shop, vcenter.uri(), plan=from_json(json.dumps(document)))
    assert (caught.value.code, caught.value.message, caught.value.hint) == (
        "E_PLAN_HARDWARE",
        "the machines are in 2 collections ('market', 'store'), expected one for all",
        "Give all machines of the plan the same collection, which is the name of their vApp.",
    )


@pytest.mark.parametrize("members", [("db", "web"), ("back",)], ids=["flat", "nested"])
def test_a_vapp_of_which_not_all_can_be_made(vcenter: VSphere, tmp_path: Path, members: Sequence[str]) -> None:
    """A server that answers with a fault, and leaves what it had made."""
    content = vapp_members(members) if len(members) > 1 else nested(("db", "web"), ("db", "web"))
    package = build_ova(tmp_path / "a.ova", with_manifest(content))
    vcenter.set_faults(Refuse="The second one is too much.")
    error = failure(vcenter, package)
    assert (error.code, error.message, error.hint) == (
        "E_VSPHERE",
        "making 'shop' failed: The second one is too much",
        "Look at the tasks and events of the host or vCenter.",
    )
    vcenter.set_faults()
    assert made(vcenter, package)[-2:] == (["db", "web"] if len(members) > 1 else ["back/db", "back/web"])


@pytest.mark.parametrize(
    ("fault", "code", "hint"),
    [
        ("DuplicateName", "E_EXISTS", "Choose another name with --name."),
        ("NoDiskSpace", "E_SPACE", "Free some space or choose another datastore with --pool."),
    ],
)
def test_a_lease_that_ends_before_it_is_ready(vcenter: VSphere, shop: Path, fault: str, code: str, hint: str) -> None:
    """As a server tells of what it cannot make (`ResourcePool.ImportVApp`); it should remove what it made."""
    vcenter.set_faults(LeaseFault=fault, LeaveGroup=fault == "NoDiskSpace")
    error = failure(vcenter, shop)
    assert type(error) is (SpaceError if code == "E_SPACE" else TargetError)
    assert (error.code, error.message, error.hint) == (code, f"the lease failed: {fault}", hint)


def test_a_vapp_is_started_though_its_first_machine_is_not(vcenter: VSphere, tmp_path: Path) -> None:
    startup = '<Item ovf:id="db" ovf:order="1" ovf:startAction="none"/><Item ovf:id="web" ovf:order="2"/>'
    package = vapp_ova(tmp_path / "a.ova", ("db", "web"), startup=startup)
    virt_ova.install(package, vcenter.uri(), options=InstallOptions(start=True))
    assert machine_of(vcenter, "web")[1] == "poweredOn"


def test_a_vapp_that_cannot_be_started_is_stopped_and_removed(vcenter: VSphere, tmp_path: Path) -> None:
    package = build_ova(tmp_path / "a.ova", with_manifest(nested(("db", "web"), ("db", "web"))))
    vcenter.set_faults(NoStart="web")
    error = failure(vcenter, package, InstallOptions(start=True))
    assert (error.code, error.message) == ("E_VSPHERE", "starting 'shop' failed: *types.InvalidState")


def test_a_vapp_is_watched_by_its_machines(vcenter: VSphere, shop: Path) -> None:
    virt_ova.install(shop, vcenter.uri())
    with placed_in(vcenter) as place:
        for number, machine in enumerate(place.machines()):
            told = vim.option.OptionValue(key="SET.guest.ipAddress", value=f"192.0.2.{number}")
            machine.ReconfigVM_Task(vim.vm.ConfigSpec(extraConfig=[told]))
        shown = ", ".join(each.guest.ipAddress for each in place.groups()[0].vm)
        session = Session(parse_address(vcenter.uri()), Credentials(user=USER, password=PASSWORD))
        report = EsxMachine(session, session.own(place.groups()[0]), name="shop", uuid="").watch(5)
        session.close()
    assert (report.state, report.evidence, report.address) == ("network", shown, "")
    assert len(shown.split(", ")) == 2


class TestProperties:
    @pytest.fixture
    def package(self, tmp_path: Path) -> Path:
        """Two machines which have a property in common, with different values, and another one with the same."""
        members = vapp_members(("db", "web"))
        for name in ("db", "web"):
            properties = "".join(
                f'<Property ovf:key="{key}" ovf:type="string" ovf:userConfigurable="true" ovf:value="{value}"/>'
                for key, value in (("host", name), ("zone", "lab"))
            )
            section = f"<ProductSection><Info/>{properties}</ProductSection>"
            members = edited(members, f"<Name>{name}</Name>", f"<Name>{name}</Name>{section}")
        return build_ova(tmp_path / "a.ova", with_manifest(members))

    def told(self, vcenter: VSphere, name: str) -> dict[str, str]:
        return {each.key: each.value for each in machine_of(vcenter, name)[0].extraConfig}

    def test_values_of_the_package_stay_apart(self, vcenter: VSphere, package: Path) -> None:
        """A vCenter takes one value for each key, and reads the package's own in the descriptor."""
        virt_ova.install(package, vcenter.uri())
        for name in ("db", "web"):
            told = self.told(vcenter, name)
            assert (told["zone"], "host" in told) == ("lab", False)

    def test_one_value_may_be_given_for_all(self, vcenter: VSphere, package: Path) -> None:
        virt_ova.install(package, vcenter.uri(), options=InstallOptions(properties={"host": "all"}))
        assert [self.told(vcenter, name)["host"] for name in ("db", "web")] == ["all", "all"]

    def test_several_cannot_be_given(self, vcenter: VSphere, package: Path) -> None:
        error = failure(vcenter, package, InstallOptions(properties={"db:host": "data"}))
        assert (error.code, error.message, error.hint) == (
            "E_NOT_SUPPORTED",
            "the property 'host' has several values, this hypervisor takes one for all machines",
            "Give one for all, or leave all as the package has them and change them in the machines.",
        )
