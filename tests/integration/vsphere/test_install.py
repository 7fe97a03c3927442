"""Installs on a simulated ESXi and vCenter: what is sent, how, and what is there then."""

from __future__ import annotations

import dataclasses
import gzip
import json
import re
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from pyVmomi import vim

import virt_ova
from tests.build.command import error_lines, json_of
from tests.build.command import virt_ova as command
from tests.build.disks import convert, guest_bytes, random_disk
from tests.build.ova import build_folder, build_ova, descriptor, with_manifest
from tests.build.pipes import Pipe
from tests.build.small import (
    CAPACITY,
    damaged_message,
    damaged_ova,
    edited,
    efi_ova,
    small_members,
    small_ova,
    small_vmdk,
)
from tests.build.vmware import build_machine
from tests.build.vsphere import USER, VSphere, started
from tests.build.webserver import serve
from tests.integration.vsphere.conftest import clear, machine_of, machines, placed_in, uploads
from virt_ova import Connection, ConnectionKind, InstallOptions, TargetError
from virt_ova.errors import DigestError, DiskError, PlanError, SourceError
from virt_ova.plan.codec import from_json, to_json
from virt_ova.source.pipe import SAVE_FIRST
from virt_ova.stories.install import preflight

ISO = bytes(16 * 2048) + b"\1CD001" + bytes(2042) + b"files" * 400 + bytes(48)
WEB = InstallOptions(name="web")


def with_iso(members: list[tuple[str, bytes]]) -> list[tuple[str, bytes]]:
    """`members` with a CD behind them."""
    drive = (
        "<Item><rasd:Address>0</rasd:Address><rasd:InstanceID>20</rasd:InstanceID>"
        "<rasd:ResourceType>5</rasd:ResourceType></Item>"
        "<Item><rasd:AddressOnParent>0</rasd:AddressOnParent><rasd:ElementName>cd</rasd:ElementName>"
        "<rasd:HostResource>ovf:/file/cd</rasd:HostResource><rasd:InstanceID>21</rasd:InstanceID>"
        "<rasd:Parent>20</rasd:Parent><rasd:ResourceType>15</rasd:ResourceType></Item>"
    )
    changed = edited(members, "</VirtualHardwareSection>", drive + "</VirtualHardwareSection>")
    named = f'<File ovf:id="cd" ovf:href="cd.iso" ovf:size="{len(ISO)}"/></References>'
    return [*edited(changed, "</References>", named), ("cd.iso", ISO)]


def test_disks_go_as_they_are_to_the_lease(tmp_path: Path, vsphere: VSphere) -> None:
    result = virt_ova.install(small_ova(tmp_path / "a.ova", 2), vsphere.uri(), options=WEB)
    seen = vsphere.seen()
    assert [data for _, data in uploads(vsphere)] == [small_vmdk(1), small_vmdk(2)]
    for each in seen["Uploads"]:
        assert (each["Method"], each["Type"], each["Overwrite"]) == ("POST", "application/x-vnd.vmware-streamVmdk", "")
        assert each["Length"] == each["Size"] == len(small_vmdk())
    assert (seen["Completes"], seen["Aborts"]) == (1, 0)
    config, state = machine_of(vsphere, "web")
    assert (config.hardware.numCPU, config.hardware.memoryMB, state) == (2, 512, "poweredOff")
    assert result.domains == (virt_ova.InstalledDomain(name="web", uuid=config.uuid, start_command=""),)
    assert [(each.path, each.pool, each.mode, each.capacity_bytes) for each in result.volumes] == [
        (f"[LocalDS_0] web/disk-{number}.vmdk", "LocalDS_0", "pass-through", CAPACITY) for number in (0, 1)
    ]
    assert result.trust == "digests"


def test_a_machine_gets_a_uuid_of_its_own(tmp_path: Path, esx: VSphere) -> None:
    package = small_ova(tmp_path / "a.ova")
    first, second = (virt_ova.install(package, esx.uri(), options=InstallOptions(name=name)) for name in ("a", "b"))
    assert first.domains[0].uuid != second.domains[0].uuid


def test_a_cd_is_put_in_place(tmp_path: Path, vsphere: VSphere) -> None:
    package = build_ova(tmp_path / "a.ova", with_manifest(with_iso(small_members())))
    result = virt_ova.install(package, vsphere.uri(), options=WEB)
    assert uploads(vsphere) == [("POST", small_vmdk()), ("PUT", ISO)]
    assert vsphere.seen()["Uploads"][1]["Overwrite"] == "t"
    assert [(each.name, each.mode) for each in result.volumes] == [
        ("disk-0.vmdk", "pass-through"),
        ("_deviceImage0.iso", "pass-through"),
    ]


