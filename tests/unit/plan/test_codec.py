from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.plan.builders import IDENTITY, item, plan_of, system
from virt_ova.errors import PlanError
from virt_ova.findings import Finding, Severity
from virt_ova.ovf.envelope import Product, Property, ResourceType, VirtualHardware
from virt_ova.plan.codec import from_json, to_json
from virt_ova.plan.machine import (
    Bus,
    Connection,
    ConnectionKind,
    Controller,
    Cpus,
    Drive,
    DriveKind,
    Firmware,
    FirmwareKind,
    Machine,
    Nic,
)
from virt_ova.plan.nics import MODELS as NIC_MODELS
from virt_ova.plan.plan import (
    CHOOSABLE_MODES,
    FOR_HYPERVISORS,
    Decision,
    DiskMode,
    ImageFormat,
    InstallPlan,
    Outcome,
    Transfer,
)

PLAN = plan_of(
    system(
        item(ResourceType.SCSI_CONTROLLER, "3", subtypes="lsilogic"),
        item(ResourceType.DISK, "4", parent="3", disk="d1"),
        item(ResourceType.ETHERNET, "5", subtypes="vmxnet3", connections=("LAN",)),
        name="web",
    ),
)
TELLING = plan_of(
    replace(
        system(
            products=(Product(properties=(Property(key="a", value="b"), Property(key="pw", password=True, value="c"))),)
        ),
        hardware=(VirtualHardware(transports=("iso",)),),
    )
)

words = st.from_regex(r"[a-z0-9][a-z0-9-]{0,8}", fullmatch=True)
cpus = st.builds(
    lambda sockets, cores: Cpus(count=sockets * cores, cores_per_socket=cores), st.integers(1, 9), st.integers(1, 9)
)
connections = st.builds(
    Connection, kind=st.sampled_from([ConnectionKind.PRIVATE, ConnectionKind.BRIDGE]), name=words
) | st.builds(Connection, kind=st.sampled_from([ConnectionKind.USER, ConnectionKind.NONE]))
boot_orders = st.lists(
    st.none() | st.integers(1, 1000), min_size=3, max_size=3, unique_by=lambda each: each or object()
)
places = st.lists(st.tuples(st.sampled_from([Bus.IDE, Bus.SATA, Bus.SCSI]), st.integers(0, 3)), max_size=3, unique=True)


@st.composite
def plans(draw: st.DrawFn) -> InstallPlan:
    transfers = draw(
        st.lists(
            st.builds(
                Transfer,
                id=st.text(min_size=1),
                member=st.text(),
                file_format=words,
                capacity_bytes=st.integers(0, 64 << 40),
                image_format=st.sampled_from(ImageFormat),
                mode=st.sampled_from(CHOOSABLE_MODES),
                image_name=words,
            ),
            max_size=3,
            unique_by=(lambda each: each.id, lambda each: each.image_name),
        ),
    )
    content = [*(each.id for each in transfers), "", "", ""]
    drives = [
        Drive(
            id=f"d{number}",
            kind=draw(st.sampled_from(DriveKind)),
            bus=bus,
            unit=unit,
            transfer=content[number],
            boot_order=order,
        )
        for number, ((bus, unit), order) in enumerate(zip(draw(places), draw(boot_orders), strict=False))
    ]
    machine = st.builds(
        Machine,
        name=words,
        title=st.text(),
        description=st.text(),
        cpus=cpus,
        memory_bytes=st.integers(1, 128 << 20).map(lambda each: each << 20),
        virt_type=st.sampled_from(["", "kvm", "qemu", "test"]),
        firmware=st.builds(Firmware, kind=st.sampled_from(FirmwareKind)),
        controllers=st.just((Controller(bus=Bus.SATA), Controller(bus=Bus.SCSI, model="vmpvscsi"))),
        nics=st.lists(
            st.builds(Nic, model=st.sampled_from(sorted(NIC_MODELS)), network=st.text(), connection=connections),
            max_size=2,
        ).map(tuple),
        serial_ports=st.integers(0, 4),
        parallel_ports=st.integers(0, 3),
    )
    machines = draw(st.lists(machine, min_size=1, max_size=2, unique_by=lambda each: each.name))
    machines[0] = replace(machines[0], drives=tuple(drives))
    return InstallPlan(
        package=IDENTITY,
        machines=tuple(machines),
        transfers=tuple(transfers[: len(drives)]),
        decisions=(Decision(item=draw(st.text()), outcome=draw(st.sampled_from(Outcome)), reason=draw(st.text())),),
        findings=(Finding(code=draw(words), severity=draw(st.sampled_from(Severity)), message=draw(st.text())),),
    )


