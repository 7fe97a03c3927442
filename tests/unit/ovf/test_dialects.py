from __future__ import annotations

import pytest

from tests.unit.ovf.documents import (
    CIM,
    PREFIXES,
    VMW,
    envelope,
    item,
    old_envelope,
    only_hardware,
    only_system,
    ovirt_envelope,
    rasd,
    section,
    shown,
    system,
)
from virt_ova.errors import DescriptorError
from virt_ova.ovf import hardware, vendor
from virt_ova.ovf.envelope import Envelope, Network, OperatingSystem, Product, ResourceType, VirtualSystemCollection
from virt_ova.ovf.reader import read_envelope

OVF_1 = "http://schemas.dmtf.org/ovf/envelope/1"
OVF_2 = "http://schemas.dmtf.org/ovf/envelope/2"
IMAGE = "2b30e705/c0e51e1b"


@pytest.mark.parametrize(
    ("data", "version"),
    [
        (envelope(""), "1.1"),
        (envelope("", attributes='ovf:version="1.0"'), "1.0"),
        (envelope("", attributes='ovf:version="1.1.1"'), "1.1.1"),
        (envelope("", attributes='ovf:version="0.9"'), "1.1"),
        (envelope("", attributes='ovf:version="9 of 10"'), "1.1"),
        (envelope("", namespace=OVF_2), "2.0"),
        (envelope("", namespace=OVF_2, attributes='ovf:version="2.1"'), "2.1"),
        (old_envelope(""), "0.9"),
        (ovirt_envelope("", attributes='ovf:version="4.1.0.0"'), "0.9"),
    ],
)
def test_the_version(data: bytes, version: str) -> None:
    assert read_envelope(data).ovf_version == version


@pytest.mark.parametrize(
    ("data", "name", "namespace"),
    [
        (b"<html/>", "html", ""),
        (b"<Envelope/>", "Envelope", ""),
        (b'<Envelope xmlns="http://schemas.dmtf.org/ovf/envelope/3"/>', "Envelope", f"{OVF_1[:-1]}3"),
        (
            b'<Envelope xmlns="http://nosuchspec.com/ovf/envelope/1"/>',
            "Envelope",
            "http://nosuchspec.com/ovf/envelope/1",
        ),
        (f'<References xmlns="{OVF_1}"/>'.encode(), "References", OVF_1),
        (f'<Envelope xmlns:a="{OVF_1}" xmlns:b="{OVF_2}"/>'.encode(), "Envelope", ""),
    ],
)
def test_other_roots_and_versions_are_refused(data: bytes, name: str, namespace: str) -> None:
    with pytest.raises(DescriptorError) as caught:
        read_envelope(data)
    assert shown(caught.value) == (
        "E_OVF_VERSION",
        (
            f"{name} (line 1): found the root element '{name}' of namespace '{namespace}', "
            "expected an Envelope of OVF 0.9, 1.x or 2.x"
        ),
    )


def test_prefixes_do_not_matter() -> None:
    body = (
        f'<o:Envelope xmlns:o="{OVF_1}" xmlns:r="{CIM}/CIM_ResourceAllocationSettingData">'
        '<o:VirtualSystem o:id="vm"><o:VirtualHardwareSection><o:Item><r:InstanceID>1</r:InstanceID>'
        "<r:ResourceType>3</r:ResourceType><r:VirtualQuantity>2</r:VirtualQuantity></o:Item>"
        "</o:VirtualHardwareSection></o:VirtualSystem></o:Envelope>"
    )
    assert hardware.cpu_count(only_hardware(read_envelope(body.encode())).items) == 2


def test_names_of_a_foreign_namespace_are_no_ovf() -> None:
    body = f'<x:VirtualSystem xmlns:x="urn:x" ovf:id="evil"><Info/></x:VirtualSystem>{system()}'
    read = read_envelope(envelope(body))
    assert only_system(read).id == "vm"
    assert [f.code for f in read.findings] == ["OVF_UNKNOWN_SECTION"]


