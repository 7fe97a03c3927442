"""From a VMX to the values of a descriptor."""

from __future__ import annotations

import pytest

from tests.build.vmware import SETTINGS, lines, vmx
from virt_ova.errors import DescriptorError
from virt_ova.ovf.envelope import (
    BootDevice,
    Disk,
    Envelope,
    File,
    Item,
    Network,
    ResourceType,
    VirtualHardware,
    VirtualSystem,
)
from virt_ova.ovf.hardware import firmware
from virt_ova.vmx.reader import read_vmx
from virt_ova.vmx.words import guest_os, os_type


def read(settings: dict[str, str] | None = None, **more: str) -> Envelope:
    """The values of the usual settings, with others in their place or behind them."""
    return read_vmx(lines({**SETTINGS, **(settings or {}), **more}))


def system_of(envelope: Envelope) -> VirtualSystem:
    (system,) = envelope.content
    assert isinstance(system, VirtualSystem)
    return system


def hardware_of(envelope: Envelope) -> VirtualHardware:
    (hardware,) = system_of(envelope).hardware
    return hardware


def items_of(envelope: Envelope, *types: ResourceType) -> list[Item]:
    return [item for item in hardware_of(envelope).items if item.resource_type in types]


def refusal(settings: dict[str, str]) -> tuple[str, str]:
    with pytest.raises(DescriptorError) as caught:
        read(settings)
    return caught.value.code, str(caught.value)


def notes(envelope: Envelope) -> list[tuple[str, str, str]]:
    return [(finding.code, finding.where, finding.message) for finding in envelope.findings]


class TestMachine:
    def test_a_plain_one(self) -> None:
        envelope = read_vmx(vmx("disk.vmdk", annotation="one|0Atwo"))
        system = system_of(envelope)
        assert (envelope.ovf_version, envelope.producer, envelope.findings) == ("", "vmware", ())
        assert (system.id, system.name, system.annotation) == ("old machine", "old machine", "one\ntwo")
        assert (system.os.type, system.os.id) == ("debian12_64Guest", None)
        assert hardware_of(envelope).system_types == ("vmx-19",)
        assert envelope.files == (File(id="file1", href="disk.vmdk"),)
        assert envelope.disks == (Disk(id="scsi0:0", file_ref="file1"),)
        assert envelope.networks == (Network(name="nat"),)
        kinds = [(item.element_name, item.resource_type, item.subtypes) for item in hardware_of(envelope).items]
        assert kinds == [
            ("numvcpus", 3, ()),
            ("memsize", 4, ()),
            ("scsi0", 6, ("virtualscsi",)),
            ("scsi0:0", 17, ()),
            ("ethernet0", 10, ("vmxnet3",)),
        ]
        assert len({item.instance_id for item in hardware_of(envelope).items}) == 5

    def test_processors_and_memory(self) -> None:
        envelope = read({"numvcpus": "8", "cpuid.coresPerSocket": "4", "memsize": "1030"})
        (cpus,), (memory,) = items_of(envelope, ResourceType.PROCESSOR), items_of(envelope, ResourceType.MEMORY)
        assert (cpus.quantity, cpus.cores_per_socket, memory.quantity) == (8, 4, 1030 << 20)

    def test_what_is_not_said(self) -> None:
        envelope = read_vmx(lines({"virtualHW.version": "4"}))
        (cpus,) = hardware_of(envelope).items
        assert (cpus.quantity, system_of(envelope).name, system_of(envelope).os.type) == (1, "", "")
        assert hardware_of(envelope).system_types == ("vmx-04",)

    @pytest.mark.parametrize(
        ("settings", "expected"),
        [
            ({}, ("bios", False)),
            ({"firmware": "BIOS"}, ("bios", False)),
            ({"firmware": "efi"}, ("efi", False)),
            ({"firmware": "efi", "uefi.secureBoot.enabled": "TRUE"}, ("efi", True)),
            ({"uefi.secureBoot.enabled": "TRUE"}, ("bios", False)),
        ],
    )
    def test_firmware(self, settings: dict[str, str], expected: tuple[str, bool]) -> None:
        request = firmware(hardware_of(read(settings)))
        assert (request.kind, request.secure_boot, request.is_stated) == (*expected, True)

    def test_a_name_as_vcenter_writes_it(self) -> None:
        assert system_of(read(displayName="a%2fb%5C%25 |22c|22 100%")).name == 'a/b\\% "c" 100%'

    def test_the_boot_order(self) -> None:
        disks = {"scsi0:0.present": "TRUE", "scsi0:0.fileName": "a", "scsi0:1.present": "TRUE", "scsi0:1.fileName": "b"}
        envelope = read({**disks, "bios.bootOrder": "allow:CDROM, hdd,ethernet0,x", "bios.hddOrder": "scsi0:1,sata9:9"})
        ids = {item.element_name: item.instance_id for item in hardware_of(envelope).items}
        assert system_of(envelope).boot == (
            BootDevice(kind="cdrom"),
            BootDevice(kind="disk", instance_id=ids["scsi0:1"]),
            BootDevice(kind="disk"),
            BootDevice(kind="net", instance_id=ids["ethernet0"]),
        )
        assert system_of(read()).boot == ()

    def test_keys_and_words_in_any_letter_case(self) -> None:
        data = vmx("disk.vmdk").upper().replace(b"DISK.VMDK", b"disk.vmdk")
        assert hardware_of(read_vmx(data)) == hardware_of(read_vmx(vmx("disk.vmdk")))