@given(plans())
@settings(max_examples=60)
def test_a_plan_survives_json(plan: InstallPlan) -> None:
    assert from_json(to_json(plan)) == plan


@pytest.mark.parametrize("mode", sorted(FOR_HYPERVISORS))
def test_a_mode_that_nobody_can_choose_is_refused(mode: DiskMode) -> None:
    made = to_json(replace(PLAN, transfers=(replace(PLAN.transfers[0], mode=mode),)))
    with pytest.raises(PlanError) as caught:
        from_json(made)
    assert (caught.value.code, caught.value.message) == (
        "E_PLAN_JSON",
        f"the disk mode {mode} cannot be chosen, expected expand, transplant, link, host-expand",
    )


def test_a_plan_with_properties_survives_json_which_has_no_password() -> None:
    text = to_json(TELLING)
    assert from_json(text) == TELLING
    assert json.loads(text)["entities"] == [
        {
            "id": "vm",
            "machine": "vm",
            "properties": [
                {"key": "a", "value": "b", "password": False},
                {"key": "pw", "value": None, "password": True},
            ],
            "content": [],
        }
    ]
    assert [(each["id"], each["environment"]) for each in json.loads(text)["transfers"]] == [("environment/vm", "vm")]


def test_json_is_indented_and_ends_with_a_line_feed() -> None:
    text = to_json(PLAN)
    assert text.startswith('{\n  "version": 1,\n  "package": {\n    "name": "test.ova"')
    assert text.endswith("}\n")
    assert from_json(text.encode()) == PLAN


def changed(change: Callable[[Any], None], plan: InstallPlan = PLAN) -> str:
    document = json.loads(to_json(plan))
    change(document)
    return json.dumps(document)


def put(*path: str | int, value: object) -> Callable[[Any], None]:
    def change(document: Any) -> None:  # noqa: ANN401 - a JSON document
        for step in path[:-1]:
            document = document[step]
        document[path[-1]] = value

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (put("version", value=2), "the plan has version 2, expected 1"),
        (put("version", value="1"), "Expected `int`, got `str` - at `$.version`"),
        (put("machines", 0, "memory_bytes", value="1"), "Expected `int`, got `str` - at `$.machines[0].memory_bytes`"),
        (put("transfers", 0, "mode", value="copy"), "Invalid enum value 'copy' - at `$.transfers[0].mode`"),
        (put("machines", 0, "memroy", value=1), "the plan holds '$.machines[0].memroy', which is not known"),
        (put("extra", value=[]), "the plan holds '$.extra', which is not known"),
        (
            put("transfers", 0, "image_name", value="../x"),
            "the image name '../x' cannot be used, expected a plain file name",
        ),
        (
            put("transfers", 0, "image_name", value="-x"),
            "the image name '-x' cannot be used, expected a plain file name",
        ),
        (
            put("transfers", 0, "capacity_bytes", value=-1),
            "the capacity of transfer 'd1' is -1, expected 0 to 70368744177664",
        ),
        (
            put("transfers", 0, "capacity_bytes", value=(64 << 40) + 1),
            "the capacity of transfer 'd1' is 70368744177665, expected 0 to 70368744177664",
        ),
        (put("machines", value=[]), "the plan has no machine, expected one"),
        (
            put("machines", 0, "drives", value=[]),
            "transfer 'd1' fills 0 drives, expected one, or only shared ones",
        ),
        (put("transfers", value=[]), "drive 'disk0' is filled by transfer 'd1', which is not there"),
        (
            put("package", "descriptor_sha256", value="\x1b[31m"),
            r"the descriptor's SHA-256 is '\x1b[31m', expected 64 hex digits",
        ),
        (
            lambda document: document["machines"].append(document["machines"][0]),
            "the plan has 2 of machine 'web', expected one",
        ),
        (
            lambda document: document["transfers"].append(document["transfers"][0]),
            "the plan has 2 of transfer 'd1', expected one",
        ),
    ],
)
def test_a_plan_that_cannot_be_carried_out_is_refused(change: Callable[[Any], None], message: str) -> None:
    with pytest.raises(PlanError) as caught:
        from_json(changed(change))
    assert caught.value.code == "E_PLAN_JSON"
    assert caught.value.message.endswith(message)
    assert caught.value.hint == "Make it anew with 'virt-ova plan'."


