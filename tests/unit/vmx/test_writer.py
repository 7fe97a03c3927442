"""From a system of a descriptor to a VMX."""

from __future__ import annotations

import pytest

from virt_ova.ovf.envelope import (
    BootDevice,
    Disk,
    Envelope,
    Item,
    OperatingSystem,
    ResourceType,
    VirtualHardware,
    VirtualSystem,
)
from virt_ova.ovf.hardware import effective_items
from virt_ova.units import GIB, MIB
from virt_ova.vmx.reader import read_vmx
from virt_ova.vmx.settings import Settings, read_settings
from virt_ova.vmx.writer import WrittenVmx, write_vmx

NAMES = {"file1": "a.vmdk", "file2": "b.vmdk", "iso": "c.iso"}
SCSI = ResourceType.SCSI_CONTROLLER
OTHER = ResourceType.OTHER_STORAGE


def item(number: int, kind: int, *subtypes: str, **fields: object) -> Item:
    return Item(instance_id=str(number), resource_type=kind, subtypes=subtypes, element_name=f"item {number}", **fields)  # type: ignore[arg-type]


def written(*items: Item, system: VirtualSystem | None = None, **hardware: object) -> WrittenVmx:
    section = VirtualHardware(items=items, **hardware)  # type: ignore[arg-type]
    disks = (Disk(id="d1", file_ref="file1"), Disk(id="d2", file_ref="file2"), Disk(id="blank", capacity_bytes=GIB))
    envelope = Envelope(ovf_version="1.1", namespace="", disks=disks)
    machine = system or VirtualSystem(id="vm", name="vm")
    return write_vmx(envelope, machine, section, effective_items(envelope, section, None), file_names=NAMES)


def settings_of(result: WrittenVmx) -> Settings:
    return read_settings(result.text.encode())


def shown(result: WrittenVmx, *prefixes: str) -> dict[str, str]:
    """The settings whose keys begin so."""
    settings = settings_of(result)
    return {key: settings.text(key) for key in settings.unasked if key.startswith(prefixes)}


def notes(result: WrittenVmx) -> list[tuple[str, str]]:
    return [(finding.code, finding.message) for finding in result.findings]


class TestMachine:
    def test_what_every_vmx_has(self) -> None:
        result = written()
        assert shown(result, ".enc", "conf", "virtualHW", "disp", "guest", "mem", "num", "firm", "uefi", "cpuid") == {
            ".encoding": "UTF-8",
            "config.version": "8",
            "virtualHW.version": "13",
            "displayName": "vm",
            "guestOS": "other-64",
            "numvcpus": "1",
            "memsize": "1024",
        }
        assert result.findings == ()

    @pytest.mark.parametrize(
        ("types", "version"),
        [(("vmx-07",), "7"), (("xen-3", "VMX-19"), "19"), (("virtualbox-2.2",), "13"), (("vmx-0", "vmx-x"), "13")],
    )
    def test_the_version_of_the_hardware(self, types: tuple[str, ...], version: str) -> None:
        assert settings_of(written(system_types=types)).text("virtualHW.version") == version

    def test_memory_in_steps_of_4_mib(self) -> None:
        result = written(item(1, 4, quantity=1022 * MIB))
        assert settings_of(result).text("memsize") == "1024"
        reason = f"{1022 * MIB} bytes are no multiple of 4 MiB"
        assert notes(result) == [("VMX_MAPPED", f"memory: written as 1024 MiB: {reason}")]

    @pytest.mark.parametrize(("count", "cores", "expected"), [(8, 4, "4"), (8, 3, ""), (2, None, "")])
    def test_sockets(self, count: int, cores: int | None, expected: str) -> None:
        settings = settings_of(written(item(1, 3, quantity=count, cores_per_socket=cores)))
        assert (settings.text("numvcpus"), settings.text("cpuid.coresPerSocket")) == (str(count), expected)

    @pytest.mark.parametrize(
        ("guest", "number", "expected"),
        [
            ("debian12_64Guest", 96, "debian12-64"),
            ("otherGuest64", None, "other-64"),
            ("windows2019srv_64Guest", 112, "windows2019srv-64"),
            ("Debian_64", 96, "debian10-64"),
            ("Strange", None, "other"),
            ("Strange_x64", None, "other-64"),
            ("", 79, "rhel7"),
            ("", 4711, "other-64"),
        ],
    )
    def test_guests(self, guest: str, number: int | None, expected: str) -> None:
        system = VirtualSystem(id="vm", name="vm", os=OperatingSystem(id=number, type=guest))
        assert settings_of(written(system=system)).text("guestOS") == expected

    def test_firmware_and_what_vmware_keeps_beside_it(self) -> None:
        config = {"firmware": "efi", "bootOptions.efiSecureBootEnabled": "true"}
        extra = {"nvram": "ovf:/file/iso", "tools.x": "y"}
        result = written(config=config, extra_config=extra)
        assert shown(result, "firmware", "uefi", "nvram", "bios", "tools") == {
            "firmware": "efi",
            "uefi.secureBoot.enabled": "TRUE",
            "nvram": "c.iso",
        }

    def test_the_boot_order(self) -> None:
        boot = (
            BootDevice(kind="net", instance_id="6"),
            BootDevice(kind="disk", instance_id="5"),
            BootDevice(kind="cdrom"),
            BootDevice(kind="disk"),
            BootDevice(kind="floppy"),
            BootDevice(kind="", instance_id="9"),
        )
        result = written(
            item(3, SCSI, "lsilogic"),
            item(4, 17, parent="3", host_resources=("ovf:/disk/d1",)),
            item(5, 17, parent="3", host_resources=("ovf:/disk/d2",)),
            item(6, 10, "e1000"),
            system=VirtualSystem(id="vm", name="vm", boot=boot),
        )
        assert shown(result, "bios.") == {
            "bios.bootOrder": "ethernet0,hdd,cdrom,floppy",
            "bios.hddOrder": "scsi0:1",
        }

    def test_text_that_could_be_settings(self) -> None:
        system = VirtualSystem(id="vm", name='a/b"\nscsi0.present = "TRUE', annotation='x"\nnvram = "/etc/passwd')
        result = written(system=system)
        settings = settings_of(result)
        assert settings.text("displayName") == 'a-b" scsi0.present = "TRUE'
        assert settings.text("annotation") == 'x"\nnvram = "/etc/passwd'
        assert ("nvram" in settings, "scsi0.present" in settings) == (False, False)
        assert [code for code, _ in notes(result)] == ["VMX_MAPPED"]