class TestDrives:
    @pytest.mark.parametrize(
        ("prefix", "settings", "expected"),
        [
            ("scsi", {"scsi1.virtualDev": "lsilogic"}, (6, ("lsilogic",))),
            ("scsi", {"scsi1.virtualDev": "lsisas1068"}, (6, ("lsilogicsas",))),
            ("scsi", {"scsi1.virtualDev": "buslogic"}, (6, ("buslogic",))),
            ("scsi", {"scsi1.virtualDev": "Strange"}, (6, ("strange",))),
            ("scsi", {}, (6, ())),
            ("sata", {}, (20, ("vmware.sata.ahci",))),
            ("nvme", {}, (20, ("vmware.nvme.controller",))),
            ("ide", {}, (5, ())),
        ],
    )
    def test_controllers(self, prefix: str, settings: dict[str, str], expected: tuple[int, tuple[str, ...]]) -> None:
        key = f"{prefix}1"
        envelope = read(
            {
                **settings,
                "scsi0.present": "FALSE",
                f"{key}.present": "TRUE",
                f"{key}:1.present": "TRUE",
                f"{key}:1.fileName": "a.vmdk",
            }
        )
        controller, drive = items_of(
            envelope,
            ResourceType.SCSI_CONTROLLER,
            ResourceType.OTHER_STORAGE,
            ResourceType.IDE_CONTROLLER,
            ResourceType.DISK,
        )
        assert (controller.resource_type, controller.subtypes, controller.address) == (*expected, "1")
        assert (drive.parent, drive.address_on_parent) == (controller.instance_id, "1")
        assert drive.host_resources == (f"ovf:/disk/{key}:1",)

    def test_what_is_not_there_does_not_count(self) -> None:
        envelope = read(
            {
                "scsi0:1.fileName": "a.vmdk",
                "scsi0:2.present": "FALSE",
                "scsi0:2.fileName": "a.vmdk",
                "sata0:0.present": "TRUE",
                "sata0:0.fileName": "a.vmdk",
                "floppy0.present": "FALSE",
                "floppy0.fileName": "a.flp",
            }
        )
        assert (envelope.files, envelope.disks, envelope.findings) == ((), (), ())

    @pytest.mark.parametrize("kind", ["disk", "scsi-hardDisk", "ata-hardDisk", ""])
    def test_hard_disks(self, kind: str) -> None:
        envelope = read({"scsi0:3.present": "TRUE", "scsi0:3.deviceType": kind, "scsi0:3.fileName": "a.vmdk"})
        (drive,) = items_of(envelope, ResourceType.DISK)
        assert (drive.address_on_parent, envelope.disks[0].id) == ("3", "scsi0:3")

    def test_a_drive_of_another_kind(self) -> None:
        envelope = read({"scsi0:3.present": "TRUE", "scsi0:3.deviceType": "scsi-passthru"})
        (other,) = items_of(envelope, ResourceType.OTHER)
        assert (other.subtypes, envelope.disks) == (("scsi-passthru",), ())

    def test_two_disks_in_one_file(self) -> None:
        drives = {"scsi0:0.present": "TRUE", "scsi0:0.fileName": "a.vmdk"}
        message = "scsi0:1: the disk is in 'a.vmdk', as scsi0:0 is, expected a file of its own"
        found = refusal({**drives, "scsi0:1.present": "TRUE", "scsi0:1.fileName": "a.vmdk"})
        assert found == ("E_VMX_VALUE", message)

    def test_a_disk_without_a_file(self) -> None:
        message = "scsi0:0: the disk has no fileName, expected the name of a .vmdk file"
        assert refusal({"scsi0:0.present": "TRUE"}) == ("E_VMX_VALUE", message)

    def test_a_disk_that_forgets(self) -> None:
        disk = {"scsi0:0.present": "TRUE", "scsi0:0.fileName": "a.vmdk", "scsi0:0.mode": "independent-nonpersistent"}
        message = "the disk forgets its changes under VMware when the machine stops; here it keeps them"
        assert notes(read(disk)) == [("VMX_NONPERSISTENT", "scsi0:0", message)]

    @pytest.mark.parametrize(
        ("settings", "resources"),
        [
            ({"deviceType": "cdrom-image", "fileName": "tools.iso"}, ("ovf:/file/file1",)),
            ({"fileName": "tools.ISO"}, ("ovf:/file/file1",)),
            ({"deviceType": "cdrom-image", "fileName": ""}, ()),
            ({"deviceType": "cdrom-raw", "fileName": "auto detect"}, ()),
            ({"deviceType": "atapi-cdrom", "fileName": "/dev/sr0"}, ()),
            ({"deviceType": "cdrom-image", "fileName": "tools.iso", "clientDevice": "TRUE"}, ()),
        ],
    )
    def test_cds(self, settings: dict[str, str], resources: tuple[str, ...]) -> None:
        envelope = read({"ide1:0.present": "TRUE", **{f"ide1:0.{key}": value for key, value in settings.items()}})
        (drive,) = items_of(envelope, ResourceType.CD)
        assert (drive.host_resources, drive.address_on_parent, envelope.findings) == (resources, "0", ())
        (controller,) = items_of(envelope, ResourceType.IDE_CONTROLLER)
        assert (controller.address, drive.parent) == ("1", controller.instance_id)

    @pytest.mark.parametrize(
        "name",
        ["/usr/lib/vmware/isoimages/linux.iso", "C:\\iso\\a.iso", "../a.iso", "[ds1] iso/a.iso", "x/../../a.iso"],
    )
    def test_a_cd_that_is_a_file_of_the_old_host(self, name: str) -> None:
        envelope = read({"ide1:0.present": "TRUE", "ide1:0.deviceType": "cdrom-image", "ide1:0.fileName": name})
        (drive,) = items_of(envelope, ResourceType.CD)
        assert (drive.host_resources, envelope.files) == ((), ())
        message = f"the drive has the image '{name}', which is outside the package: the drive is empty here"
        assert notes(envelope) == [("VMX_MEDIA", "ide1:0", message)]

    def test_floppies(self) -> None:
        envelope = read(
            {
                "floppy0.present": "TRUE",
                "floppy0.fileType": "file",
                "floppy0.fileName": "boot.flp",
                "floppy1.present": "TRUE",
                "floppy1.fileType": "device",
                "floppy1.fileName": "/dev/fd0",
            }
        )
        drives = items_of(envelope, ResourceType.FLOPPY)
        assert [(each.address_on_parent, each.host_resources) for each in drives] == [
            ("0", ("ovf:/file/file1",)),
            ("1", ()),
        ]