def place(drive: int, **values: object) -> Callable[[Any], None]:
    def change(document: Any) -> None:  # noqa: ANN401 - a JSON document
        document["machines"][0]["drives"][drive].update(values)

    return change


def of_machine(**values: object) -> Callable[[Any], None]:
    def change(document: Any) -> None:  # noqa: ANN401 - a JSON document
        document["machines"][0].update(values)

    return change


def of_nic(**values: object) -> Callable[[Any], None]:
    def change(document: Any) -> None:  # noqa: ANN401 - a JSON document
        document["machines"][0]["nics"][0].update(values)

    return change


def of_turn(**values: object) -> Callable[[Any], None]:
    return of_machine(startup={"position": 1} | values)


NIC = {"model": "e1000", "connection": {"kind": "user"}}
NETWORK_NAME = "cannot be the name of a network, expected 1 to 128 characters that can be shown"
BRIDGE_NAME = (
    "cannot be the name of a bridge, expected 1 to 128 of A-Z a-z 0-9 . _ + : @ - and blank, a letter or digit first"
)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (of_machine(architecture="aarch64"), "machine 'web' has the architecture 'aarch64', which is not known"),
        (of_machine(chipset="none"), "machine 'web' has the chipset 'none', which is not known"),
        (of_machine(virt_type="kvm,x"), "machine 'web' has the virt_type 'kvm,x', which is not known"),
        (of_machine(clock="x"), "machine 'web' has the clock 'x', which is not known"),
        (of_machine(video="vga,x=y"), "machine 'web' has the video 'vga,x=y', which is not known"),
        (of_machine(sound="\x1b"), r"machine 'web' has the sound '\x1b', which is not known"),
        (of_machine(has_tablet=True), "machine 'web' has a USB tablet, and no USB controller"),
        (of_machine(usb="no"), "machine 'web' has the usb 'no', which is not known"),
        (
            of_machine(cpus={"count": 3, "cores_per_socket": 2}),
            "machine 'web' has 3 processors in sockets of 2 cores, expected whole sockets",
        ),
        (
            of_machine(cpus={"count": 1, "cores_per_socket": 0}),
            "machine 'web' has 1 processors in sockets of 0 cores, expected whole sockets",
        ),
        (of_machine(cpus={"count": 0}), "the number of processors of machine 'web' is 0, expected 1 to 255"),
        (of_machine(cpus={"count": 256}), "the number of processors of machine 'web' is 256, expected 1 to 255"),
        (of_machine(memory_bytes=1), "the memory of machine 'web' is 1, expected 1048576 to 140737488355328"),
        (
            of_machine(memory_bytes=1 << 48),
            "the memory of machine 'web' is 281474976710656, expected 1048576 to 140737488355328",
        ),
        (
            of_machine(memory_bytes=(1 << 20) + 1),
            "the memory of machine 'web' is 1048577, expected a multiple of 1048576",
        ),
        (of_machine(serial_ports=5), "the number of serial ports of machine 'web' is 5, expected 0 to 4"),
        (of_machine(parallel_ports=-1), "the number of parallel ports of machine 'web' is -1, expected 0 to 3"),
        (of_machine(nics=[NIC] * 200), "the number of PCI devices of machine 'web' is 203, expected 0 to 28"),
        (of_machine(controllers=[]), "the sata controller 0 of drive 'disk0' is not there"),
        (
            of_machine(controllers=[{"bus": "sata"}, {"bus": "sata"}]),
            "the plan has 2 of controller 'sata 0', expected one",
        ),
        (
            of_machine(controllers=[{"bus": "sata", "index": 32}]),
            "the index of a controller of machine 'web' is 32, expected 0 to 31",
        ),
        (
            of_machine(controllers=[{"bus": "scsi", "model": "x"}]),
            "machine 'web' has the scsi controller 'x', which is not known",
        ),
        (place(0, unit=-1), "the unit of drive 'disk0' is -1, expected 0 to 5"),
        (place(0, unit=6), "the unit of drive 'disk0' is 6, expected 0 to 5"),
        (place(0, controller=1), "the sata controller 1 of drive 'disk0' is not there"),
        (place(0, controller=99), "the controller of drive 'disk0' is 99, expected 0 to 31"),
        (place(0, bus="ide", controller=1), "the controller of drive 'disk0' is 1, expected 0 to 0"),
        (place(0, bus="virtio", unit=1), "the unit of drive 'disk0' is 1, expected 0 to 0"),
        (place(0, bus="usb"), "the usb controller of drive 'disk0' is not there"),
        (place(0, boot_order=0), "the boot order of drive 'disk0' is 0, expected 1 to 1000"),
        (of_nic(model="e1000,mac=1"), "machine 'web' has the network interface 'e1000,mac=1', which is not known"),
        (of_nic(mac="zz"), "machine 'web' has the MAC address 'zz', expected one of a host, as 52:54:00:12:34:56"),
        (
            of_nic(mac="01:00:5e:00:00:01"),
            "machine 'web' has the MAC address '01:00:5e:00:00:01', expected one of a host, as 52:54:00:12:34:56",
        ),
        (
            of_machine(nics=[{"model": "e1000", "connection": {"kind": "user"}, "mac": "52:54:00:12:34:56"}] * 2),
            "the plan has 2 of MAC address '52:54:00:12:34:56', expected one",
        ),
        (of_nic(connection={"kind": "bridge", "name": "a,b"}), f"'a,b' {BRIDGE_NAME}"),
        (of_nic(connection={"kind": "bridge"}), f"'' {BRIDGE_NAME}"),
        (of_nic(connection={"kind": "network"}), f"'' {NETWORK_NAME}"),
        (of_nic(connection={"kind": "network", "name": "a\x1b"}), rf"'a\x1b' {NETWORK_NAME}"),
        (of_nic(connection={"kind": "network", "name": "n" * 129}), f"'{'n' * 129}' {NETWORK_NAME}"),
        (of_nic(connection={"kind": "user", "name": "x"}), "user has no name, found 'x'"),
        (of_nic(connection={"kind": "private"}), f"'' {BRIDGE_NAME.replace('bridge', 'private network')}"),
        (of_nic(boot_order=1001), "the boot order of the network interface 0 is 1001, expected 1 to 1000"),
        (of_turn(position=0), "the position in the start of machine 'web' is 0, expected 1 to 1000"),
        (of_turn(delay_seconds=3601), "the start delay of machine 'web' is 3601, expected 0 to 3600"),
        (of_turn(stop_delay_seconds=-1), "the stop delay of machine 'web' is -1, expected 0 to 3600"),
    ],
)
def test_hardware_that_cannot_be_is_refused(change: Callable[[Any], None], message: str) -> None:
    with pytest.raises(PlanError) as caught:
        from_json(changed(change))
    assert (caught.value.code, caught.value.message) == ("E_PLAN_JSON", message)


