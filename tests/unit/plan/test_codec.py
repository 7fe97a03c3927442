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
from virt_ova.plan.plan import Decision, DiskMode, ImageFormat, InstallPlan, Outcome, Transfer

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
numbers = st.integers(0, 1 << 62)
cpus = st.builds(
    lambda sockets, cores: Cpus(count=sockets * cores, cores_per_socket=cores), st.integers(1, 9), st.integers(1, 9)
)
connections = st.builds(Connection, kind=st.sampled_from(ConnectionKind), name=words)


@st.composite
def plans(draw: st.DrawFn) -> InstallPlan:
    transfers = draw(
        st.lists(
            st.builds(
                Transfer,
                id=st.text(min_size=1),
                member=st.text(),
                file_format=words,
                capacity_bytes=numbers,
                image_format=st.sampled_from(ImageFormat),
                mode=st.sampled_from(DiskMode),
                image_name=words,
            ),
            max_size=3,
            unique_by=(lambda each: each.id, lambda each: each.image_name),
        ),
    )
    content = st.sampled_from(["", *(each.id for each in transfers)])
    drives = st.lists(
        st.builds(
            Drive,
            id=st.text(min_size=1),
            kind=st.sampled_from(DriveKind),
            bus=st.sampled_from(Bus),
            controller=numbers,
            unit=numbers,
            transfer=content,
            boot_order=st.none() | numbers,
        ),
        max_size=3,
        unique_by=lambda each: each.id,
    )
    machine = st.builds(
        Machine,
        name=words,
        title=st.text(),
        description=st.text(),
        cpus=cpus,
        memory_bytes=st.integers(1, 1 << 40),
        chipset=words,
        virt_type=words,
        firmware=st.builds(Firmware, kind=st.sampled_from(FirmwareKind)),
        controllers=st.lists(st.builds(Controller, bus=st.sampled_from(Bus), model=words), max_size=2).map(tuple),
        drives=drives.map(tuple),
        nics=st.lists(st.builds(Nic, model=words, network=st.text(), connection=connections), max_size=2).map(tuple),
    )
    return InstallPlan(
        package=IDENTITY,
        machines=tuple(draw(st.lists(machine, max_size=2, unique_by=lambda each: each.name))),
        transfers=tuple(transfers),
        decisions=(Decision(item=draw(st.text()), outcome=draw(st.sampled_from(Outcome)), reason=draw(st.text())),),
        findings=(Finding(code=draw(words), severity=draw(st.sampled_from(Severity)), message=draw(st.text())),),
    )


@given(plans())
@settings(max_examples=60)
def test_a_plan_survives_json(plan: InstallPlan) -> None:
    assert from_json(to_json(plan)) == plan


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
        (put("transfers", 0, "image_name", value="../x"), "the image name '../x' cannot be used"),
        (put("transfers", 0, "image_name", value="-x"), "the image name '-x' cannot be used"),
        (put("transfers", 0, "capacity_bytes", value=-1), "transfer 'd1' has a capacity of -1 bytes"),
        (put("transfers", value=[]), "drive 'disk0' is filled by transfer 'd1', which is not there"),
        (put("machines", 0, "drives", 0, "unit", value=-1), "drive 'disk0' stands at 0:-1, expected 0 or more"),
        (put("machines", 0, "video", value="vga,x=y"), "machine 'web' holds 'vga,x=y', which is no word for hardware"),
        (put("machines", 0, "nics", 0, "model", value="e1000,mac=1"), "holds 'e1000,mac=1', which is no word"),
        (put("machines", 0, "nics", 0, "mac", value="zz"), "holds 'zz', which is no word for hardware"),
        (put("machines", 0, "nics", 0, "connection", "name", value="a,b"), "holds 'a,b', which is no word"),
        (
            put("machines", 0, "cpus", value={"count": 3, "cores_per_socket": 2}),
            "has 3 processors with 2 cores per socket",
        ),
        (put("machines", 0, "cpus", value={"count": 0}), "has 0 processors with 1 cores per socket"),
        (put("machines", 0, "memory_bytes", value=0), "0 bytes of memory, which no machine can have"),
        (lambda document: document["machines"].append(document["machines"][0]), "the plan has 2 of machine 'web'"),
        (lambda document: document["transfers"].append(document["transfers"][0]), "the plan has 2 of transfer 'd1'"),
    ],
)
def test_a_plan_that_cannot_be_carried_out_is_refused(change: Callable[[Any], None], message: str) -> None:
    with pytest.raises(PlanError) as caught:
        from_json(changed(change))
    assert caught.value.code == "E_PLAN_JSON"
    assert message in str(caught.value)
    assert caught.value.hint == "make it anew with 'virt-ova plan'"


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