class TestDrives:
    @pytest.mark.parametrize(
        ("kind", "subtypes", "expected"),
        [
            (SCSI, ("lsilogic",), {"scsi0.present": "TRUE", "scsi0.virtualDev": "lsilogic"}),
            (SCSI, ("someother", "pvscsi"), {"scsi0.present": "TRUE", "scsi0.virtualDev": "pvscsi"}),
            (SCSI, ("lsilogicsas",), {"scsi0.present": "TRUE", "scsi0.virtualDev": "lsisas1068"}),
            (SCSI, (), {"scsi0.present": "TRUE"}),
            (OTHER, ("ahci",), {"sata0.present": "TRUE"}),
            (OTHER, (), {"sata0.present": "TRUE"}),
            (OTHER, ("vmware.nvme.controller",), {"nvme0.present": "TRUE"}),
        ],
    )
    def test_controllers(self, kind: int, subtypes: tuple[str, ...], expected: dict[str, str]) -> None:
        result = written(item(3, kind, *subtypes))
        assert (shown(result, "scsi", "sata", "nvme", "ide"), result.findings) == (expected, ())

    def test_a_controller_that_vmware_has_not(self) -> None:
        result = written(item(3, OTHER, "virtio-scsi"))
        assert settings_of(result).text("scsi0.virtualDev") == "lsilogic"
        message = "'item 3' (virtio-scsi): written as lsilogic: VMware has no such controller"
        assert notes(result) == [("VMX_MAPPED", message)]

    def test_more_controllers_than_vmware_has(self) -> None:
        result = written(*(item(number, SCSI, "lsilogic") for number in range(5)))
        message = "'item 4' (lsilogic): left out: VMware has 4 scsi controllers in a machine at most"
        assert notes(result) == [("VMX_DROPPED", message)]

    def test_disks_in_their_places(self) -> None:
        result = written(
            item(3, SCSI, "lsilogic"),
            item(4, 17, parent="3", address_on_parent="7", host_resources=("ovf:/disk/d1",)),
            item(5, 17, parent="3", address_on_parent="4", host_resources=("/disk/d2",)),
        )
        assert shown(result, "scsi0:") == {
            "scsi0:0.present": "TRUE",
            "scsi0:0.deviceType": "disk",
            "scsi0:0.fileName": "a.vmdk",
            "scsi0:4.present": "TRUE",
            "scsi0:4.deviceType": "disk",
            "scsi0:4.fileName": "b.vmdk",
        }

    def test_a_blank_disk_has_a_name_of_its_own(self) -> None:
        result = written(item(3, SCSI, "lsilogic"), item(4, 17, parent="3", host_resources=("ovf:/disk/blank",)))
        assert settings_of(result).text("scsi0:0.fileName") == "blank1.vmdk"
        message = "'item 4': written as 'blank1.vmdk': the disk is blank: make an empty VMDK of that name"
        assert notes(result) == [("VMX_MAPPED", message)]

    def test_an_image_that_vmware_does_not_read(self) -> None:
        result = written(item(3, SCSI, "lsilogic"), item(4, 17, parent="3", host_resources=("ovf:/file/iso",)))
        assert settings_of(result).text("scsi0:0.fileName") == "c.iso.vmdk"
        message = "'c.iso': written as 'c.iso.vmdk': VMware reads no other image there than a .vmdk"
        assert notes(result) == [("VMX_MAPPED", message)]

    def test_two_drives_with_one_disk(self) -> None:
        drives = [item(number, 17, parent="3", host_resources=("ovf:/disk/d1",)) for number in (4, 5)]
        message = "'item 5': left out: another drive has its disk 'a.vmdk'"
        assert notes(written(item(3, SCSI, "lsilogic"), *drives)) == [("VMX_DROPPED", message)]

    def test_a_drive_without_a_controller(self) -> None:
        result = written(item(4, 17, host_resources=("ovf:/disk/d1",)))
        assert shown(result, "scsi0.") == {"scsi0.present": "TRUE", "scsi0.virtualDev": "lsilogic"}
        message = "'item 4': written as a drive of scsi0: the package names no controller for it"
        assert notes(result) == [("VMX_MAPPED", message)]

    def test_a_controller_that_is_full(self) -> None:
        drives = [item(number, 15, parent="3") for number in (4, 5, 6)]
        message = "'item 6': left out: controller ide1 has no place left"
        assert notes(written(item(3, 5, address="1"), *drives)) == [("VMX_DROPPED", message)]

    def test_cds_and_floppies(self) -> None:
        result = written(
            item(3, 5, address="1"),
            item(4, 15, parent="3", address_on_parent="0", host_resources=("ovf:/file/iso",)),
            item(5, 16, parent="3", address_on_parent="1"),
            item(6, 14, address_on_parent="0"),
            item(7, 14, address_on_parent="1", host_resources=("ovf:/file/iso",)),
            item(8, 14),
        )
        assert shown(result, "ide1:0", "floppy1") == {
            "ide1:0.present": "TRUE",
            "ide1:0.deviceType": "cdrom-image",
            "ide1:0.fileName": "c.iso",
            "floppy1.present": "TRUE",
            "floppy1.fileType": "file",
            "floppy1.fileName": "c.iso.flp",
        }
        settings = settings_of(result)
        assert (settings.text("ide1:1.deviceType"), settings.flag("ide1:1.clientDevice")) == ("atapi-cdrom", True)
        assert (settings.text("floppy0.fileType"), settings.flag("floppy0.clientDevice")) == ("device", True)
        assert notes(result)[1] == (
            "VMX_DROPPED",
            "'item 8': left out: VMware has 2 floppy drives in a machine at most",
        )


