from __future__ import annotations

import re
from xml.etree import ElementTree as ET

import pytest

from tests.unit.plan.builders import USER, machine, schema_error, volume
from virt_ova.errors import PlanError
from virt_ova.plan.inputs import Backing, VolumeSource
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
from virt_ova.plan.to_libvirt import METADATA_NAMESPACE, domain_xml

SOURCES = {"d1": volume()}


def written(virtual: Machine) -> ET.Element:
    """The domain, after libvirt's schema took it."""
    return parsed(domain_xml(virtual, sources=SOURCES))


def parsed(xml: str) -> ET.Element:
    assert schema_error(xml) == ""
    return ET.fromstring(xml)  # noqa: S314 - just written by us


def disk(bus: Bus, **values: object) -> Drive:
    fields: dict[str, object] = {"id": "disk0", "kind": DriveKind.DISK, "bus": bus, "transfer": "d1"}
    return Drive(**(fields | values))  # type: ignore[arg-type]  # values are the test's


def attributes(element: ET.Element | None) -> dict[str, str]:
    assert element is not None
    return element.attrib


def test_the_smallest_machine_says_what_libvirt_would_guess() -> None:
    domain = written(machine())
    assert attributes(domain) == {"type": "qemu"}
    assert domain.findtext("name") == "web"
    assert domain.findtext("memory") == "1048576"
    assert domain.findtext("vcpu") == "1"
    assert attributes(domain.find("os/type")) == {"arch": "x86_64", "machine": "pc"}
    assert attributes(domain.find("cpu")) == {"mode": "maximum"}
    assert attributes(domain.find("clock")) == {"offset": "utc"}
    assert attributes(domain.find("devices/controller")) == {"type": "usb", "index": "0", "model": "none"}
    assert attributes(domain.find("devices/memballoon")) == {"model": "none"}
    assert attributes(domain.find("devices/graphics/listen")) == {"type": "address", "address": "127.0.0.1"}
    assert attributes(domain.find("devices/video/model")) == {"type": "vga"}
    assert attributes(domain.find("devices/console/target")) == {"type": "serial", "port": "0"}


@pytest.mark.parametrize(
    ("virt_type", "written_type", "cpu"),
    [("kvm", "kvm", {"mode": "host-passthrough"}), ("test", "test", None), ("", "qemu", None)],
)
def test_the_processor_follows_the_virtualization(
    virt_type: str, written_type: str, cpu: dict[str, str] | None
) -> None:
    domain = written(machine(virt_type=virt_type))
    assert domain.get("type") == written_type
    element = domain.find("cpu")
    assert (None if element is None else element.attrib) == cpu


def test_cores_per_socket_become_a_topology() -> None:
    domain = written(machine(cpus=Cpus(count=4, cores_per_socket=2)))
    assert attributes(domain.find("cpu/topology")) == {"sockets": "2", "cores": "2", "threads": "1"}


def test_efi_without_secure_boot_says_so() -> None:
    domain = written(machine(chipset="q35", firmware=Firmware(kind=FirmwareKind.EFI)))
    assert attributes(domain.find("os")) == {"firmware": "efi"}
    features = {feature.get("name"): feature.get("enabled") for feature in domain.findall("os/firmware/feature")}
    assert features == {"enrolled-keys": "no", "secure-boot": "no"}
    assert domain.find("features/smm") is None


def test_variables_of_the_package_are_named() -> None:
    virtual = machine(chipset="q35", firmware=Firmware(kind=FirmwareKind.EFI, variables="v"))
    xml = domain_xml(virtual, sources={"v": VolumeSource(image_format="raw", path="/images/web-efi-vars.fd")})
    assert schema_error(xml) == ""
    assert "<nvram>/images/web-efi-vars.fd</nvram>" in xml
    with pytest.raises(PlanError) as caught:
        domain_xml(virtual, sources={})
    message = "the EFI variables of 'web' come by transfer 'v', which has no image"
    assert (caught.value.code, caught.value.message) == ("E_PLAN_SOURCE", message)


def test_secure_boot_needs_keys_and_system_management_mode() -> None:
    domain = written(machine(chipset="q35", firmware=Firmware(kind=FirmwareKind.EFI, secure_boot=True), has_tpm=True))
    features = {feature.get("name"): feature.get("enabled") for feature in domain.findall("os/firmware/feature")}
    assert features == {"enrolled-keys": "yes", "secure-boot": "yes"}
    assert attributes(domain.find("features/smm")) == {"state": "on"}
    assert attributes(domain.find("devices/tpm")) == {"model": "tpm-crb"}
    assert attributes(domain.find("devices/tpm/backend")) == {"type": "emulator", "version": "2.0"}


