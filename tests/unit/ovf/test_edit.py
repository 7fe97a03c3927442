from __future__ import annotations

import re

import pytest

from tests.unit.ovf.documents import envelope, item, rasd, section, system
from virt_ova.ovf.edit import as_sent, edited, elements_of, only_system, refilled, removed, renamed
from virt_ova.ovf.envelope import VirtualSystem
from virt_ova.ovf.reader import read_envelope
from virt_ova.ovf.references import walk

DRIVES = {
    name: item(17, 5, rasd(HostResource=f"ovf:/disk/{name}")) + item(15, 6, rasd(HostResource=f"ovf:/file/cd-{name}"))
    for name in ("one", "two")
}
FILES = "".join(f'<File ovf:id="{name}" ovf:href="{name}.bin"/>' for name in ("f-one", "f-two", "cd-one", "cd-two"))
DISKS = "".join(
    f'<Disk ovf:diskId="{name}" ovf:fileRef="f-{name}" ovf:capacity="1"><!-- {name} --></Disk>' for name in DRIVES
)
STARTUP = '<StartupSection><Info/><Item ovf:id="one" ovf:order="1"/></StartupSection>'


def group(*names: str) -> str:
    """A collection of systems that differ in their drives."""
    inside = "".join(system(DRIVES[name], system_id=name) for name in names)
    return f'<VirtualSystemCollection ovf:id="all"><Info/>{STARTUP}{inside}</VirtualSystemCollection>'


def whole(content: str) -> str:
    """A descriptor with files and disks for every system."""
    return envelope(f"<References>{FILES}</References><DiskSection><Info/>{DISKS}</DiskSection>{content}").decode()


def test_an_element_is_where_it_says() -> None:
    text = "<?x?><!-- <a> --><a b='>'>\u00e9<c d=\"'/>\"/><![CDATA[<c/>]]><c >t</c ></a>"
    first, second = elements_of(text.encode()).children
    assert (
        edited(text.encode(), [removed(text.encode(), first)])
        == "<?x?><!-- <a> --><a b='>'>\u00e9<![CDATA[<c/>]]><c >t</c ></a>"
    )
    assert (
        edited(text.encode(), [removed(text.encode(), second)])
        == "<?x?><!-- <a> --><a b='>'>\u00e9<c d=\"'/>\"/><![CDATA[<c/>]]></a>"
    )
    assert edited(text.encode(), [refilled(text.encode(), second, "u")]) == text.replace(">t<", ">u<")


def test_edits_leave_all_else_as_it_is() -> None:
    text = "<a> <b/>\n<c>x</c>\t<d/></a>"
    b, c, d = elements_of(text.encode()).children
    assert (
        edited(text.encode(), [removed(text.encode(), d), refilled(text.encode(), c, "y"), removed(text.encode(), b)])
        == "<a> \n<c>y</c>\t</a>"
    )


@pytest.mark.parametrize(
    ("text", "sent"),
    [
        ('<?xml version="1.0" encoding="UTF-16"?>\n<a/>', "<a/>"),
        ("<a/>", "<a/>"),
        ("<!-- <?xml ?> --><a/>", "<!-- <?xml ?> --><a/>"),
    ],
)
def test_a_text_has_no_declaration_of_an_encoding(text: str, sent: str) -> None:
    assert as_sent(text) == sent


@pytest.mark.parametrize("name", ["one", "two"])
@pytest.mark.parametrize(
    "content",
    [group("one", "two"), STARTUP + "".join(system(DRIVES[name], system_id=name) for name in DRIVES)],
    ids=["collection", "side by side"],
)
def test_one_system_is_sent_with_its_disks_and_files(name: str, content: str) -> None:
    text = whole(content)
    read = read_envelope(text.encode())
    chosen = next(each for each in walk(read.content) if isinstance(each, VirtualSystem) and each.id == name)
    sent = only_system(text, read, chosen)
    alone = read_envelope(sent.encode())
    assert [each.id for each in alone.content] == [name]
    assert [disk.id for disk in alone.disks] == [name]
    assert [file.id for file in alone.files] == [f"f-{name}", f"cd-{name}"]
    assert f"<!-- {name} -->" in sent
    assert "StartupSection" not in sent


def test_a_system_of_ovf_0_9_is_sent_alone() -> None:
    contents = "".join(
        f'<Content ovf:id="{name}" xsi:type="ovf:VirtualSystem_Type"><Info/>'
        + section("VirtualHardware", item(3, 1, rasd(VirtualQuantity=number)))
        + "</Content>"
        for number, name in enumerate(("one", "two"), 1)
    )
    text = (
        '<ovf:Envelope xmlns:ovf="http://www.vmware.com/schema/ovf/1/envelope" '
        'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xmlns:rasd="http://schemas.dmtf.org/wbem/wscim/1/'
        f'cim-schema/2/CIM_ResourceAllocationSettingData"><References/>'
        f'<Content ovf:id="all" xsi:type="ovf:VirtualSystemCollection_Type"><Info/>{contents}</Content></ovf:Envelope>'
    )
    read = read_envelope(text.encode())
    two = [each for each in walk(read.content) if isinstance(each, VirtualSystem)][1]
    alone = read_envelope(only_system(text, read, two).encode())
    assert [each.id for each in alone.content] == ["two"]


@pytest.mark.parametrize(
    ("text", "new"),
    [
        ("<Info/><Name>two</Name><A/>", "<Info/><Name>b</Name><A/>"),
        ("<Info/><Name/><A/>", "<Info/><Name>b</Name><A/>"),
        ("<Info>x</Info><A/>", "<Info>x</Info><Name>b</Name><A/>"),
        ("<A/>", "<Name>b</Name><A/>"),
    ],
)
@pytest.mark.parametrize("prefix", ["", "ovf:"])
def test_a_system_is_renamed(text: str, new: str, prefix: str) -> None:
    def document(inside: str) -> str:
        systems = (f'<VirtualSystem ovf:id="two">{each}</VirtualSystem>' for each in (text, inside))
        content = f'<VirtualSystemCollection ovf:id="all">{"".join(systems)}</VirtualSystemCollection>'
        return envelope(re.sub("(</?)([A-Z])", rf"\1{prefix}\2", content)).decode()

    read = read_envelope(document(text).encode())
    one, two = (each for each in walk(read.content) if isinstance(each, VirtualSystem))
    assert renamed(document(text), read, [(one, "two"), (two, "two")]) == document(text)
    assert renamed(document(text), read, [(one, "two"), (two, "b")]) == document(new)


def test_a_system_of_ovf_0_9_has_no_name() -> None:
    content = '<Content ovf:id="one" xsi:type="ovf:VirtualSystem_Type"><Info/></Content>'
    text = (
        '<ovf:Envelope xmlns:ovf="http://www.vmware.com/schema/ovf/1/envelope" '
        f'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"><References/>{content}</ovf:Envelope>'
    )
    read = read_envelope(text.encode())
    (system,) = (each for each in walk(read.content) if isinstance(each, VirtualSystem))
    assert renamed(text, read, [(system, "b")]) == text