class TestDevices:
    @pytest.mark.parametrize(
        ("subtypes", "expected"),
        [
            (("e1000",), {"virtualDev": "e1000"}),
            (("vmxnet3", "virtio"), {"virtualDev": "vmxnet3"}),
            (("pcnet32",), {"virtualDev": "vlance"}),
            (("vmxnet2",), {"virtualDev": "vmxnet", "features": "15"}),
            (("flexible",), {}),
        ],
    )
    def test_network_cards(self, subtypes: tuple[str, ...], expected: dict[str, str]) -> None:
        result = written(item(3, 10, *subtypes, connections=('LAN "1"',)))
        common = {"present": "TRUE", "networkName": 'LAN "1"', "addressType": "generated"}
        assert shown(result, "ethernet0.") == {f"ethernet0.{key}": each for key, each in {**common, **expected}.items()}
        assert result.findings == ()

    def test_a_card_that_vmware_has_not(self) -> None:
        result = written(item(3, 10, "virtio"))
        assert settings_of(result).text("ethernet0.networkName") == "VM Network"
        reason = "VMware has no such network card, and nearly every guest has this"
        assert notes(result) == [("VMX_MAPPED", f"'item 3' (virtio): written as e1000: {reason}")]

    def test_more_cards_than_vmware_has(self) -> None:
        result = written(*(item(number, 10, "e1000") for number in range(12)))
        assert "ethernet10.present" not in settings_of(result)
        reason = "left out: VMware has 10 network interfaces in a machine at most"
        assert notes(result) == [("VMX_DROPPED", f"'item {n}' (e1000): {reason}") for n in (10, 11)]

    def test_ports_usb_sound_and_tpm(self) -> None:
        result = written(
            item(3, 21),
            item(4, 22),
            item(5, 23, "vmware.usb.ehci"),
            item(6, 23, "vmware.usb.xhci"),
            item(7, 35, "ensoniq1371"),
            item(8, 1, "vmware.vtpm"),
            item(9, 1, "vmware.vmci"),
            item(10, 24),
            item(11, 1, "vmware.pci.passthrough"),
        )
        present = [key for key in settings_of(result).unasked if key.endswith(".present") and "Bridge" not in key]
        assert present == [
            f"{name}.present" for name in ("serial0", "parallel0", "ehci", "usb", "usb_xhci", "sound", "vtpm", "vmci0")
        ]
        assert settings_of(result).text("sound.virtualDev") == "es1371"
        message = "'item 11' (vmware.pci.passthrough): left out: a VMX has no word for it"
        assert notes(result) == [("VMX_DROPPED", message)]

    def test_more_ports_than_vmware_has(self) -> None:
        result = written(*(item(number, 22) for number in range(4)))
        message = "'item 3': left out: VMware has 3 parallel ports in a machine at most"
        assert notes(result) == [("VMX_DROPPED", message)]