def test_unqualified_names_are_no_ovf_where_the_envelope_is_qualified() -> None:
    data = f'<o:Envelope xmlns:o="{OVF_1}"><VirtualSystem id="vm"/></o:Envelope>'.encode()
    assert [f.code for f in read_envelope(data).findings] == ["OVF_UNKNOWN_SECTION", "OVF_NO_SYSTEM"]


def test_an_envelope_that_lost_its_default_namespace_is_read() -> None:
    data = f'<Envelope xmlns:ovf="{OVF_1}" {PREFIXES}>{system(item(3, 1, rasd(VirtualQuantity=2)))}</Envelope>'.encode()
    read = read_envelope(data)
    assert (read.namespace, read.ovf_version) == (OVF_1, "1.1")
    assert hardware.cpu_count(only_hardware(read).items) == 2
    assert [(f.code, f.message) for f in read.findings] == [
        ("OVF_NAMESPACE", "the envelope has no namespace: taken for OVF 1.1"),
    ]


OLD_ITEM = (
    "<Item><rasd:Caption>{caption}</rasd:Caption><rasd:InstanceId>{number}</rasd:InstanceId>"
    "<rasd:ResourceType>{kind}</rasd:ResourceType>{rest}</Item>"
)


def old_machine() -> bytes:
    items = (
        "<System><vssd:InstanceId>0</vssd:InstanceId><vssd:VirtualSystemType>vmx-4</vssd:VirtualSystemType></System>"
        + OLD_ITEM.format(caption="1 CPU", number=1, kind=3, rest=rasd(VirtualQuantity=1))
        + OLD_ITEM.format(
            caption="memory", number=2, kind=4, rest=rasd(VirtualQuantity=256, AllocationUnits="MegaBytes")
        )
        + OLD_ITEM.format(caption="SCSI 0", number=3, kind=6, rest=rasd(BusNumber=1))
        + OLD_ITEM.format(caption="disk", number=4, kind=17, rest=rasd(Parent=3, HostResource="/disk/d"))
    )
    body = (
        '<References><File ovf:id="f" ovf:href="a.vmdk"/></References>'
        + section("DiskSection", '<Disk ovf:diskId="d" ovf:fileRef="f" ovf:capacity="8"/>')
        + section("NetworkSection", '<Network ovf:name="lan"><Description>LAN</Description></Network>')
        + section("EulaSection", "<License>L</License>")
        + section("ProductSection", "<Product>P</Product>", 'ovf:class="c"')
        + '<Content xsi:type="ovf:VirtualSystemCollection_Type" ovf:id="all"><Info/>'
        '<Content xsi:type="ovf:VirtualSystem_Type" ovf:id="vm"><Info>machine</Info>'
        + section("OperatingSystemSection", "<Description>Linux</Description>", 'ovf:id="36"')
        + section("AnnotationSection", "<Annotation>note</Annotation>")
        + section("VirtualHardwareSection", items)
        + section("SnapshotsSection", "")
        + "</Content></Content>"
    )
    return old_envelope(body, attributes='ovf:version="0.9"')


def test_ovf_0_9() -> None:
    read = read_envelope(old_machine())
    assert (read.ovf_version, read.producer) == ("0.9", "vmware")
    assert read.networks == (Network(name="lan", description="LAN"),)
    assert [(disk.id, disk.file_ref, disk.capacity_bytes) for disk in read.disks] == [("d", "f", 8)]
    (collection,) = read.content
    assert isinstance(collection, VirtualSystemCollection)
    assert (collection.eulas, collection.products) == (("L",), (Product(name="P"),))
    inner = read_envelope(old_machine()).content[0]
    assert isinstance(inner, VirtualSystemCollection)
    (machine,) = inner.content
    assert not isinstance(machine, VirtualSystemCollection)
    assert (machine.id, machine.annotation) == ("vm", "note")
    assert machine.os == OperatingSystem(id=36, description="Linux")
    (section_read,) = machine.hardware
    assert section_read.system_types == ("vmx-4",)
    assert [(i.instance_id, i.element_name, i.address) for i in section_read.items] == [
        ("1", "1 CPU", ""),
        ("2", "memory", ""),
        ("3", "SCSI 0", "1"),
        ("4", "disk", ""),
    ]
    assert hardware.memory_bytes(section_read.items) == 256 << 20
    assert [f.message for f in read.findings] == [
        "the required 'SnapshotsSection' of namespace '' is not understood here: ignored",
    ]