class TestNetwork:
    @pytest.mark.parametrize(
        ("settings", "subtype"),
        [
            ({"virtualDev": "e1000"}, "e1000"),
            ({"virtualDev": "E1000e"}, "e1000e"),
            ({"virtualDev": "vlance"}, "pcnet32"),
            ({"virtualDev": "vmxnet"}, "vmxnet"),
            ({"virtualDev": "vmxnet", "features": "15"}, "vmxnet2"),
            ({"virtualDev": ""}, "flexible"),
            ({"virtualDev": "new"}, "new"),
        ],
    )
    def test_cards(self, settings: dict[str, str], subtype: str) -> None:
        (card,) = items_of(read({f"ethernet0.{key}": value for key, value in settings.items()}), ResourceType.ETHERNET)
        assert card.subtypes == (subtype,)

    @pytest.mark.parametrize(
        ("settings", "name"),
        [
            ({"connectionType": "", "networkName": "VM Network"}, "VM Network"),
            ({"connectionType": "bridged"}, "bridged"),
            ({"connectionType": "hostonly"}, "hostonly"),
            ({"connectionType": "custom", "vnet": "VMnet2"}, "VMnet2"),
            ({"connectionType": "nat", "vnet": "VMnet2"}, "nat"),
            ({"connectionType": ""}, "bridged"),
        ],
    )
    def test_networks(self, settings: dict[str, str], name: str) -> None:
        envelope = read({f"ethernet0.{key}": value for key, value in settings.items()})
        (card,) = items_of(envelope, ResourceType.ETHERNET)
        assert (card.connections, envelope.networks) == ((name,), (Network(name=name),))

    def test_addresses_are_not_taken(self) -> None:
        envelope = read({"ethernet0.address": "00:50:56:00:00:01", "uuid.bios": "56 4d"})
        assert "00:50:56" not in repr(envelope)
        assert "56 4d" not in repr(envelope)

    def test_a_card_that_is_not_plugged_in(self) -> None:
        (card,) = items_of(read({"ethernet0.startConnected": "FALSE"}), ResourceType.ETHERNET)
        assert card.automatic_allocation is False


