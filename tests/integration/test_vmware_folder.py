"""A machine of VMware as a package, and a package as a VMX: through the command line, judged by qemu-img and virsh."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

import virt_ova
from tests.build.command import command, environment, error_lines, json_of
from tests.build.command import virt_ova as run_virt_ova
from tests.build.disks import KIB, guest_bytes, qemu_img, random_disk
from tests.build.ova import build_folder, build_ova, manifest_for
from tests.build.small import small_members, small_ova
from tests.build.vmware import CONVERTER, build_machine, vmx, with_vmware
from virt_ova.source.pipe import SAVE_FIRST

SIZE = 1024 * KIB


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    return random_disk(tmp_path / "d.raw", SIZE, [0, 5, 15])


class TestInstall:
    @pytest.mark.parametrize(
        "subformat",
        ["monolithicSparse", "streamOptimized", "monolithicFlat", "twoGbMaxExtentSparse", "twoGbMaxExtentFlat"],
    )
    def test_in_a_folder(self, tmp_path: Path, raw: Path, subformat: str) -> None:
        machine = build_machine(tmp_path / "vm", raw, subformat)
        members = [(path.name, path.read_bytes()) for path in machine.iterdir()]
        (machine / "old machine.mf").write_bytes(manifest_for(members))
        options = virt_ova.InstallOptions(disk_mode=virt_ova.DiskMode.TRANSPLANT)
        result = virt_ova.install(machine, f"dir:{tmp_path}/m", options=options)
        (domain,), (volume,) = result.domains, result.volumes
        assert (domain.name, volume.capacity_bytes, result.trust) == ("old machine", SIZE, virt_ova.Trust.DIGESTS)
        assert volume.mode == ("transplant" if subformat == "streamOptimized" else "expand")
        assert "identical" in qemu_img("compare", "-f", "raw", raw, volume.path)
        text = (tmp_path / "m" / "old machine" / "domain.xml").read_text()
        assert "vmpvscsi" in text
        assert '<model type="vmxnet3"' in text.replace("'", '"')

    def test_through_the_command_line(self, tmp_path: Path, raw: Path) -> None:
        machine = build_machine(tmp_path / "vm", raw, "monolithicFlat")
        done = run_virt_ova("install", machine, "-c", "dir:m", cwd=tmp_path)
        assert done.returncode == 0
        assert done.stdout.startswith("Installed old machine on dir:m in ")
        assert done.stderr.startswith("Copying disk-flat.vmdk (1.0 MiB)\n")

    @pytest.mark.parametrize("kind", ["lone", "tar", "beside"])
    def test_by_its_path_in_a_tar_and_beside_an_ovf(self, tmp_path: Path, raw: Path, kind: str) -> None:
        machine = build_machine(tmp_path / "vm", raw, "monolithicFlat")
        source = machine / "old machine.vmx"
        if kind == "beside":
            build_folder(machine, small_members())
        if kind == "tar":
            members = [(path.name, path.read_bytes()) for path in sorted(machine.iterdir())]
            source = build_ova(tmp_path / "m.ova", members)
        result = virt_ova.install(source, f"dir:{tmp_path}/m")
        (volume,) = result.volumes
        assert guest_bytes(Path(volume.path)) == raw.read_bytes()

    def test_a_disk_by_itself_and_linked(self, tmp_path: Path, raw: Path) -> None:
        machine = build_machine(tmp_path / "vm", raw, "monolithicFlat")
        result = virt_ova.convert(machine, tmp_path / "c.raw", image_format=virt_ova.ImageFormat.RAW)
        assert (result.disk, (tmp_path / "c.raw").read_bytes()) == ("scsi0:0", raw.read_bytes())
        virt_ova.convert(machine, tmp_path / "l.qcow2", mode=virt_ova.DiskMode.LINK)
        assert "identical" in qemu_img("compare", "-f", "raw", raw, tmp_path / "l.qcow2")
        split = build_machine(tmp_path / "vm2", raw, "twoGbMaxExtentSparse")
        with pytest.raises(virt_ova.DiskError) as caught:
            virt_ova.convert(split, tmp_path / "no.qcow2", mode=virt_ova.DiskMode.LINK)
        assert caught.value.code == "E_DISK_LINK"
        assert not (tmp_path / "no.qcow2").exists()

    def test_a_snapshot_is_refused(self, tmp_path: Path, raw: Path) -> None:
        machine = build_machine(tmp_path / "vm", raw, "monolithicSparse")
        delta = machine / "disk-000001.vmdk"
        qemu_img("create", "-f", "vmdk", "-F", "vmdk", "-b", "disk.vmdk", delta)
        (machine / "old machine.vmx").write_bytes(vmx(delta.name))
        done = run_virt_ova("install", machine, "-c", "dir:m", cwd=tmp_path)
        message = "the VMDK descriptor has the parent"
        assert (done.returncode, message in done.stderr or "sets parentFileNameHint" in done.stderr) == (1, True)
        assert "[E_DISK_PARENT]\n  hint: Consolidate the snapshots and export the machine again.\n" in done.stderr
        assert not (tmp_path / "m").exists() or not list((tmp_path / "m").iterdir())

    def test_a_disk_elsewhere_is_refused_and_not_read(self, tmp_path: Path, raw: Path) -> None:
        machine = build_folder(tmp_path / "vm", [("a.vmx", vmx(str(raw)))])
        done = run_virt_ova("install", machine, "-c", "dir:m", cwd=tmp_path)
        message = f"the file '{raw}' could lie outside the package, expected a plain name such as 'disk1.vmdk'"
        assert (done.returncode, message in done.stderr, "[E_REF_OUTSIDE]" in done.stderr) == (1, True, True)

    def test_a_pipe_does_not_tell_how_large_a_disk_is(self, tmp_path: Path, raw: Path) -> None:
        machine = build_machine(tmp_path / "vm", raw, "streamOptimized")
        names = ["old machine.vmx", "disk.vmdk"]
        ova = build_ova(tmp_path / "m.ova", [(name, (machine / name).read_bytes()) for name in names])
        done = subprocess.run(
            command("install", "-", "-c", "dir:m"),
            input=ova.read_bytes(),
            capture_output=True,
            check=False,
            cwd=tmp_path,
            env=environment(),
        )
        assert done.stderr.decode() == error_lines(
            "E_PIPE_ORDER",
            "the descriptor does not say how large disk 'scsi0:0' is, and its image has not come yet",
            SAVE_FIRST,
        )


class TestInspect:
    def test_what_it_shows(self, tmp_path: Path, raw: Path) -> None:
        machine = build_machine(tmp_path / "vm", raw, "twoGbMaxExtentSparse")
        done = run_virt_ova("inspect", machine)
        assert done.stdout.splitlines() == [
            "vmx, VMX, by vmware, manifest: none",
            "machine old machine",
            "  guest     debian12_64Guest",
            "  cpus      2",
            "  memory    512.0 MiB",
            "  firmware  bios",
            "  hardware  vmx-19",
            "  nic       vmxnet3 on nat",
            "disks",
            "  scsi0:0  disk.vmdk  1.0 MiB  vmdk-sparse",
            "networks",
            "  nat",
        ]
        document = json_of(run_virt_ova("inspect", "--json", machine))
        assert (document["kind"], document["ovf_version"], document["producer"]) == ("vmx", "", "vmware")
        assert document["descriptor"]["name"] == "old machine.vmx"

    def test_an_ovf_beside_it_is_the_descriptor(self, tmp_path: Path) -> None:
        build_folder(tmp_path / "p", [*small_members(), ("a.vmx", vmx("a1.vmdk"))])
        document = json_of(run_virt_ova("inspect", "--json", tmp_path / "p"))
        assert (document["kind"], document["descriptor"]["name"]) == ("ovf", "a.ovf")

    def test_two_descriptors(self, tmp_path: Path) -> None:
        build_folder(tmp_path / "p", [("a.vmx", vmx("a1.vmdk")), ("b.vmx", vmx("a1.vmdk"))])
        done = run_virt_ova("inspect", tmp_path / "p")
        message = (
            f"{tmp_path}/p: found 'a.vmx', 'b.vmx', "
            "expected exactly one descriptor (.ovf or .vmx) at the top of the package"
        )
        assert done.stderr == error_lines("E_PKG_OVF", message, "Give the path of the descriptor.")


class TestDescriptor:
    def test_libvirt_converts_what_is_printed(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        done = run_virt_ova("descriptor", small_ova(tmp_path / "a.ova"), "--format", "vmx")
        assert (done.returncode, done.stderr) == (0, "")
        (tmp_path / "a.vmx").write_text(done.stdout)
        with_vmware(monkeypatch, tmp_path)
        converted = subprocess.run(
            ["virsh", "-c", CONVERTER, "domxml-from-native", "vmware-vmx", tmp_path / "a.vmx"],
            capture_output=True,
            text=True,
            check=False,
            env=dict(os.environ),
        )
        assert (converted.returncode, converted.stderr) == (0, "")
        for part in ("<name>vm</name>", "<source file='a1.vmdk'/>", "model='lsilogic'", "<model type='e1000'/>"):
            assert part in converted.stdout
        assert "<source bridge='VM Network'/>" in converted.stdout

    def test_a_folder_with_what_is_printed_is_the_same_machine(self, tmp_path: Path) -> None:
        ova = small_ova(tmp_path / "a.ova")
        text = run_virt_ova("descriptor", ova, "--format", "vmx").stdout
        build_folder(tmp_path / "p", [("a.vmx", text.encode()), *small_members()[1:]])
        plans = [virt_ova.plan(package) for package in map(virt_ova.open_package, (ova, tmp_path / "p"))]
        assert [plan.machines[0].drives[0].bus for plan in plans] == ["sata", "sata"]
        first, second = (plan.machines[0] for plan in plans)
        assert (first.cpus, first.memory_bytes, first.nics, first.os_type) == (
            second.cpus,
            second.memory_bytes,
            second.nics,
            second.os_type,
        )

    def test_as_json_with_what_was_written_otherwise(self, tmp_path: Path) -> None:
        name, ovf = small_members()[0]
        odd = ovf.replace(b">lsilogic<", b">virtio-scsi<")
        build_folder(tmp_path / "p", [(name, odd), *small_members()[1:]])
        done = run_virt_ova("descriptor", "--json", "--format", "vmx", tmp_path / "p")
        document = json.loads(done.stdout)
        assert document["name"] == "a.vmx"
        assert 'scsi0:0.fileName = "a1.vmdk"' in document["descriptor"]
        assert [(each["code"], each["severity"]) for each in document["findings"]] == [("VMX_MAPPED", "warning")]
        told = run_virt_ova("descriptor", "--format", "vmx", tmp_path / "p")
        assert "'SCSI' (virtio-scsi): written as lsilogic: VMware has no such controller [VMX_MAPPED]" in told.stderr

    def test_which_of_several_machines(self) -> None:
        case = Path(__file__).parents[1] / "golden" / "collection" / "input.ovf"
        done = run_virt_ova("descriptor", case, "--format", "vmx")
        message = "input.ovf: found 2 machines, expected one of the package's: 'front', 'db'"
        assert done.stderr == error_lines("E_OVF_SYSTEM", message, "Choose one with --system ID.")
        done = run_virt_ova("descriptor", case, "--format", "vmx", "--system", "db")
        assert (done.returncode, 'displayName = "' in done.stdout) == (0, True)

    def test_a_vmx_is_printed_as_it_is(self, tmp_path: Path) -> None:
        build_folder(tmp_path / "p", [("a.vmx", vmx())])
        for words in ((), ("--format", "vmx")):
            assert run_virt_ova("descriptor", tmp_path / "p", *words).stdout == vmx().decode()
        done = run_virt_ova("descriptor", tmp_path / "p", "--format", "ovf")
        message = "p: the package's descriptor is a VMX, which is not translated to OVF"
        assert done.stderr == error_lines("E_NOT_SUPPORTED", message, "Leave --format out to print it as it is.")

    def test_options_that_mean_nothing(self, tmp_path: Path) -> None:
        done = run_virt_ova("descriptor", small_ova(tmp_path / "a.ova"), "--system", "vm")
        message = "--system and --deployment-option are for an OVF that is printed with --format vmx"
        assert (done.returncode, done.stderr) == (2, error_lines("E_USAGE", message, "Run 'virt-ova --help'."))
