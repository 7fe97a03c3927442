from __future__ import annotations

import time

import pytest

from tests.unit.ovf.documents import envelope, item, rasd, shown, system
from virt_ova.errors import DescriptorError
from virt_ova.ovf.envelope import Envelope
from virt_ova.ovf.reader import read_envelope
from virt_ova.ovf.reading import MAX_FINDINGS
from virt_ova.ovf.references import disk_files, drive_files

ITEM = "Envelope/VirtualSystem/VirtualHardwareSection/Item (line 1)"
TWO_FILES = '<References><File ovf:id="a" ovf:href="a"/><File ovf:id="b" ovf:href="b"/></References>'
OPTIONS = (
    '<DeploymentOptionSection><Info/><Configuration ovf:id="small"/><Configuration ovf:id="large"/>'
    "</DeploymentOptionSection>"
)


def read(body: str) -> Envelope:
    return read_envelope(envelope(body))


def refused(body: str) -> str:
    with pytest.raises(DescriptorError) as caught:
        read(body)
    code, text = shown(caught.value)
    assert code == "E_OVF_REF"
    assert caught.value.hint == "The package contradicts itself: ask its author, or correct the descriptor."
    return text


def findings(body: str) -> list[tuple[str, str]]:
    return [(f.code, f.message) for f in read(body).findings]


def disk(disk_id: str, attributes: str = "") -> str:
    return f'<Disk ovf:diskId="{disk_id}" ovf:capacity="1" {attributes}/>'


def disks(*found: str) -> str:
    return f"<DiskSection><Info/>{''.join(found)}</DiskSection>"


def drive(instance_id: int, resource: str, attributes: str = "") -> str:
    return item(17, instance_id, rasd(HostResource=resource), attributes)


def test_files_that_fill_a_drive_by_themselves() -> None:
    drives = item(15, 1, rasd(HostResource="ovf:/file/a")) + drive(2, "ovf:/disk/d")
    found = read(TWO_FILES + disks(disk("d", 'ovf:fileRef="b"')) + system(drives))
    assert drive_files(found) == {"a"}
    assert drive_files(read(TWO_FILES + system())) == frozenset()


def test_files_that_disks_are_made_from() -> None:
    files = "".join(f'<File ovf:id="{name}" ovf:href="{name}"/>' for name in "abc")
    images = disks(*(disk(name, f'ovf:fileRef="{name}"') for name in "abc"))
    head = f"<References>{files}</References>{images}{OPTIONS}"
    always, large = drive(1, "ovf:/disk/a"), drive(2, "ovf:/disk/b", 'ovf:configuration="large"')
    found = read(head + system(always + large + drive(3, "ovf:/disk/c", 'ovf:required="false"')))
    assert disk_files(found, None) == disk_files(found, "small") == {"a"}
    assert disk_files(found, "large") == {"a", "b"}
    end = "</VirtualSystem>"
    two = system(always).replace(end, f"<VirtualHardwareSection><Info/></VirtualHardwareSection>{end}")
    assert disk_files(read(head + two), None) == frozenset()


def test_two_files_of_one_id() -> None:
    body = '<References><File ovf:id="a" ovf:href="x"/><File ovf:id="a" ovf:href="y"/></References>'
    assert refused(body) == "Envelope/References: two files have the id 'a', expected one"


def test_a_file_listed_twice_word_for_word_is_one_file() -> None:
    body = '<References><File ovf:id="a" ovf:href="x"/></References>' * 2
    assert len(read(body + system()).files) == 1
    assert findings(body + system()) == [("OVF_DUPLICATE", "the file 'a' is listed twice")]


def test_two_disks_of_one_id() -> None:
    assert refused(disks(disk("d"), disk("d"))) == "Envelope/DiskSection: two disks have the id 'd', expected one"


def test_a_disk_of_no_file() -> None:
    assert refused(disks(disk("d", 'ovf:fileRef="f"'))) == (
        "Envelope/DiskSection: the disk 'd' refers to the file 'f', which is not listed"
    )


@pytest.mark.parametrize(
    "items",
    [
        "",
        drive(1, "/disk/d"),
        drive(1, "/disk/d") + drive(2, "/disk/e"),
        drive(1, "/disk/d", 'ovf:configuration="small"') + drive(2, "/disk/e"),
        drive(1, "/disk/d", 'ovf:configuration="small large"') + drive(2, "/disk/e", 'ovf:configuration="large"'),
    ],
)
def test_two_disks_in_one_file(items: str) -> None:
    both = disks(disk("d", 'ovf:fileRef="a"'), disk("e", 'ovf:fileRef="a"'))
    assert refused(TWO_FILES + both + OPTIONS + system(items)) == (
        "Envelope/DiskSection: the disks 'd' and 'e' are both in the file 'a'"
    )


def test_variants_of_one_disk_may_be_in_one_file() -> None:
    both = disks(disk("d", 'ovf:fileRef="a"'), disk("e", 'ovf:fileRef="a"'))
    items = drive(1, "/disk/d", 'ovf:configuration="small"') + drive(2, "/disk/e", 'ovf:configuration="large"')
    assert findings(TWO_FILES + both + OPTIONS + system(items)) == []


def test_a_parent_disk_that_is_not_there() -> None:
    assert refused(disks(disk("d", 'ovf:parentRef="p"'))) == (
        "Envelope/DiskSection: the disk 'd' has the parent or ancestor 'p', which is not there"
    )


def test_disks_that_are_their_own_ancestors() -> None:
    loop = disks(disk("d", 'ovf:parentRef="e"'), disk("e", 'ovf:parentRef="d"'))
    assert refused(loop) == "Envelope/DiskSection: the disk 'd' descends from 'd', which is its own ancestor"