def test_other_devices() -> None:
    envelope = read(
        {
            "serial0.present": "TRUE",
            "serial0.fileType": "file",
            "serial0.fileName": "/etc/passwd",
            "parallel0.present": "TRUE",
            "usb.present": "TRUE",
            "ehci.present": "TRUE",
            "usb_xhci.present": "TRUE",
            "sound.present": "TRUE",
            "sound.virtualDev": "hdaudio",
            "vtpm.present": "TRUE",
            "vmci0.present": "TRUE",
            "pciPassthru0.present": "TRUE",
        }
    )
    assert [(item.element_name, item.resource_type, item.subtypes) for item in hardware_of(envelope).items[4:]] == [
        ("serial0", 21, ()),
        ("parallel0", 22, ()),
        ("usb_xhci", 23, ("vmware.usb.xhci",)),
        ("ehci", 23, ("vmware.usb.ehci",)),
        ("sound", 35, ("vmware.soundcard.hdaudio",)),
        ("vtpm", 1, ("vmware.vtpm",)),
        ("pciPassthru0", 1, ("vmware.pci.passthrough",)),
        ("vmci0", 1, ("vmware.vmci",)),
    ]
    assert "/etc/passwd" not in repr(envelope)
    (plain,) = items_of(read({"usb.present": "TRUE"}), ResourceType.USB_CONTROLLER)
    assert plain.subtypes == ()


class TestFindings:
    def test_what_is_not_known_is_counted_once(self) -> None:
        unknown = {f"sharedFolder{number}.present": "TRUE" for number in range(7)}
        found = notes(read({**unknown, "uuid.bios": "1", "ethernet0.pciSlotNumber": "160", "scsi0:0.redo": ""}))
        named = ", ".join(f"'sharedFolder{number}.present'" for number in range(5))
        assert found == [("VMX_IGNORED", "", f"settings that are not known here: 7 ({named}, ...)")]

    def test_the_variables_of_the_firmware(self) -> None:
        message = "the firmware's variables in 'a.nvram' are not taken over: the machine gets new ones"
        assert notes(read(nvram="a.nvram")) == [("VMX_NVRAM", "nvram", message)]

    def test_a_suspended_machine(self) -> None:
        message = "the machine is suspended: what its memory held is not taken over, as after a power cut"
        assert notes(read({"checkpoint.vmState": "a.vmss"})) == [("VMX_SUSPENDED", "checkpoint.vmState", message)]
        assert notes(read({"checkpoint.vmState": ""})) == []

    def test_a_machine_with_encrypted_secrets(self) -> None:
        message = "a part of the settings is encrypted and cannot be read"
        found = notes(read({"encryption.keySafe": "vmware:key", "encryption.data": "abc"}))
        assert found == [("VMX_ENCRYPTED", "encryption.data", message)]


class TestRefusals:
    def test_an_encrypted_machine(self) -> None:
        with pytest.raises(DescriptorError) as caught:
            read_vmx(lines({"displayName": "x", "encryption.keySafe": "k", "encryption.data": "d"}))
        assert caught.value.code == "E_NOT_SUPPORTED"
        assert str(caught.value) == "encryption.data: the machine is encrypted, expected one that can be read"

    def test_what_is_no_vmx(self) -> None:
        with pytest.raises(DescriptorError) as caught:
            read_vmx(b'a = "b"\n')
        message = "virtualHW.version: found none, expected a number, which every VMX has"
        assert (caught.value.code, str(caught.value)) == ("E_VMX_VALUE", message)

    @pytest.mark.parametrize(
        ("settings", "message"),
        [
            ({"numvcpus": "0"}, "numvcpus: found '0', expected a whole number from 1 to 4096"),
            ({"memsize": "-1"}, "memsize: found '-1', expected a whole number from 1 to 134217728"),
            ({"virtualHW.version": "x"}, "virtualHW.version: found 'x', expected a whole number from 1 to 999"),
            ({"scsi0.present": "perhaps"}, "scsi0.present: found 'perhaps', expected TRUE or FALSE"),
        ],
    )
    def test_values_that_cannot_be(self, settings: dict[str, str], message: str) -> None:
        assert refusal(settings) == ("E_VMX_VALUE", message)


@pytest.mark.parametrize(
    ("guest", "word"),
    [
        ("debian12-64", "debian12_64Guest"),
        ("ubuntu-64", "ubuntu64Guest"),
        ("ubuntu", "ubuntuGuest"),
        ("windows9srv-64", "windows9Server64Guest"),
        ("windows2019srv-64", "windows2019srv_64Guest"),
        ("longhorn-64", "winLonghorn64Guest"),
        ("winxppro", "winxpproGuest"),
        ("other-64", "otherGuest64"),
        ("other", "otherGuest"),
        ("arm-debian12-64", "arm-debian12_64Guest"),
    ],
)
def test_guests_both_ways(guest: str, word: str) -> None:
    assert os_type(guest) == word
    assert guest_os(system_of(read(guestOS=guest)).os) == guest