def test_a_bios_machine_has_the_older_tpm_interface() -> None:
    assert attributes(written(machine(has_tpm=True)).find("devices/tpm")) == {"model": "tpm-tis"}


@pytest.mark.parametrize(
    ("drive", "model", "target", "address"),
    [
        (disk(Bus.IDE, unit=3), "", "hdd", (0, 1, 0, 1)),
        (disk(Bus.SATA, controller=1, unit=5), "", "sda", (1, 0, 0, 5)),
        (disk(Bus.SCSI, unit=3), "lsilogic", "sda", (0, 0, 0, 3)),
        (disk(Bus.SCSI, unit=3), "lsisas1068", "sda", (0, 0, 3, 0)),
        (disk(Bus.SCSI, unit=3), "vmpvscsi", "sda", (0, 0, 3, 0)),
        (disk(Bus.SCSI, unit=3), "virtio-scsi", "sda", (0, 0, 3, 0)),
        (disk(Bus.FDC, kind=DriveKind.FLOPPY, unit=1), "", "fdb", (0, 0, 0, 1)),
    ],
)
def test_drives_stand_at_their_address(drive: Drive, model: str, target: str, address: tuple[int, ...]) -> None:
    controllers = [Controller(bus=drive.bus, index=index, model=model) for index in range(drive.controller + 1)]
    domain = written(machine(drives=(drive,), controllers=() if drive.bus is Bus.FDC else tuple(controllers)))
    assert attributes(domain.find("devices/disk/target")) == {"dev": target, "bus": drive.bus}
    place = attributes(domain.find("devices/disk/address"))
    assert tuple(int(place[name]) for name in ("controller", "bus", "target", "unit")) == address


@pytest.mark.parametrize(("bus", "target"), [(Bus.VIRTIO, "vda"), (Bus.USB, "sda")])
def test_drives_that_are_devices_of_their_own_have_no_address(bus: Bus, target: str) -> None:
    domain = written(machine(drives=(disk(bus),), usb="qemu-xhci"))
    assert attributes(domain.find("devices/disk/target")) == {"dev": target, "bus": bus}
    assert domain.find("devices/disk/address") is None