def test_a_chain_of_disks() -> None:
    chain = disks(disk("c", 'ovf:parentRef="b"'), disk("b", 'ovf:parentRef="a"'), disk("a"))
    assert findings(chain + system()) == []


def test_two_networks_or_options_of_one_name() -> None:
    networks = '<NetworkSection><Info/><Network ovf:name="n"/><Network ovf:name="n"/></NetworkSection>'
    assert refused(networks) == "Envelope/NetworkSection: two networks have the id 'n', expected one"
    options = (
        '<DeploymentOptionSection><Info/><Configuration ovf:id="o"/><Configuration ovf:id="o"/>'
        "</DeploymentOptionSection>"
    )
    assert refused(options) == "Envelope/DeploymentOptionSection: two options have the id 'o', expected one"


def test_two_systems_of_one_id_are_noted() -> None:
    assert findings(system() + system()) == [("OVF_DUPLICATE", "two systems have the id 'vm'")]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (item(3, 1), item(4, 1)),
        (item(6, 1), item(6, 1)),
        (item(4, 1, attributes='ovf:bound="max"'), item(4, 1, attributes='ovf:bound="max"')),
        (
            item(3, 1, attributes='ovf:configuration="small"'),
            item(4, 1, attributes='ovf:configuration="large small"'),
        ),
    ],
)
def test_two_items_of_one_id(one: str, other: str) -> None:
    assert refused(OPTIONS + system(one + other)) == f"{ITEM}: two items have the InstanceID '1', expected one"


def test_items_of_different_configurations_or_bounds_share_an_id() -> None:
    memory = rasd(VirtualQuantity=1, AllocationUnits="MegaBytes")
    body = OPTIONS + system(
        item(4, 1, memory)
        + item(4, 1, memory, 'ovf:bound="min"')
        + item(4, 1, memory, 'ovf:bound="max"')
        + item(4, 1, memory, 'ovf:configuration="small"')
        + item(4, 1, memory, 'ovf:configuration="large"'),
    )
    assert findings(body) == []


def test_items_of_one_kind_that_share_a_configuration_are_noted() -> None:
    memory = rasd(VirtualQuantity=1, AllocationUnits="MegaBytes")
    body = OPTIONS + system(
        item(4, 1, memory, 'ovf:configuration="small large"') + item(4, 1, memory, 'ovf:configuration="large"'),
    )
    assert findings(body) == [("OVF_DUPLICATE", "several items have the InstanceID '1'")]


@pytest.mark.parametrize(("resource", "kind"), [("ovf:/disk/x", "disk"), ("/file/x", "file"), ("ovf://disk/x", "disk")])
def test_an_item_of_nothing(resource: str, kind: str) -> None:
    assert refused(system(drive(1, resource))) == f"{ITEM}: the item refers to the {kind} 'x', which is not listed"


def test_an_item_on_nothing() -> None:
    assert (
        refused(system(item(17, 1, rasd(Parent=9))))
        == f"{ITEM}: the item has the parent or ancestor '9', which is not there"
    )


@pytest.mark.parametrize("parents", [(1,), (2, 1)])
def test_items_that_are_their_own_ancestors(parents: tuple[int, ...]) -> None:
    body = system("".join(item(6, number + 1, rasd(Parent=parent)) for number, parent in enumerate(parents)))
    message = f"{ITEM}: the item descends from '{parents[0]}', which is its own ancestor"
    assert refused(body) == message


def test_an_unknown_configuration_or_network_is_noted() -> None:
    assert findings(system(item(10, 1, rasd(Connection="lan"), 'ovf:configuration="huge"'))) == [
        ("OVF_REF", "the item is for the unknown configuration 'huge'"),
        ("OVF_REF", "the network 'lan' is not in the NetworkSection"),
    ]


def test_a_connection_of_something_else_is_no_network() -> None:
    """XenCenter says of a disk where it was plugged in."""
    assert findings(system(item(19, 1, rasd(Connection="64891892,device=0")))) == []


def test_text_of_the_package_is_escaped_in_messages() -> None:
    assert refused(disks(disk("d", 'ovf:fileRef="a&#133;&#x202e;"'))).endswith(
        "the file 'a\\x85\\u202e', which is not listed"
    )


def many(count: int, body: str, *, options: int = 0) -> str:
    configurations = "".join(f'<Configuration ovf:id="o{number}"/>' for number in range(options))
    items = "".join(body.format(number, number + 1) for number in range(count))
    return f"<DeploymentOptionSection><Info/>{configurations}</DeploymentOptionSection>{system(items)}"


@pytest.mark.parametrize(
    "body",
    [
        many(9_000, item(6, "1", attributes='ovf:configuration="o{0}"'), options=9_000),
        many(10_000, item(6, "x{1}", rasd(Parent="x{0}"))).replace("<rasd:Parent>x0</rasd:Parent>", ""),
        many(10_000, item(6, "x{0}", rasd(Parent="x{1}"))).replace("<rasd:Parent>x10000</rasd:Parent>", ""),
    ],
    ids=["one id", "chain down", "chain up"],
)
def test_checks_take_time_in_proportion(body: str) -> None:
    started = time.process_time()
    assert findings(body) == []
    assert time.process_time() - started < 5


def test_of_very_many_findings_the_first_are_kept() -> None:
    found = findings(many(2_000, item(10, "{0}", rasd(Connection="n{0}"))))
    assert len(found) == MAX_FINDINGS
    assert found[0] == ("OVF_REF", "the network 'n0' is not in the NetworkSection")
    assert found[-1] == ("OVF_MORE", "there is more to note than is kept")