def test_a_machine_with_everything_reads_back() -> None:
    """Golden cases and the corpus do the same with what people write."""
    items = (
        item(1, 3, quantity=8, cores_per_socket=2),
        item(2, 4, quantity=2 * GIB),
        item(3, SCSI, "virtualscsi"),
        item(4, OTHER, "vmware.sata.ahci"),
        item(5, OTHER, "vmware.nvme.controller"),
        item(6, 5, address="1"),
        item(10, 17, parent="3", address_on_parent="40", host_resources=("ovf:/disk/d1",)),
        item(11, 17, parent="5", address_on_parent="2", host_resources=("ovf:/disk/d2",)),
        item(12, 15, parent="4", address_on_parent="1", host_resources=("ovf:/file/iso",)),
        item(13, 15, parent="6", address_on_parent="0"),
        item(14, 14, address_on_parent="0"),
        item(15, 10, "vmxnet3", connections=("A",)),
        item(16, 10, "flexible", connections=("B",)),
        item(17, 21),
        item(18, 23, "vmware.usb.xhci"),
        item(19, 35, "vmware.soundcard.hdaudio"),
        item(20, 1, "vmware.vtpm"),
        item(21, 1, "vmware.vmci"),
    )
    result = written(*items, config={"firmware": "efi", "uefi.secureBoot.enabled": "true"}, system_types=("vmx-19",))
    back = read_vmx(result.text.encode())
    (system,) = back.content
    assert isinstance(system, VirtualSystem)
    (hardware,) = system.hardware
    assert (result.findings, back.findings) == ((), ())
    assert described(hardware.items) == described(items)
    assert hardware.config == {"firmware": "efi", "uefi.secureBoot.enabled": "true"}
    assert (hardware.system_types, [network.name for network in back.networks]) == (("vmx-19",), ["A", "B"])
    assert [file.href for file in back.files] == ["a.vmdk", "c.iso", "b.vmdk"]


def described(items: tuple[Item, ...]) -> set[tuple[object, ...]]:
    """What each item is, and where it is; whatever it is called."""
    by_id = {each.instance_id: each for each in items}
    return {
        (
            each.resource_type,
            each.subtypes,
            each.quantity,
            each.cores_per_socket,
            by_id[each.parent].resource_type if each.parent else "",
            each.address_on_parent,
            bool(each.host_resources),
            each.connections,
        )
        for each in items
    }