def test_the_newer_name_wins_where_both_stand() -> None:
    body = system(item(3, 1, rasd(Caption="old", ElementName="new", Address=5, BusNumber=6)))
    (found,) = only_hardware(read_envelope(envelope(body))).items
    assert (found.element_name, found.address) == ("new", "5")


def test_a_section_without_type_is_unknown() -> None:
    read = read_envelope(old_envelope("<Section><Info/></Section>"))
    assert [f.message for f in read.findings] == [
        "the required 'Section' of namespace '' is not understood here: ignored",
        "the descriptor has no virtual system",
    ]


def test_the_draft_before_0_9_types_sections_by_another_attribute() -> None:
    data = (
        '<ovf:Envelope xmlns:ovf="http://schemas.dmtf.org/ovf/envelope" xmlns:xs="http://www.w3.org/2001/XMLSchema">'
        '<Section xs:name="ovf:NetworkSection_Type"><Info/><Network ovf:name="n"/></Section></ovf:Envelope>'
    )
    read = read_envelope(data.encode())
    assert (read.ovf_version, read.networks) == ("0.9", (Network(name="n"),))


@pytest.mark.parametrize(
    "epasd",
    [
        f"{CIM}/CIM_EthernetPortAllocationSettingData",
        f"{CIM}/CIM_EthernetPortAllocationSettingData.xsd",
        "http://schemas.dmtf.org/wbem/wscim/1/cim2608 schema/2/CIM_EthernetPortAllocationSettingData",
    ],
)
def test_ovf_2_has_items_for_disks_and_network_cards(epasd: str) -> None:
    items = (
        item(6, 1) + "<StorageItem><s:HostResource>/disk/d</s:HostResource><s:InstanceID>2</s:InstanceID>"
        "<s:Parent>1</s:Parent><s:ResourceType>31</s:ResourceType></StorageItem>"
        "<EthernetPortItem><e:Connection>lan</e:Connection><e:InstanceID>3</e:InstanceID>"
        "<e:ResourceSubType>E1000</e:ResourceSubType><e:ResourceType>10</e:ResourceType></EthernetPortItem>"
    )
    data = envelope(
        '<DiskSection><Info/><Disk ovf:diskId="d" ovf:capacity="1"/></DiskSection>'
        '<NetworkSection><Info/><Network ovf:name="lan"/></NetworkSection>' + system(items),
        namespace=OVF_2,
        attributes=f'xmlns:s="{CIM}/CIM_StorageAllocationSettingData.xsd" xmlns:e="{epasd}"',
    )
    read = read_envelope(data)
    found = only_hardware(read).items
    assert hardware.disk_ids(found) == ("d",)
    assert [(nic.subtypes, nic.connections) for nic in hardware.nics(found)] == [(("e1000",), ("lan",))]
    assert read.findings == ()