def test_a_file_that_the_server_does_not_ask_for_is_told(tmp_path: Path, esx: VSphere) -> None:
    """The simulator knows no variables."""
    package = efi_ova(tmp_path / "a.ova", b"variables")
    result = virt_ova.install(package, esx.uri(), options=WEB)
    assert uploads(esx) == [("POST", small_vmdk())]
    assert [(each.severity, each.message, each.where) for each in result.findings if each.code == "FILE_UNASKED"] == [
        (
            "warning",
            "the server does not ask for the file 'a.nvram': the machine is without it",
            f"esx://{USER}@{esx.address}/",
        )
    ]


def test_a_package_on_a_web_server_passes_through(tmp_path: Path, esx: VSphere) -> None:
    package = small_ova(tmp_path / "a.ova", 2)
    with serve({"/a.ova": package}) as server:
        result = virt_ova.install(server.url("/a.ova"), esx.uri(), options=WEB)
    assert [data for _, data in uploads(esx)] == [small_vmdk(1), small_vmdk(2)]
    assert result.trust == "digests"


@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gzip"])
def test_a_package_out_of_a_pipe_passes_through(tmp_path: Path, vsphere: VSphere, pack: type[bytes]) -> None:
    package = build_ova(tmp_path / "a.ova", with_manifest(with_iso(small_members(2))))
    result = virt_ova.install(Pipe(pack(package.read_bytes())), vsphere.uri(), options=WEB)  # type: ignore[arg-type]
    assert uploads(vsphere) == [("POST", small_vmdk(1)), ("POST", small_vmdk(2)), ("PUT", ISO)]
    assert result.trust == "digests"
    assert [each.mode for each in result.volumes] == ["pass-through"] * 3