def second_drive(**values: object) -> Callable[[Any], None]:
    def change(document: Any) -> None:  # noqa: ANN401 - a JSON document
        drives = document["machines"][0]["drives"]
        drives.append(drives[0] | {"id": "other", "unit": 1, "boot_order": 2, "transfer": ""} | values)

    return change


NOT_RAW = (
    "drive 'other' is filled by transfer 'd1' and shared, "
    "expected a raw image, the only one that two machines can write to"
)


def second_machine(document: Any) -> None:  # noqa: ANN401 - a JSON document
    document["machines"].append(document["machines"][0] | {"name": "other"})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (second_machine, "transfer 'd1' fills 2 drives, expected one, or only shared ones"),
        (second_drive(transfer="d1"), "transfer 'd1' fills 2 drives, expected one, or only shared ones"),
        (second_drive(transfer="d1", shared=True), NOT_RAW),
        (second_drive(id="disk0"), "the plan has 2 of drive 'disk0', expected one"),
        (second_drive(unit=0), "the plan has 2 of place 'sata 0:0', expected one"),
        (second_drive(boot_order=1), "the plan has 2 of boot order '1', expected one"),
        (of_nic(boot_order=1), "the plan has 2 of boot order '1', expected one"),
        (
            of_machine(nics=[NIC | {"connection": {"kind": kind, "name": "lan"}} for kind in ("private", "network")]),
            "the plan has 2 of network 'lan', expected one",
        ),
    ],
)
def test_what_can_be_there_but_once_is_refused(change: Callable[[Any], None], message: str) -> None:
    with pytest.raises(PlanError) as caught:
        from_json(changed(change))
    assert (caught.value.code, caught.value.message) == ("E_PLAN_JSON", message)