def test_drives_of_buses_with_the_same_letters_are_counted_together() -> None:
    drives = [disk(Bus.SATA, id=f"disk{number}", unit=number % 6, controller=number // 6) for number in range(28)]
    domain = written(machine(drives=(*drives, disk(Bus.VIRTIO, id="v"))))
    names = [attributes(element)["dev"] for element in domain.findall("devices/disk/target")]
    assert (names[0], names[25], names[26], names[27], names[28]) == ("sda", "sdz", "sdaa", "sdab", "vda")


def test_images_are_named_by_path_or_by_volume() -> None:
    drives = (disk(Bus.SATA, boot_order=1), disk(Bus.SATA, id="disk1", unit=1, transfer="d2"))
    in_pool = VolumeSource(image_format="raw", pool="default", volume="web-disk2.raw")
    xml = domain_xml(machine(drives=drives), sources=SOURCES | {"d2": in_pool})
    by_file, by_volume = parsed(xml).findall("devices/disk")
    assert attributes(by_file) == {"type": "file", "device": "disk"}
    assert attributes(by_file.find("driver")) == {"name": "qemu", "type": "qcow2"}
    assert attributes(by_file.find("source")) == {"file": "/var/lib/images/web-disk1.qcow2"}
    assert attributes(by_file.find("boot")) == {"order": "1"}
    assert by_file.find("readonly") is None
    assert attributes(by_volume) == {"type": "volume", "device": "disk"}
    assert attributes(by_volume.find("driver")) == {"name": "qemu", "type": "raw"}
    assert attributes(by_volume.find("source")) == {"pool": "default", "volume": "web-disk2.raw"}
    assert by_volume.find("boot") is None


def test_a_shared_disk_is_shareable_and_not_cached() -> None:
    virtual = machine(controllers=(Controller(bus=Bus.SATA),), drives=(disk(Bus.SATA, shared=True),))
    (found,) = written(virtual).iter("disk")
    assert attributes(found.find("driver"))["cache"] == "none"
    assert found.find("shareable") is not None


def test_an_empty_cd_drive_has_no_source() -> None:
    drive = disk(Bus.IDE, kind=DriveKind.CDROM, transfer="")
    element = written(machine(drives=(drive,))).find("devices/disk")
    assert element is not None
    assert attributes(element) == {"type": "file", "device": "cdrom"}
    assert element.find("source") is None
    assert element.find("readonly") is not None


def test_interfaces_are_plugged_in() -> None:
    connections = [
        Connection(kind=ConnectionKind.NETWORK, name="default"),
        Connection(kind=ConnectionKind.BRIDGE, name="br0"),
        USER,
        Connection(kind=ConnectionKind.NONE),
    ]
    nics = tuple(Nic(model="e1000-82545em", connection=connection) for connection in connections)
    domain = written(machine(nics=(*nics, Nic(model="virtio", connection=USER, mac="52:54:00:00:00:01"))))
    network, bridge, user, none, fixed = domain.findall("devices/interface")
    assert (network.get("type"), attributes(network.find("source"))) == ("network", {"network": "default"})
    assert (bridge.get("type"), attributes(bridge.find("source"))) == ("bridge", {"bridge": "br0"})
    assert (user.get("type"), user.find("source"), user.find("link")) == ("user", None, None)
    assert (none.get("type"), attributes(none.find("link"))) == ("user", {"state": "down"})
    assert attributes(none.find("model")) == {"type": "e1000-82545em"}
    assert attributes(fixed.find("mac")) == {"address": "52:54:00:00:00:01"}


def test_ports_sound_and_usb() -> None:
    virtual = machine(serial_ports=2, parallel_ports=1, sound="es1370", usb="ehci", has_tablet=True)
    devices = written(virtual).find("devices")
    assert devices is not None
    assert [attributes(each)["port"] for each in devices.findall("serial/target")] == ["0", "1"]
    assert [attributes(each)["port"] for each in devices.findall("parallel/target")] == ["0"]
    assert attributes(devices.find("sound")) == {"model": "es1370"}
    assert attributes(devices.find("controller")) == {"type": "usb", "index": "0", "model": "ehci"}
    assert attributes(devices.find("input")) == {"type": "tablet", "bus": "usb"}


def test_a_machine_without_screen_and_ports_has_none() -> None:
    devices = written(machine(video="", serial_ports=0)).find("devices")
    assert devices is not None
    assert attributes(devices.find("video/model")) == {"type": "none"}
    assert devices.find("graphics") is None
    assert devices.find("console") is None


def test_package_text_stays_text() -> None:
    evil = "]]><x a='1'>&y;\x00\x1b[31m\u202e\ud800"
    domain = written(machine(title=evil, description=f"{evil}\nsecond", package="<p>.ova", os_type="a&b"))
    shown = r"]]><x a='1'>&y;\x00\x1b[31m\u202e\ud800"
    assert domain.findtext("title") == shown
    assert domain.findtext("description") == f"{shown}\nsecond"
    origin = domain.find("metadata/{https://virt-ova.org/xmlns/domain/1}appliance")
    assert origin is not None
    assert [(each.tag.split("}")[1], each.text) for each in origin] == [
        ("package", "<p>.ova"),
        ("name", shown),
        ("guest", "a&b"),
    ]


def test_long_text_is_cut() -> None:
    domain = written(machine(title="t" * 10_000, description="d" * 100_000))
    assert len(domain.findtext("title") or "") == 200
    assert len(domain.findtext("description") or "") == 4096


def test_a_drive_without_its_image_is_an_error() -> None:
    with pytest.raises(PlanError) as caught:
        domain_xml(machine(drives=(disk(Bus.SATA, transfer="gone"),)), sources=SOURCES)
    assert caught.value.code == "E_PLAN_SOURCE"
    assert str(caught.value) == "drive 'disk0' is filled by transfer 'gone', which has no image"


def test_drives_on_an_lsisas1068_have_names_of_their_own_and_no_others_have() -> None:
    controllers = (
        Controller(bus=Bus.SCSI, index=0, model="vmpvscsi"),
        Controller(bus=Bus.SCSI, index=1, model="lsisas1068"),
        Controller(bus=Bus.SATA, index=1),
    )
    drives = (
        disk(Bus.SCSI, id="a", controller=0),
        disk(Bus.SATA, id="b", controller=1),
        disk(Bus.SCSI, id="c", controller=1),
        disk(Bus.SCSI, id="d", controller=1, unit=7),
    )
    domain = written(machine(drives=drives, controllers=controllers))
    assert [each.findtext("wwn") for each in domain.iter("disk")] == [
        None,
        None,
        "3000000000000101",
        "3000000000000108",
    ]


def test_each_nvme_disk_has_a_controller_with_a_serial_number() -> None:
    domain = ET.fromstring(domain_xml(machine(drives=(disk(Bus.NVME),)), sources=SOURCES))  # noqa: S314 - made here
    assert [target.attrib for target in domain.iter("target") if "bus" in target.attrib] == [
        {"dev": "nvme0n1", "bus": "nvme"}
    ]
    controller = domain.find("devices/controller[@type='nvme']")
    assert controller is not None
    assert (controller.get("index"), controller.findtext("serial")) == ("0", "nvme0")


def test_libosinfos_identifier_stands_where_others_look_for_it() -> None:
    domain = written(machine(libosinfo_id="http://debian.org/debian/11"))
    system = domain.find("metadata/{http://libosinfo.org/xmlns/libvirt/domain/1.0}libosinfo/*")
    assert system is not None
    assert system.attrib == {"id": "http://debian.org/debian/11"}


def test_a_linked_image_has_its_whole_chain_and_the_package_keeps_its_owner() -> None:
    backing = Backing(
        path='/pk/a,b:"c" & <d>\'.ova',
        size_bytes=4096,
        modified_ns=1_700_000_000_000_000_042,
        member="disk1.vmdk",
        image_format="vmdk",
        offset=512,
        length=1024,
        digest="SHA256:00ff",
    )
    image = VolumeSource(image_format="qcow2", path="/images/web.qcow2", backing=backing)
    virtual = machine(drives=(disk(Bus.SATA),), controllers=(Controller(bus=Bus.SATA),))
    domain = parsed(domain_xml(virtual, sources={"d1": image}))
    store = domain.find("devices/disk/backingStore")
    assert attributes(store) == {"type": "file"}
    assert attributes(domain.find("devices/disk/backingStore/format")) == {"type": "vmdk"}
    source = domain.find("devices/disk/backingStore/source")
    assert attributes(source) == {"file": backing.path}
    assert source is not None
    assert attributes(source.find("slices/slice")) == {"type": "storage", "offset": "512", "size": "1024"}
    assert attributes(source.find("seclabel")) == {"model": "dac", "relabel": "no"}
    assert attributes(domain.find("devices/disk/backingStore/backingStore")) == {}
    assert attributes(domain.find(f"metadata/{{{METADATA_NAMESPACE}}}appliance/{{{METADATA_NAMESPACE}}}link")) == {
        "file": backing.path,
        "size": "4096",
        "modified": "1700000000.000000042",
        "member": "disk1.vmdk",
        "offset": "512",
        "length": "1024",
        "digest": "SHA256:00ff",
    }


@pytest.mark.parametrize(
    ("connection", "expected"),
    [
        (Connection(kind=ConnectionKind.PRIVATE, name="lan"), '<interface type="network"><source network="lan" />'),
        (Connection(kind=ConnectionKind.SHARED, name="wan"), '<interface type="network"><source network="wan" />'),
        (Connection(kind=ConnectionKind.BRIDGE, name="br0"), '<interface type="bridge"><source bridge="br0" />'),
        (Connection(kind=ConnectionKind.USER), '<interface type="user">'),
    ],
)
def test_interfaces(connection: Connection, expected: str) -> None:
    xml = domain_xml(machine(nics=(Nic(model="e1000", connection=connection, boot_order=2),)), sources={})
    assert schema_error(xml) == ""
    assert f'{expected}<model type="e1000" /><boot order="2" /></interface>' in re.sub(r"\n\s*", "", xml)


def test_what_is_only_tried_keeps_nothing_that_it_writes() -> None:
    sata = Controller(bus=Bus.SATA)
    drives = (
        Drive(id="a", kind=DriveKind.DISK, bus=Bus.SATA, transfer="disk1"),
        Drive(id="b", kind=DriveKind.DISK, bus=Bus.SATA, unit=1, transfer="disk1", shared=True),
        Drive(id="c", kind=DriveKind.DISK, bus=Bus.SATA, unit=2, transfer="disk1", read_only=True),
        Drive(id="d", kind=DriveKind.CDROM, bus=Bus.SATA, unit=3, transfer="disk1", read_only=True),
        Drive(id="e", kind=DriveKind.CDROM, bus=Bus.SATA, unit=4),
        Drive(id="f", kind=DriveKind.FLOPPY, bus=Bus.FDC, transfer="disk1"),
    )
    tried = machine(controllers=(sata,), drives=drives)
    sources = {"disk1": VolumeSource(image_format="raw", path="/d.raw")}

    def fates(*, keeps_writes: bool) -> list[set[str]]:
        domain = parsed(domain_xml(tried, sources=sources, keeps_writes=keeps_writes))
        fate = {"readonly", "transient", "shareable"}
        return [fate & {each.tag for each in one} for one in domain.iterfind("devices/disk")]

    read_only = {"readonly"}
    assert fates(keeps_writes=True) == [set(), {"shareable"}, read_only, read_only, read_only, set()]
    assert fates(keeps_writes=False) == [{"transient"}, {"transient"}, *(read_only for _ in range(4))]