def test_a_disk_in_chunks_goes_in_one_piece(tmp_path: Path, esx: VSphere) -> None:
    image = small_vmdk()
    half = len(image) // 2 // 512 * 512
    text = descriptor([("a1.vmdk", len(image))], capacity=str(CAPACITY), file_attributes=f'ovf:chunkSize="{half}"')
    chunks = [(f"a1.vmdk.{n:09}", image[n * half : (n + 1) * half]) for n in range(-(-len(image) // half))]
    virt_ova.install(build_folder(tmp_path / "a", [("a.ovf", text), *chunks]), esx.uri(), options=WEB)
    assert uploads(esx) == [("POST", image)]


def test_changed_bytes_are_found_and_the_machine_is_removed(tmp_path: Path, vsphere: VSphere) -> None:
    before = machines(vsphere)
    with pytest.raises(DigestError) as caught:
        virt_ova.install(damaged_ova(tmp_path / "a.ova"), vsphere.uri(), options=WEB)
    assert caught.value.message == damaged_message()
    assert machines(vsphere) == before
    assert vsphere.seen()["Completes"] == 0
    assert vsphere.seen()["Aborts"] == 1


def test_changed_bytes_out_of_a_pipe_are_found_too(tmp_path: Path, esx: VSphere) -> None:
    before = machines(esx)
    package = damaged_ova(tmp_path / "a.ova").read_bytes()
    with pytest.raises(DigestError) as caught:
        virt_ova.install(Pipe(package), esx.uri(), options=WEB)  # type: ignore[arg-type]
    assert caught.value.message == damaged_message()
    assert machines(esx) == before


def test_a_machine_is_started(tmp_path: Path, vsphere: VSphere) -> None:
    virt_ova.install(small_ova(tmp_path / "a.ova"), vsphere.uri(), options=dataclasses.replace(WEB, start=True))
    assert machine_of(vsphere, "web")[1] == "poweredOn"


def test_a_started_machine_is_watched(tmp_path: Path, esx: VSphere) -> None:
    options = dataclasses.replace(WEB, start=True, wait_boot_seconds=0.3)
    result = virt_ova.install(small_ova(tmp_path / "a.ova"), esx.uri(), options=options)
    assert result.booted
    assert (result.booted.state, result.booted.evidence) == ("no-output", "")
    assert machine_of(esx, "web")[1] == "poweredOn"


def test_the_command_line_tells_what_it_did(tmp_path: Path, esx: VSphere) -> None:
    package = small_ova(tmp_path / "a.ova")
    words: list[str | Path] = ["install", package, "-c", esx.uri(), "--name", "web", "--json"]
    document = json_of(command(*words, LIBVIRT_AUTH_FILE=str(esx.auth_file)))
    assert document["volumes"][0]["path"] == "[LocalDS_0] web/disk-0.vmdk"
    assert [each["name"] for each in document["domains"]] == ["web"]
    done = command(*words[:-1], LIBVIRT_AUTH_FILE=str(esx.auth_file))
    assert (done.returncode, done.stdout, done.stderr) == (
        1,
        "",
        error_lines(
            "E_EXISTS",
            f"esx://{USER}@{esx.address}/ has a machine 'web' already",
            "Choose another name with --name.",
        ),
    )


def test_a_dry_run_lets_the_server_read_the_descriptor_and_makes_nothing(tmp_path: Path, vsphere: VSphere) -> None:
    before = machines(vsphere)
    plan = preflight(small_ova(tmp_path / "a.ova"), vsphere.uri(), options=WEB)
    assert (plan.transfers, [machine.name for machine in plan.machines]) == ((), ["web"])
    assert [(each.item, each.result) for each in plan.decisions] == [("hardware of web", "as the descriptor says")]
    assert machines(vsphere) == before
    assert vsphere.seen()["Uploads"] == []


def test_what_the_server_remarks_is_told(tmp_path: Path, esx: VSphere) -> None:
    esx.set_faults(Warning="the operating system is a guess\n\u202e")
    result = virt_ova.install(small_ova(tmp_path / "a.ova"), esx.uri(), options=WEB)
    warnings = [(each.code, each.message) for each in result.findings if each.severity == "warning"]
    assert warnings == [("IMPORT_WARNING", r"the operating system is a guess\n\u202e")]


def test_what_the_server_refuses_is_an_error_before_anything_is_made(tmp_path: Path, vsphere: VSphere) -> None:
    before = machines(vsphere)
    package = build_ova(tmp_path / "a.ova", edited(small_members(), ">E1000<", ">virtio<"))
    with pytest.raises(TargetError) as caught:
        virt_ova.install(package, vsphere.uri(), options=WEB)
    assert (caught.value.code, caught.value.message, caught.value.hint) == (
        "E_IMPORT_SPEC",
        "the server cannot make 'web' from the descriptor: unknown ethernet card type 'virtio'",
        "See what is wrong with: virt-ova inspect; --fix-hardware changes what ESXi is known to refuse.",
    )
    assert machines(vsphere) == before


def test_networks_go_where_they_are_sent(tmp_path: Path, vcenter: VSphere) -> None:
    package = build_ova(tmp_path / "a.ova", edited(small_members(), "VM Network", "internal"))
    chosen = {"internal": Connection(kind=ConnectionKind.NETWORK, name="DC0_DVPG0")}
    virt_ova.install(package, vcenter.uri(), options=dataclasses.replace(WEB, networks=chosen))
    config, _ = machine_of(vcenter, "web")
    cards = [each for each in config.hardware.device if hasattr(each, "macAddress")]
    assert [type(card.backing).__name__.rpartition(".")[2] for card in cards] == ["DistributedVirtualPortBackingInfo"]


def test_a_network_may_have_any_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name, package = "B\u00fcro (10)/a=b", small_ova(tmp_path / "a.ova")
    with started(tmp_path, is_vcenter=True) as vcenter:
        monkeypatch.setenv("LIBVIRT_AUTH_FILE", str(vcenter.auth_file))
        with placed_in(vcenter) as place:
            switch = next(each for each in place.folder.parent.networkFolder.childEntity if hasattr(each, "portgroup"))
            spec = vim.dvs.DistributedVirtualPortgroup.ConfigSpec(name=name.replace("/", "%2f"), type="earlyBinding")
            switch.AddDVPortgroup_Task([spec])
        words = ("-c", vcenter.uri(), "--network", f"VM Network=network:{name}")
        plan = tmp_path / "plan.json"
        plan.write_text(command("plan", package, *words).stdout)
        for chosen in (words, ("-c", vcenter.uri(), "--plan", plan)):
            done = command("install", package, *chosen)
            assert done.returncode == 0, done.stderr
            config, _ = machine_of(vcenter, "vm")
            port = next(each.backing.port for each in config.hardware.device if hasattr(each, "macAddress"))
            with placed_in(vcenter) as place:
                groups = {each.key: each.name for each in place.folder.parent.network if hasattr(each, "key")}
            assert groups[port.portgroupKey] == name.replace("/", "%2f")
            clear(vcenter, [each for each in machines(vcenter) if each != "vm"])


@pytest.mark.parametrize(
    ("connection", "shown"),
    [
        (Connection(kind=ConnectionKind.NETWORK, name="lan"), "lan"),
        (Connection(kind=ConnectionKind.USER), "user"),
        (Connection(kind=ConnectionKind.BRIDGE, name="br0"), "br0"),
    ],
)
def test_a_network_that_is_not_there_is_refused(
    tmp_path: Path, esx: VSphere, connection: Connection, shown: str
) -> None:
    options = dataclasses.replace(WEB, networks={"VM Network": connection})
    with pytest.raises(TargetError) as caught:
        virt_ova.install(small_ova(tmp_path / "a.ova"), esx.uri(), options=options)
    assert (caught.value.code, caught.value.message, caught.value.hint) == (
        "E_NETWORK",
        f"network 'VM Network' of the package cannot go to '{shown}', esx://{USER}@{esx.address}/ has: 'VM Network'",
        "Choose one with --network 'VM Network=network:NAME'.",
    )


def test_a_datastore_that_is_not_there_is_refused(tmp_path: Path, esx: VSphere) -> None:
    with pytest.raises(TargetError) as caught:
        virt_ova.install(small_ova(tmp_path / "a.ova"), esx.uri(), options=dataclasses.replace(WEB, pool="fast"))
    assert (caught.value.code, caught.value.message, caught.value.hint) == (
        "E_POOL",
        f"'esx://{USER}@{esx.address}/' has no datastore 'fast' that can be used, found 'LocalDS_0'",
        "Name one of the host's datastores with --pool.",
    )


def test_a_plan_may_be_edited_in_what_is_decided_here(tmp_path: Path, vcenter: VSphere) -> None:
    package = small_ova(tmp_path / "a.ova")
    document = json.loads(to_json(preflight(package, vcenter.uri(), options=WEB)))
    document["machines"][0]["name"] = "www"
    document["machines"][0]["nics"][0]["connection"]["name"] = "DC0_DVPG0"
    virt_ova.install(package, vcenter.uri(), plan=from_json(json.dumps(document)))
    assert "www" in machines(vcenter)


def test_a_plan_that_changes_the_hardware_is_refused(tmp_path: Path, esx: VSphere) -> None:
    package = small_ova(tmp_path / "a.ova")
    document = json.loads(to_json(preflight(package, esx.uri(), options=WEB)))
    document["machines"][0]["cpus"]["count"] = 4
    with pytest.raises(PlanError) as caught:
        virt_ova.install(package, esx.uri(), plan=from_json(json.dumps(document)))
    assert (caught.value.code, caught.value.message, caught.value.hint) == (
        "E_PLAN_HARDWARE",
        "the plan changes hardware or disks, which this hypervisor decides by itself from the descriptor",
        (
            "Of such a plan names, networks, the deployment option and properties can be edited. A plan that was made "
            "for another target must be made again."
        ),
    )


@pytest.mark.parametrize(
    ("subformat", "mode"),
    [
        ("streamOptimized", "pass-through"),
        ("monolithicSparse", "stream"),
        ("monolithicFlat", "stream"),
        ("twoGbMaxExtentSparse", "stream"),
    ],
)
def test_a_folder_of_vmware(tmp_path: Path, vsphere: VSphere, subformat: str, mode: str) -> None:
    """Its VMX is sent as a descriptor."""
    raw = random_disk(tmp_path / "d.raw", CAPACITY, [0, 3, 63])
    machine = build_machine(tmp_path / "vm", raw, subformat)
    options = InstallOptions(fix_hardware=True)
    result = virt_ova.install(machine, vsphere.uri(), options=options)
    assert [(each.name, each.mode, each.capacity_bytes) for each in result.volumes] == [("disk-0.vmdk", mode, CAPACITY)]
    (upload,) = vsphere.seen()["Uploads"]
    assert guest_bytes(Path(upload["File"])) == raw.read_bytes()
    config, _ = machine_of(vsphere, "old machine")
    assert (config.hardware.numCPU, config.hardware.memoryMB, config.version) == (2, 512, "vmx-13")
    kinds = {type(each).__name__.rpartition(".")[2] for each in config.hardware.device}
    assert kinds >= {"ParaVirtualSCSIController", "VirtualVmxnet3", "VirtualDisk"}
    assert "hardware family 'vmx-19' (the host knows vmx-13 at most) is sent as vmx-13" in {
        each.message for each in result.findings
    }


def test_a_vmx_out_of_a_pipe_is_refused(tmp_path: Path, esx: VSphere) -> None:
    machine = build_machine(tmp_path / "vm", random_disk(tmp_path / "d.raw", CAPACITY, [0]), "streamOptimized")
    members = [(name, (machine / name).read_bytes()) for name in ("old machine.vmx", "disk.vmdk")]
    with pytest.raises(SourceError) as caught:
        virt_ova.install(Pipe(build_ova(tmp_path / "m.ova", members).read_bytes()), esx.uri())  # type: ignore[arg-type]
    assert (caught.value.code, caught.value.hint) == ("E_PIPE_ORDER", SAVE_FIRST)
    assert str(caught.value) == (
        "open file: the sizes of the disks of a .vmx stand in the disks, and must be known before the first one comes"
    )


def test_files_that_are_gzipped_go_inflated(tmp_path: Path, vsphere: VSphere) -> None:
    members = with_iso(small_members())
    name, text = members[0]
    text = text.replace(b'ovf:href="', b'ovf:compression="gzip" ovf:href="')
    packed = [(name, text), *((name, gzip.compress(data)) for name, data in members[1:])]
    result = virt_ova.install(build_ova(tmp_path / "a.ova", with_manifest(packed)), vsphere.uri(), options=WEB)
    assert uploads(vsphere) == [("POST", small_vmdk()), ("PUT", ISO)]
    assert result.trust == "digests"


def test_a_gzipped_disk_of_another_kind_is_refused(tmp_path: Path, esx: VSphere) -> None:
    image = gzip.compress(random_disk(tmp_path / "d.raw", CAPACITY, [0, 3, 63]).read_bytes())
    text = descriptor([("a.gz", len(image))], capacity=str(CAPACITY), file_attributes='ovf:compression="gzip"')
    with pytest.raises(DiskError) as caught:
        virt_ova.install(build_ova(tmp_path / "a.ova", [("a.ovf", text), ("a.gz", image)]), esx.uri(), options=WEB)
    assert (caught.value.code, str(caught.value), caught.value.hint) == (
        "E_NOT_SUPPORTED",
        "a.gz: found a raw disk that is gzip'd as a whole, expected a stream-optimized VMDK in it",
        "Decompress the file, and take ovf:compression out of the descriptor.",
    )


@pytest.mark.parametrize(("driver", "word"), [("raw", "raw"), ("qcow2", "qcow2"), ("vpc", "vhd")])
def test_another_kind_of_disk_is_sent_as_a_stream(tmp_path: Path, vsphere: VSphere, driver: str, word: str) -> None:
    raw = random_disk(tmp_path / "d.raw", CAPACITY, [0, 3, 63])
    options = ["subformat=dynamic,force_size=on"] if driver == "vpc" else []
    image = (raw if driver == "raw" else convert(raw, tmp_path / "d", driver, *options)).read_bytes()
    text = descriptor([("a.img", len(image))], capacity=str(CAPACITY), format_uri="http://example.org/raw-flat")
    package = build_ova(tmp_path / "a.ova", with_manifest([("a.ovf", text), ("a.img", image)]))
    result = virt_ova.install(package, vsphere.uri(), options=WEB)
    (upload,) = vsphere.seen()["Uploads"]
    assert guest_bytes(Path(upload["File"])) == raw.read_bytes()
    assert upload["Length"] == upload["Size"]
    assert [each.mode for each in result.volumes] == ["stream"]
    assert result.trust == "digests"
    assert [each.message for each in result.findings if each.code == "DISK_STREAMED"] == [
        f"a {word} disk is sent as a stream-optimized VMDK, which is what the hypervisor reads"
    ]


def test_a_changed_disk_of_another_kind_is_found_too(tmp_path: Path, esx: VSphere) -> None:
    image = random_disk(tmp_path / "d.raw", CAPACITY, [0, 3, 63]).read_bytes()
    members = with_manifest([("a.ovf", descriptor([("a.img", CAPACITY)], capacity=str(CAPACITY))), ("a.img", image)])
    before = machines(esx)
    spoilt = [*members[:-1], ("a.img", image[:-1] + b"!")]
    with pytest.raises(DigestError):
        virt_ova.install(build_ova(tmp_path / "a.ova", spoilt), esx.uri(), options=WEB)
    assert machines(esx) == before


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (("--disk-mode transplant", "--format qcow2"), "takes the package's disks as they are"),
        (
            ("--machine virtio", "--disk-bus scsi", "--nic-model e1000", "--keep-mac", "--virt-type qemu"),
            "makes the hardware from the descriptor by itself",
        ),
        (("--boot-fallback", "--inspect-guest", "--convert"), "keeps the disks to itself"),
        (("--screenshots shots",), "shows no screens"),
        (("--resume",), "removes what an import had made that was killed"),
    ],
)
def test_what_cannot_be_had_is_refused(tmp_path: Path, esx: VSphere, options: tuple[str, ...], reason: str) -> None:
    package, before = small_ova(tmp_path / "a.ova"), machines(esx)
    words = " ".join((*options, "--wait-boot 1")).split()
    done = command("install", package, "-c", esx.uri(), *words, LIBVIRT_AUTH_FILE=str(esx.auth_file))
    names = ", ".join(each.split()[0] for each in options)
    told = f"{names} cannot be had on a hypervisor that {reason}"
    assert (done.returncode, done.stdout, done.stderr) == (1, "", error_lines("E_OPTION", told, f"Leave {names} out."))
    assert machines(esx) == before


def test_all_that_cannot_be_had_is_told_at_once(tmp_path: Path, esx: VSphere) -> None:
    options = dataclasses.replace(WEB, virt_type="kvm", resume=True, image_format=virt_ova.ImageFormat.RAW)
    with pytest.raises(PlanError) as caught:
        virt_ova.install(small_ova(tmp_path / "a.ova"), esx.uri(), options=options)
    assert (caught.value.code, caught.value.message, caught.value.hint) == (
        "E_OPTION",
        (
            "--format cannot be had on a hypervisor that takes the package's disks as they are; "
            "--virt-type cannot be had on a hypervisor that makes the hardware from the descriptor by itself; "
            "--resume cannot be had on a hypervisor that removes what an import had made that was killed"
        ),
        "Leave --format, --virt-type, --resume out.",
    )


def test_another_kind_of_disk_out_of_a_pipe_is_refused(tmp_path: Path, esx: VSphere) -> None:
    raw = random_disk(tmp_path / "d.raw", CAPACITY, [0, 3])
    image = convert(raw, tmp_path / "d.qcow2", "qcow2").read_bytes()
    text = descriptor([("a.qcow2", len(image))], capacity=str(CAPACITY), format_uri="http://www.gnome.org/~markmc/qcow")
    package = build_ova(tmp_path / "a.ova", [("a.ovf", text), ("a.qcow2", image)])
    before = machines(esx)
    with pytest.raises((SourceError, DiskError)) as caught:
        virt_ova.install(Pipe(package.read_bytes()), esx.uri(), options=WEB)  # type: ignore[arg-type]
    assert caught.value.code == "E_DISK_FORWARD"
    assert machines(esx) == before


class TestHardware:
    def test_another_family_is_refused_before_anything_is_asked(self, tmp_path: Path, vsphere: VSphere) -> None:
        package = build_ova(tmp_path / "a.ova", edited(small_members(), "vmx-13", "virtualbox-2.2"))
        with pytest.raises(PlanError) as caught:
            virt_ova.install(package, vsphere.uri(), options=WEB)
        assert (caught.value.code, caught.value.message, caught.value.hint) == (
            "E_IMPORT_HARDWARE",
            (
                f"{vsphere.uri().partition('?')[0]} refuses hardware family 'virtualbox-2.2', expected hardware of "
                "VMware that it knows"
            ),
            "With --fix-hardware it is sent as vmx-13; the package stays as it is.",
        )

    def test_one_that_is_too_new_is_refused(self, tmp_path: Path, esx: VSphere) -> None:
        package = build_ova(tmp_path / "a.ova", edited(small_members(), "vmx-13", "vmx-21"))
        with pytest.raises(PlanError) as caught:
            virt_ova.install(package, esx.uri(), options=WEB)
        assert caught.value.code == "E_IMPORT_HARDWARE"
        assert "refuses hardware family 'vmx-21' (the host knows vmx-13 at most), expected" in caught.value.message

    def test_what_is_sent_is_fixed_and_the_package_is_not(self, tmp_path: Path, vsphere: VSphere) -> None:
        sound = "<Item><rasd:InstanceID>9</rasd:InstanceID><rasd:ResourceType>35</rasd:ResourceType></Item>"
        members = edited(small_members(), "vmx-13", "virtualbox-2.2")
        members = edited(members, "</VirtualHardwareSection>", sound + "</VirtualHardwareSection>")
        members = edited(members, ">E1000<", ">virtio<")
        package = build_ova(tmp_path / "a.ova", with_manifest(members))
        before = package.read_bytes()
        options = dataclasses.replace(WEB, fix_hardware=True)
        result = virt_ova.install(package, vsphere.uri(), options=options)
        assert package.read_bytes() == before
        assert result.trust == "digests"
        assert machine_of(vsphere, "web")[0].version == "vmx-13"
        assert [each.message for each in result.findings if each.code == "HW_FITTED"] == [
            "hardware family 'virtualbox-2.2' is sent as vmx-13",
            "'item 4' (virtio) is sent as E1000",
            "'item' is left out",
        ]

    def test_what_may_be_refused_is_told(self, tmp_path: Path, esx: VSphere) -> None:
        ide = (
            "<Item><rasd:ElementName>ide</rasd:ElementName><rasd:InstanceID>9</rasd:InstanceID>"
            "<rasd:ResourceSubType>PIIX4</rasd:ResourceSubType><rasd:ResourceType>5</rasd:ResourceType></Item>"
        )
        members = edited(small_members(), "</VirtualHardwareSection>", ide + "</VirtualHardwareSection>")
        package = build_ova(tmp_path / "a.ova", members)
        message = "'ide' (PIIX4) may be refused by the hypervisor; with --fix-hardware it is sent as plain IDE"
        with pytest.raises(PlanError, match=re.escape(f"found: {message} [HW_MISFIT]")) as strict:
            virt_ova.install(package, esx.uri(), options=dataclasses.replace(WEB, strict=True))
        assert strict.value.code == "E_STRICT"
        result = virt_ova.install(package, esx.uri(), options=WEB)
        assert [each.message for each in result.findings if each.code == "HW_MISFIT"] == [message]

    def test_other_targets_have_nothing_to_fix(self, tmp_path: Path) -> None:
        options = dataclasses.replace(WEB, fix_hardware=True)
        with pytest.raises(PlanError, match=r"^--fix-hardware is for ESXi and vCenter") as caught:
            virt_ova.install(small_ova(tmp_path / "a.ova"), f"dir:{tmp_path / 'm'}", options=options)
        assert caught.value.code == "E_OPTION"


class TestProperties:
    VALUE = """a"b'<c>&d;é ]]>"""

    def package(self, folder: Path, transport: str) -> Path:
        section = (
            "<ProductSection><Info/>"
            '<Property ovf:key="motd" ovf:type="string" ovf:userConfigurable="true"/>'
            '<Property ovf:key="pw" ovf:type="string" ovf:password="true" ovf:userConfigurable="true"/>'
            "</ProductSection></VirtualSystem>"
        )
        members = edited(small_members(), "</VirtualSystem>", section)
        return build_ova(
            folder / "a.ova", with_manifest(edited(members, 'transport="iso"', f'transport="{transport}"'))
        )

    def options(self) -> InstallOptions:
        return dataclasses.replace(WEB, properties={"motd": self.VALUE, "pw": "s3cret&<"})

    def test_a_host_tells_by_guestinfo_with_every_value_as_it_is(self, tmp_path: Path, esx: VSphere) -> None:
        package = self.package(tmp_path, "com.vmware.guestInfo")
        result = virt_ova.install(package, esx.uri(), options=self.options())
        config, _ = machine_of(esx, "web")
        (document,) = [each.value for each in config.extraConfig if each.key == "guestinfo.ovfEnv"]
        root = ET.fromstring(document)  # noqa: S314 - ours
        space = "{http://schemas.dmtf.org/ovf/environment/1}"
        told = {each.get(f"{space}key"): each.get(f"{space}value") for each in root.iter(f"{space}Property")}
        assert told == {"motd": self.VALUE, "pw": "s3cret&<"}
        assert "OVF_TRANSPORT" not in [each.code for each in result.findings]
        assert "s3cret" not in repr(result)

    def test_a_guest_that_expects_a_cd_is_told_of(self, tmp_path: Path, esx: VSphere) -> None:
        result = virt_ova.install(self.package(tmp_path, "iso"), esx.uri(), options=self.options())
        (message,) = [each.message for each in result.findings if each.code == "OVF_TRANSPORT"]
        assert message == (
            "the guest expects its properties by 'iso', which a host without vCenter has not: they are in "
            "guestinfo.ovfEnv, and a guest that does not ask VMware Tools for it misses them"
        )

    def test_a_vcenter_gets_the_values_and_tells_by_itself(self, tmp_path: Path, vcenter: VSphere) -> None:
        result = virt_ova.install(self.package(tmp_path, "iso"), vcenter.uri(), options=self.options())
        config, _ = machine_of(vcenter, "web")
        told = {each.key: each.value for each in config.extraConfig}
        assert (told["motd"], told["pw"]) == (self.VALUE, "s3cret&<")
        assert "guestinfo.ovfEnv" not in told
        assert "OVF_TRANSPORT" not in [each.code for each in result.findings]

    def test_a_server_that_repeats_a_password_is_not_repeated(self, tmp_path: Path, vcenter: VSphere) -> None:
        vcenter.set_faults(Warning="the value 's3cret&<' of 'pw' is weak")
        result = virt_ova.install(self.package(tmp_path, "iso"), vcenter.uri(), options=self.options())
        (message,) = [each.message for each in result.findings if each.code == "IMPORT_WARNING"]
        assert message == "the value '(hidden)' of 'pw' is weak"

    def test_nor_is_one_that_repeats_it_when_it_refuses(self, tmp_path: Path, vsphere: VSphere) -> None:
        vsphere.set_faults(Refuse="the value 's3cret&<' of 'pw' is weak")
        with pytest.raises(TargetError) as caught:
            virt_ova.install(self.package(tmp_path, "iso"), vsphere.uri(), options=self.options())
        assert caught.value.message == "making 'web' failed: the value '(hidden)' of 'pw' is weak"


def two_machines() -> list[tuple[str, bytes]]:
    """Two systems with a disk each, in a collection; the second is to start first."""
    (name, text), *images = small_members(2)
    head, system = text.decode().split("<VirtualSystem ", 1)
    system, tail = system.split("</VirtualSystem>", 1)
    disk = "<Item><rasd:AddressOnParent>1<"
    first, second = system.split(disk)
    second, rest = second.split("</Item>", 1)
    assert "disk2" in second
    app = f"<VirtualSystem {first}{rest}</VirtualSystem>"
    data = (
        app.replace('ovf:id="vm"', 'ovf:id="db"').replace("<Name>vm<", "<Name>db<").replace("disk/disk1", "disk/disk2")
    )
    startup = (
        '<StartupSection><Info/><Item ovf:id="vm" ovf:order="2"/><Item ovf:id="db" ovf:order="1"/></StartupSection>'
    )
    group = f'<VirtualSystemCollection ovf:id="all"><Info/>{startup}{app}{data}</VirtualSystemCollection>'
    return [(name, (head + group + tail).encode()), *images]


class TestSeveralMachines:
    @pytest.mark.parametrize("as_pipe", [False, True], ids=["file", "pipe"])
    def test_a_host_gets_them_one_by_one(self, tmp_path: Path, esx: VSphere, *, as_pipe: bool) -> None:
        package = build_ova(tmp_path / "a.ova", with_manifest(two_machines()))
        source = Pipe(package.read_bytes()) if as_pipe else package
        options = InstallOptions(start=True)
        result = virt_ova.install(source, esx.uri(), options=options)  # type: ignore[arg-type]
        assert [each.name for each in result.domains] == ["db", "vm"]
        assert uploads(esx) == [("POST", small_vmdk(1)), ("POST", small_vmdk(2))]
        assert [each.path for each in result.volumes] == ["[LocalDS_0] vm/disk-0.vmdk", "[LocalDS_0] db/disk-0.vmdk"]
        assert [machine_of(esx, name)[1] for name in ("db", "vm")] == ["poweredOn"] * 2
        assert esx.seen()["Completes"] == 2

    def test_a_collection_of_one_is_one_machine_on_a_host(self, tmp_path: Path, esx: VSphere) -> None:
        (name, text), *images = small_members()
        text = text.replace(b"<VirtualSystem ", b'<VirtualSystemCollection ovf:id="all"><Info/><VirtualSystem ')
        text = text.replace(b"</VirtualSystem>", b"</VirtualSystem></VirtualSystemCollection>")
        package = build_ova(tmp_path / "a.ova", with_manifest([(name, text), *images]))
        assert [each.name for each in virt_ova.install(package, esx.uri(), options=WEB).domains] == ["web"]
        assert uploads(esx) == [("POST", small_vmdk())]

    def test_all_are_removed_when_one_fails(self, tmp_path: Path, esx: VSphere) -> None:
        members = with_manifest(two_machines())
        spoilt = [(name, data.replace(b"# Disk", b"# disk") if name == "a2.vmdk" else data) for name, data in members]
        before = machines(esx)
        with pytest.raises(DigestError):
            virt_ova.install(build_ova(tmp_path / "a.ova", spoilt), esx.uri())
        assert machines(esx) == before
        assert esx.seen()["Aborts"] == 2

    def test_a_vcenter_makes_a_vapp_of_them(self, tmp_path: Path, vcenter: VSphere) -> None:
        package = build_ova(tmp_path / "a.ova", with_manifest(two_machines()))
        options = InstallOptions(name="shop", start=True)
        result = virt_ova.install(package, vcenter.uri(), options=options)
        assert result.domains == (virt_ova.InstalledDomain(name="shop", uuid="", start_command=""),)
        assert uploads(vcenter) == [("POST", small_vmdk(1)), ("POST", small_vmdk(2))]
        assert [machine_of(vcenter, name)[1] for name in ("shop-db", "shop-vm")] == ["poweredOn"] * 2
        assert vcenter.seen()["Completes"] == 1

    def test_a_vapp_is_removed_with_its_machines(self, tmp_path: Path, vcenter: VSphere) -> None:
        members = with_manifest(two_machines())
        spoilt = [(name, data.replace(b"# Disk", b"# disk") if name == "a2.vmdk" else data) for name, data in members]
        before = machines(vcenter)
        with pytest.raises(DigestError):
            virt_ova.install(build_ova(tmp_path / "a.ova", spoilt), vcenter.uri(), options=InstallOptions(name="store"))
        assert machines(vcenter) == before
        assert vcenter.seen()["Aborts"] == 1