def test_machines_share_what_all_of_them_call_shared() -> None:
    def change(document: Any) -> None:  # noqa: ANN401 - a JSON document
        second_machine(document)
        document["transfers"][0]["image_format"] = "raw"
        for machine in document["machines"]:
            machine["drives"] = [drive | {"shared": True} for drive in machine["drives"]]

    plan = from_json(changed(change))
    assert [drive.shared for machine in plan.machines for drive in machine.drives] == [True, True]


def test_machines_may_have_the_same_cd() -> None:
    def change(document: Any) -> None:  # noqa: ANN401 - a JSON document
        second_machine(document)
        for machine in document["machines"]:
            machine["drives"] = [drive | {"kind": "cdrom"} for drive in machine["drives"]]

    assert [machine.drives[0].transfer for machine in from_json(changed(change)).machines] == ["d1", "d1"]


def test_ide_needs_a_chipset_that_has_it() -> None:
    def change(document: Any) -> None:  # noqa: ANN401 - a JSON document
        place(0, bus="ide")(document)
        of_machine(chipset="pc-q35-7.2")(document)

    with pytest.raises(PlanError) as caught:
        from_json(changed(change))
    message = "drive 'disk0' is on the bus ide, which chipset pc-q35-7.2 does not have"
    assert (caught.value.code, caught.value.message) == ("E_PLAN_JSON", message)


def test_a_plan_has_an_end() -> None:
    with pytest.raises(PlanError, match=r"^the plan is longer than 16777216 bytes$") as caught:
        from_json(to_json(PLAN) + " " * (16 << 20))
    assert caught.value.code == "E_PLAN_JSON"


NOT_TOLD = (
    "transfer 'environment/vm' holds the properties of '{}', expected a machine among the entities, and no member"
)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            put("entities", 0, "properties", 1, "value", value="c"),
            "the plan holds a value for the password 'pw', expected null",
        ),
        (put("entities", 0, "properties", 0, "value", value=None), "the property 'a' is null, expected text"),
        (put("entities", 0, "properties", 0, "key", value="pw"), "the plan has 2 of property 'pw', expected one"),
        (
            put("entities", 0, "properties", 0, "value", value="\x1b"),
            "a property of 'vm' has the character U+001B, which XML cannot hold",
        ),
        (
            put("entities", 0, "content", value=[{"id": "\0"}]),
            r"a property of '\x00' has the character U+0000, which XML cannot hold",
        ),
        (put("entities", value=[]), NOT_TOLD.format("vm")),
        (put("entities", 0, "machine", value="other"), NOT_TOLD.format("vm")),
        (put("transfers", 0, "environment", value="other"), NOT_TOLD.format("other")),
        (put("transfers", 0, "member", value="a.vmdk"), NOT_TOLD.format("vm")),
    ],
)
def test_properties_that_a_plan_cannot_hold_are_refused(change: Callable[[Any], None], message: str) -> None:
    with pytest.raises(PlanError) as caught:
        from_json(changed(change, TELLING))
    assert (caught.value.code, caught.value.message) == ("E_PLAN_JSON", message)


def test_a_machine_name_in_a_plan_is_checked() -> None:
    with pytest.raises(PlanError, match="the name 'a/b' cannot be used") as caught:
        from_json(changed(put("machines", 0, "name", value="a/b")))
    assert caught.value.code == "E_NAME"


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "null", '{"a": 1}', b"\xff", "[" * 100_000, '{"version": 1, "x": ' + "[" * 100_000]
)
def test_what_is_no_plan_is_refused(text: str | bytes) -> None:
    with pytest.raises(PlanError, match="the plan cannot be read: ") as caught:
        from_json(text)
    assert caught.value.code == "E_PLAN_JSON"