def ovirt_machine(*, disk: str = "", cpu: str = "", items: str = "", content: str = "") -> bytes:
    cpu = cpu or rasd(num_of_sockets=2, cpu_per_socket=3, threads_per_cpu=1)
    machine = section(
        "VirtualHardwareSection",
        OLD_ITEM.format(caption="cpus", number=1, kind=3, rest=cpu)
        + OLD_ITEM.format(
            caption="disk",
            number="c0e51e1b",
            kind=17,
            rest=rasd(HostResource=f"\n {IMAGE} ", Parent="00000000-0000-0000-0000-000000000000"),
        )
        + OLD_ITEM.format(
            caption="nic", number=3, kind=10, rest=rasd(ResourceSubType=3, Connection="ovirtmgmt") + "<Type>x</Type>"
        )
        + OLD_ITEM.format(caption="monitor", number=4, kind=20, rest=rasd(VirtualQuantity=1))
        + items,
    )
    return ovirt_envelope(
        f'<References><File ovf:id="c0e51e1b" ovf:href="{IMAGE}"/></References>'
        + section("NetworkSection", '<Network ovf:name="ovirtmgmt"/>')
        + section(
            "DiskSection",
            f'<Disk ovf:diskId="c0e51e1b" ovf:fileRef="{IMAGE}" ovf:parentRef="" ovf:size="8" '
            f'ovf:disk-interface="VirtIO_SCSI" {disk}/>',
        )
        + '<Content ovf:id="out" xsi:type="ovf:VirtualSystem_Type"><Name>guest</Name><TemplateId/>'
        + section("OperatingSystemSection", "<Description>rhel_9x64</Description>", 'ovf:id="5272b689-cd9f"')
        + content
        + machine
        + "</Content>",
    )


def test_ovirt() -> None:
    read = read_envelope(ovirt_machine())
    assert (read.ovf_version, read.producer) == ("0.9", "ovirt")
    (disk,) = read.disks
    assert (disk.file_ref, disk.capacity_bytes, disk.interface) == ("c0e51e1b", 8 << 30, "virtio_scsi")
    machine = only_system(read)
    assert (machine.name, machine.os) == ("guest", OperatingSystem(type="rhel_9x64", description="rhel_9x64"))
    cpu, drive, nic, monitor = only_hardware(read).items
    assert (cpu.quantity, cpu.cores_per_socket) == (6, 3)
    assert (drive.host_resources, drive.parent) == (("ovf:/disk/c0e51e1b",), "")
    assert (nic.subtypes, nic.connections) == (("virtio",), ("ovirtmgmt",))
    assert monitor.resource_type == ResourceType.GRAPHICS
    assert read.findings == ()


def test_ovirt_writes_the_exact_capacity_since_3_4() -> None:
    assert read_envelope(ovirt_machine(disk='ovf:capacity="536870912"')).disks[0].capacity_bytes == 536870912


def test_ovirt_says_the_number_of_the_system_in_its_own_namespace() -> None:
    content = section("OperatingSystemSection", "", 'ovf:id="uuid" xmlns:o="http://www.ovirt.org/ovf" o:id="30"')
    data = ovirt_envelope(
        '<Content ovf:id="out" xsi:type="ovf:VirtualSystem_Type">'
        + content
        + section("VirtualHardwareSection", "")
        + "</Content>",
    )
    assert only_system(read_envelope(data)).os.id == 30


def test_ovirt_gives_all_items_one_placeholder_id() -> None:
    items = OLD_ITEM.format(caption="rng", number="same", kind=0, rest="") * 2
    assert [(f.code, f.message) for f in read_envelope(ovirt_machine(items=items)).findings] == [
        ("OVF_DUPLICATE", "several items have the InstanceID 'same'"),
    ]


def test_ovirt_processors_without_topology_are_one() -> None:
    cpu = rasd(Description="one")
    assert hardware.cpu_count(only_hardware(read_envelope(ovirt_machine(cpu=cpu))).items) == 1


@pytest.mark.parametrize(("sockets", "cores", "total"), [(0, 1, 0), (4096, 2, 8192)])
def test_ovirt_processors_are_limited(sockets: int, cores: int, total: int) -> None:
    with pytest.raises(DescriptorError) as caught:
        read_envelope(ovirt_machine(cpu=rasd(num_of_sockets=sockets, cpu_per_socket=cores)))
    assert shown(caught.value) == (
        "E_OVF_VALUE",
        f"Envelope/Content/Section/Item (line 1): found {total} processors, expected 1 to 4096",
    )


@pytest.mark.parametrize(
    ("bios_type", "kind", "secure"),
    [("0", "bios", False), ("1", "bios", False), ("2", "bios", False), ("3", "efi", False), ("4", "efi", True)],
)
def test_ovirt_says_the_firmware_in_bios_type(bios_type: str, kind: str, secure: bool) -> None:  # noqa: FBT001 - a parameter
    read = read_envelope(ovirt_machine(content=f"<BiosType>{bios_type}</BiosType>"))
    found = hardware.firmware(only_hardware(read))
    assert (found.kind, found.secure_boot, found.is_stated) == (kind, secure, True)


def vbox(machine: str, os_section: str = "") -> bytes:
    return envelope(
        f'<VirtualSystem ovf:id="vm"><Info/>{os_section}<VirtualHardwareSection><Info/><System>'
        "<vssd:VirtualSystemType>virtualbox-2.2</vssd:VirtualSystemType></System></VirtualHardwareSection>"
        f"{machine}</VirtualSystem>",
        attributes='xmlns:vbox="http://www.virtualbox.org/ovf/machine"',
    )


VIEW = {"vbox:Machine@required": "false", "vbox:Machine@OSType": "Debian_64"}
MACHINE = '<vbox:Machine ovf:required="false" OSType="Debian_64">{}</vbox:Machine>'


def test_virtualbox() -> None:
    os_section = (
        '<OperatingSystemSection ovf:id="96"><Info/><Description>Debian_64</Description>'
        '<vbox:OSType ovf:required="false"> Debian12_64 </vbox:OSType></OperatingSystemSection>'
    )
    read = read_envelope(vbox(MACHINE.format(""), os_section))
    machine = only_system(read)
    assert (read.producer, machine.vendor, read.findings) == ("virtualbox", VIEW, ())
    assert machine.os == OperatingSystem(id=96, type="Debian12_64", description="Debian_64")


def test_virtualbox_settings_name_the_system_when_the_section_does_not() -> None:
    assert only_system(read_envelope(vbox(MACHINE.format("")))).os == OperatingSystem(type="Debian_64")
    plain = only_system(read_envelope(vbox("")))
    assert (plain.os, plain.vendor) == (OperatingSystem(), {})


def test_virtualbox_settings_can_be_looked_at() -> None:
    inside = (
        '<Description> a text </Description><Hardware><Memory RAMSize="512"/><Adapter slot="0"/><Adapter slot="1">'
        "<NAT/></Adapter></Hardware>"
    )
    assert only_system(read_envelope(vbox(MACHINE.format(inside)))).vendor == VIEW | {
        "vbox:Machine/Description": "a text",
        "vbox:Machine/Hardware/Memory@RAMSize": "512",
        "vbox:Machine/Hardware/Adapter@slot": "0",
        "vbox:Machine/Hardware/Adapter[2]@slot": "1",
    }


def test_a_view_of_very_much_ends() -> None:
    many = "".join(f'<A b="{number}"/>' for number in range(vendor.MAX_VIEW + 5))
    assert len(only_system(read_envelope(vbox(MACHINE.format(many)))).vendor) == vendor.MAX_VIEW


def test_ovirt_fields_can_be_looked_at() -> None:
    read = read_envelope(ovirt_machine(content="<Origin>3</Origin><CustomEmulatedMachine/><VmType>1</VmType>"))
    assert only_system(read).vendor == {"Origin": "3", "VmType": "1"}


@pytest.mark.parametrize(
    ("inside", "kind", "is_stated"),
    [
        ('<Hardware><Firmware type="EFI"/></Hardware>', "efi", True),
        ('<vbox:Hardware><vbox:Firmware type="EFI64"/></vbox:Hardware>', "efi", True),
        ('<Hardware><Firmware type="BIOS"/></Hardware>', "bios", True),
        ("<Hardware><CPU/></Hardware>", "bios", False),
        ("", "bios", False),
    ],
)
def test_virtualbox_says_the_firmware_in_its_settings(inside: str, kind: str, is_stated: bool) -> None:  # noqa: FBT001 - a parameter
    found = hardware.firmware(only_hardware(read_envelope(vbox(MACHINE.format(inside)))))
    assert (found.kind, found.is_stated) == (kind, is_stated)


def addresses(read: Envelope) -> list[str]:
    return [each.address for each in only_hardware(read).items if each.resource_type == ResourceType.ETHERNET]


@pytest.mark.parametrize(
    ("adapters", "found"),
    [
        ('<Adapter slot="0" enabled="true" MACAddress="0800270000AA"/>', ["0800270000AA"]),
        (
            '<Adapter slot="1" enabled="true" MACAddress="0800270000AA"/><Adapter slot="0" MACAddress="080027000000"/>',
            ["0800270000AA"],
        ),
        ('<Adapter slot="0" enabled="true"/>', [""]),
        ('<Adapter slot="0" enabled="true" MACAddress="A"/><Adapter slot="1" enabled="true" MACAddress="B"/>', [""]),
        ("", [""]),
    ],
    ids=["one", "the enabled one", "none", "more than items", "no adapters"],
)
def test_virtualbox_says_the_addresses_in_its_settings(adapters: str, found: list[str]) -> None:
    settings = MACHINE.format(f"<Hardware><Network>{adapters}</Network></Hardware>")
    data = vbox(settings).replace(b"</VirtualHardwareSection>", item(10, "n").encode() + b"</VirtualHardwareSection>")
    assert addresses(read_envelope(data)) == found


def test_ovirt_has_a_field_of_its_own_for_an_address() -> None:
    data = vbox("").replace(
        b"</VirtualHardwareSection>",
        item(10, "n", "<rasd:MACAddress>00:1a:4a:16:01:51</rasd:MACAddress>").encode() + b"</VirtualHardwareSection>",
    )
    assert addresses(read_envelope(data)) == ["00:1a:4a:16:01:51"]


def test_xenserver() -> None:
    items = item(
        19,
        "d",
        rasd(
            HostResource="ovf:/disk/d",
            ResourceSubType="Virtual Hard Disk Image",
            AllocationUnits="Disk",
            VirtualQuantity=1,
        ),
    ) + item(3, "c", rasd(AllocationUnits="Processor Cores", VirtualQuantity=1))
    data = envelope(
        '<DiskSection><Info/><Disk ovf:diskId="d" ovf:capacity="10485760"/></DiskSection>'
        '<StartupSection><Info/><Item ovf:id="vm" ovf:order="2"/></StartupSection>'
        + system(items + '<xenovf:VirtualSystemOtherConfigurationData id="x"/>'),
        attributes='xmlns:xenovf="http://schemas.citrix.com/ovf/envelope/1"',
    )
    read = read_envelope(data)
    assert read.producer == "xen"
    assert [(start.system_id, start.order) for start in read.startup] == [("vm", 2)]
    assert hardware.disk_ids(only_hardware(read).items) == ("d",)
    assert hardware.cpu_count(only_hardware(read).items) == 1


@pytest.mark.parametrize(
    ("data", "producer"),
    [
        (envelope(system(), attributes=VMW), "vmware"),
        (envelope(system("<System><vssd:VirtualSystemType>vmx-10</vssd:VirtualSystemType></System>")), "vmware"),
        (
            envelope(system("<System><vssd:VirtualSystemType>virtualbox-2.2</vssd:VirtualSystemType></System>")),
            "virtualbox",
        ),
        (
            envelope(
                system(hardware_attributes='ovf:transport="http://www.ibm.com/xmlns/ovf/transport/filesystem iso"')
            ),
            "ibm",
        ),
        (envelope(system(), attributes='xmlns:ibm="http://www.ibm.com/xmlns/ovf/extension"'), "ibm"),
        (envelope(f'<VirtualSystemCollection ovf:id="c"><Info/>{system()}</VirtualSystemCollection>'), "unknown"),
    ],
)
def test_the_producer(data: bytes, producer: str) -> None:
    assert read_envelope(data).producer == producer


@pytest.mark.parametrize("namespace", ["", "a:"])
def test_attributes_may_be_unqualified_or_of_another_version(namespace: str) -> None:
    declared = f'xmlns:a="{OVF_2}"' if namespace else ""
    text = f'<NetworkSection {declared}><Info/><Network {namespace}name="n"/></NetworkSection>'
    assert read_envelope(envelope(text + system())).networks == (Network(name="n"),)
