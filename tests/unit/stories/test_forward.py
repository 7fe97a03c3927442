"""Images from packages that pass by once: the result is that of a file, or it is an error and nothing is left."""

import gzip
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

import virt_ova
from tests.build.command import WITHOUT_QEMU
from tests.build.disks import KIB, MIB, SECTOR, guest_bytes, sparse_vmdk
from tests.build.ova import build_ova, descriptor, manifest_for, with_manifest
from tests.build.pipes import Pipe
from tests.build.small import (
    CAPACITY,
    damaged_message,
    damaged_vmdk,
    edited,
    is_installed,
    listing,
    small_disk,
    small_members,
    small_vmdk,
)
from virt_ova.plan.codec import from_json, to_json
from virt_ova.plan.plan import Transfer
from virt_ova.target.directory.driver import DirectoryTarget
from virt_ova.target.directory.folder import FolderVolume

Members = Sequence[tuple[str, bytes]]
SAVE = "Save the package to a file and give the file's path."


@pytest.fixture(autouse=True)
def _no_qemu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", WITHOUT_QEMU)


def ova_bytes(folder: Path, members: Members) -> bytes:
    path = build_ova(folder / "built.ova", members)
    data = path.read_bytes()
    path.unlink()
    return data


def pipe(folder: Path, members: Members, *, piece: int = 1 << 16) -> Any:  # noqa: ANN401 - a BinaryIO to the library
    return Pipe(ova_bytes(folder, members), piece=piece)


def install(folder: Path, members: Members, **options: Any) -> virt_ova.InstallResult:  # noqa: ANN401
    choices = virt_ova.InstallOptions(**options)
    return virt_ova.install(pipe(folder, members), f"dir:{folder}/machines", options=choices)


def refusal(folder: Path, members: Members, **options: Any) -> virt_ova.VirtOvaError:  # noqa: ANN401
    with pytest.raises(virt_ova.VirtOvaError) as caught:
        install(folder, members, **options)
    assert listing(folder) == []
    return caught.value


def last(members: Members) -> list[tuple[str, bytes]]:
    """The manifest behind all."""
    return [*members, ("a.mf", manifest_for(members))]


def with_disk(data: bytes, *, name: str = "a1.vmdk", capacity: int = CAPACITY) -> list[tuple[str, bytes]]:
    return with_manifest([("a.ovf", descriptor([(name, len(data))], capacity=str(capacity))), (name, data)])


CD_DRIVE = (
    "<Item><rasd:Address>0</rasd:Address><rasd:ElementName>IDE</rasd:ElementName>"
    "<rasd:InstanceID>20</rasd:InstanceID><rasd:ResourceType>5</rasd:ResourceType></Item>"
    "<Item><rasd:AddressOnParent>0</rasd:AddressOnParent><rasd:ElementName>CD</rasd:ElementName>"
    "<rasd:HostResource>ovf:/file/iso</rasd:HostResource><rasd:InstanceID>21</rasd:InstanceID>"
    "<rasd:Parent>20</rasd:Parent><rasd:ResourceType>15</rasd:ResourceType></Item></VirtualHardwareSection>"
)


class TestInstall:
    @pytest.mark.parametrize("piece", [17, 512, 1 << 20])
    @pytest.mark.parametrize("order", [with_manifest, last])
    def test_is_that_of_a_file(self, tmp_path: Path, piece: int, order: Any) -> None:  # noqa: ANN401
        result = virt_ova.install(pipe(tmp_path, order(small_members()), piece=piece), f"dir:{tmp_path}/machines")
        assert is_installed(tmp_path / "machines")
        assert result.trust is virt_ova.Trust.DIGESTS
        assert [(volume.mode, volume.capacity_bytes) for volume in result.volumes] == [("expand", CAPACITY)]
        assert "PKG_BEGINNING" not in {finding.code for finding in result.findings}

    def test_findings_are_those_of_a_file(self, tmp_path: Path) -> None:
        members = last([*small_members(), ("._a1.vmdk", b"apple")])[:-1]
        ova = build_ova(tmp_path / "open file", members)
        results = [
            virt_ova.install(source, f"dir:{tmp_path}/{n}") for n, source in enumerate((ova, pipe(tmp_path, members)))
        ]
        by_file, by_pipe = ([(each.code, each.message) for each in result.findings] for result in results)
        assert by_file == by_pipe
        assert "TAR_APPLEDOUBLE" in {code for code, _ in by_file}

    def test_a_gzipd_file(self, tmp_path: Path) -> None:
        path = tmp_path / "a.ova.gz"
        path.write_bytes(gzip.compress(ova_bytes(tmp_path, with_manifest(small_members()))))
        assert virt_ova.install(path, f"dir:{tmp_path}/machines").trust is virt_ova.Trust.DIGESTS
        assert is_installed(tmp_path / "machines")

    def test_disks_come_in_any_order_and_others_between(self, tmp_path: Path) -> None:
        ovf, first, second = small_members(2)
        result = install(tmp_path, last([ovf, ("readme.txt", b"hello"), second, first, ("z", b"")]))
        assert result.trust is virt_ova.Trust.DIGESTS
        machine = tmp_path / "machines" / "vm"
        assert guest_bytes(machine / "vm-disk1.qcow2") == small_disk(1)
        assert guest_bytes(machine / "vm-disk2.qcow2") == small_disk(2)

    def test_raw_disks_cds_and_blank_disks(self, tmp_path: Path) -> None:
        iso = bytes(32 * KIB) + b"\x01CD001\x01".ljust(2 * KIB, b"\0") + b"data" * 5_000
        members = edited(small_members(), "</VirtualHardwareSection>", CD_DRIVE)
        members = edited(members, "</References>", '<File ovf:id="iso" ovf:href="a%20b.iso"/></References>')
        members = edited(
            members,
            "</DiskSection>",
            f'<Disk ovf:diskId="blank" ovf:capacity="{MIB}" ovf:format="x#streamOptimized"/></DiskSection>',
        )
        blank = CD_DRIVE.replace("ovf:/file/iso", "ovf:/disk/blank").replace(">15<", ">17<").replace(">21<", ">22<")
        drive = blank[blank.index("</Item>") + 7 :].replace(">0</rasd:Addr", ">1</rasd:Addr")
        members = edited(members, "</VirtualHardwareSection>", drive)
        raw = small_disk(3)
        members[1] = ("a1.vmdk", raw)
        result = install(tmp_path, last([*members, ("a b.iso", iso)]), image_format=virt_ova.ImageFormat.RAW)
        machine = tmp_path / "machines" / "vm"
        whole = iso.ljust(-(-len(iso) // SECTOR) * SECTOR, b"\0")
        found = {path.name: path.read_bytes() for path in machine.iterdir() if path.name.startswith("vm-")}
        assert sorted(found.values(), key=len) == [whole, bytes(MIB), raw]
        assert {volume.capacity_bytes for volume in result.volumes} == {CAPACITY, MIB, len(whole)}

    def test_without_verification_nothing_is_compared(self, tmp_path: Path) -> None:
        members = small_members()
        changed = [members[0], ("a.mf", manifest_for(members)), ("a1.vmdk", damaged_vmdk())]
        assert install(tmp_path, changed, verify=False).trust is virt_ova.Trust.UNVERIFIED
        assert is_installed(tmp_path / "machines")

    def test_transplant_becomes_expand_and_says_so(self, tmp_path: Path) -> None:
        result = install(tmp_path, with_manifest(small_members()), disk_mode=virt_ova.DiskMode.TRANSPLANT)
        assert is_installed(tmp_path / "machines")
        assert result.volumes[0].mode == "expand"
        (finding,) = (finding for finding in result.findings if finding.code == "DISK_EXPANDED")
        reason = "its package can only be read from front to back"
        assert (finding.message, finding.where) == (f"expanded instead of transplanted: {reason}", "a1.vmdk")

    def test_a_plan_that_was_made_from_the_file(self, tmp_path: Path) -> None:
        members = with_manifest(small_members())
        with virt_ova.open_package(io.BytesIO(ova_bytes(tmp_path, members))) as package:
            text = to_json(virt_ova.plan(package))
        assert json.loads(text)["transfers"][0]["member"] == "a1.vmdk"
        virt_ova.install(pipe(tmp_path, members), f"dir:{tmp_path}/machines", plan=from_json(text))
        assert is_installed(tmp_path / "machines")

    def test_preflight_reads_the_beginning_alone(self, tmp_path: Path) -> None:
        source = pipe(tmp_path, with_manifest(small_members()), piece=512)
        plan = virt_ova.preflight(source, f"dir:{tmp_path}/machines")
        assert [transfer.capacity_bytes for transfer in plan.transfers] == [CAPACITY]
        assert source.position < 16 * KIB
        assert listing(tmp_path) == []

    def test_space_is_asked_for_before_anything_is_made(self, tmp_path: Path) -> None:
        members = edited(small_members(), 'ovf:fileRef="file1"', f'ovf:fileRef="file1" ovf:populatedSize="{1 << 60}"')
        error = refusal(tmp_path, members)
        assert error.code == "E_SPACE"
        assert "the images need 1048576.0 TiB" in error.message


class TestRefusals:
    """Each leaves nothing."""

    def test_a_damaged_disk(self, tmp_path: Path) -> None:
        members = small_members()
        first = [members[0], ("a.mf", manifest_for(members)), ("a1.vmdk", damaged_vmdk())]
        behind = [members[0], ("a1.vmdk", damaged_vmdk()), ("a.mf", manifest_for(members))]
        for changed in (first, behind):
            error = refusal(tmp_path, changed)
            assert (error.code, error.message) == ("E_DIGEST", damaged_message())

    def test_damage_is_seen_before_the_next_disk_comes(self, tmp_path: Path) -> None:
        ovf, _, second = small_members(2)
        members = small_members(2)
        data = ova_bytes(tmp_path, [ovf, ("a.mf", manifest_for(members)), ("a1.vmdk", damaged_vmdk()), second])
        source: Any = Pipe(data, piece=512)
        with pytest.raises(virt_ova.DigestError):
            virt_ova.install(source, f"dir:{tmp_path}/machines")
        assert source.position < len(data) - len(second[1])

    def test_a_damaged_file_that_no_machine_needs(self, tmp_path: Path) -> None:
        members = [*small_members(), ("readme.txt", b"hello")]
        error = refusal(tmp_path, [*members[:2], ("readme.txt", b"HELLO"), ("a.mf", manifest_for(members))])
        assert error.code == "E_DIGEST"
        assert error.message.startswith("the SHA256 of 'readme.txt' is ")

    def test_a_file_that_the_manifest_does_not_list(self, tmp_path: Path) -> None:
        members = with_manifest(small_members())
        early, late = refusal(tmp_path, [*members, ("x", b"")]), refusal(tmp_path, [*last(small_members()), ("x", b"")])
        assert {each.code for each in (early, late)} == {"E_MANIFEST_COVERAGE"}
        assert {each.message for each in (early, late)} == {"the manifest does not list 'x'"}

    def test_a_disk_that_never_comes(self, tmp_path: Path) -> None:
        for members in (small_members(2)[:2], with_manifest(small_members(2))[:3]):
            error = refusal(tmp_path, members)
            assert (error.code, error.message) == ("E_PKG_FILE", "the file 'a2.vmdk' is not in the package")

    def test_a_disk_before_the_descriptor(self, tmp_path: Path) -> None:
        error = refusal(tmp_path, small_members()[::-1])
        assert (error.code, error.hint) == ("E_PIPE_ORDER", SAVE)

    def test_truncated_at_several_places(self, tmp_path: Path) -> None:
        data = ova_bytes(tmp_path, with_manifest(small_members()))
        disk = data.index(b"KDMV")
        for size, code in (
            (0, "E_NOT_OVA"),
            (700, "E_SOURCE_TRUNCATED"),
            (disk - 100, "E_TAR_TRUNCATED"),
            (disk, "E_SOURCE_TRUNCATED"),
            (disk + 100, "E_SOURCE_TRUNCATED"),
            (disk + 40_000, "E_SOURCE_TRUNCATED"),
            (disk + len(small_vmdk()) - 1, "E_SOURCE_TRUNCATED"),
        ):
            with pytest.raises(virt_ova.SourceError) as caught:
                virt_ova.install(Pipe(data[:size]), f"dir:{tmp_path}/machines")  # type: ignore[arg-type]
            assert caught.value.code == code, size
            assert listing(tmp_path) == []

    def test_a_connection_that_breaks(self, tmp_path: Path) -> None:
        data = ova_bytes(tmp_path, with_manifest(small_members()))
        source: Any = Pipe(data, piece=512, fail_at=data.index(b"KDMV") + 70_000)
        with pytest.raises(
            virt_ova.SourceError, match=r"^'open file' cannot be read behind byte [0-9]+: Connection reset"
        ):
            virt_ova.install(source, f"dir:{tmp_path}/machines")
        assert listing(tmp_path) == []

    def test_data_behind_the_package(self, tmp_path: Path) -> None:
        data = ova_bytes(tmp_path, with_manifest(small_members()))
        source: Any = Pipe(data + data)
        with pytest.raises(virt_ova.SourceError, match="behind the end of the tar") as caught:
            virt_ova.install(source, f"dir:{tmp_path}/machines")
        assert caught.value.code == "E_TAR_TRAILING"
        assert listing(tmp_path) == []

    def test_link(self, tmp_path: Path) -> None:
        error = refusal(tmp_path, small_members(), disk_mode=virt_ova.DiskMode.LINK)
        assert (error.code, error.hint) == ("E_DISK_LINK", SAVE)
        assert str(error) == "a1.vmdk: the disk cannot be linked: its package can only be read from front to back"

    def test_a_disk_for_two_drives(self, tmp_path: Path) -> None:
        members = small_members(2)
        error = refusal(tmp_path, edited(members, "ovf:/disk/disk2<", "ovf:/disk/disk1<"))
        assert error.code == "E_PIPE_ORDER"
        assert error.message == "the file 'a1.vmdk' fills two images, and will come once only"

    @pytest.mark.parametrize(
        ("attribute", "how"), [('ovf:compression="gzip"', "compressed"), ('ovf:chunkSize="100"', "in chunks")]
    )
    def test_compressed_and_chunked_files(self, tmp_path: Path, attribute: str, how: str) -> None:
        members = edited(small_members(), 'ovf:id="file1"', f'ovf:id="file1" {attribute}')
        error = refusal(tmp_path, members)
        assert (error.code, error.hint) == ("E_PIPE_ORDER", SAVE)
        assert error.message == f"the file 'a1.vmdk' is {how}, expected it as it is in such a package"

    def test_a_capacity_that_only_the_image_tells(self, tmp_path: Path) -> None:
        members = edited(small_members(), f'ovf:capacity="{CAPACITY}"', 'ovf:capacity="${size}"')
        members = edited(
            members,
            "<VirtualHardwareSection",
            '<ProductSection><Info>P</Info><Property ovf:key="size" ovf:type="uint64"/></ProductSection>'
            "<VirtualHardwareSection",
        )
        error = refusal(tmp_path, members)
        assert (error.code, error.hint) == ("E_PIPE_ORDER", SAVE)
        assert error.message == "the descriptor does not say how large disk 'disk1' is, and its image has not come yet"

    def test_a_disk_of_another_size(self, tmp_path: Path) -> None:
        error = refusal(tmp_path, with_disk(small_vmdk(), capacity=8 * CAPACITY))
        assert (error.code, error.where) == ("E_DISK_CAPACITY", "a1.vmdk")
        assert error.message.startswith(f"the image holds a disk of {CAPACITY} bytes (4.0 MiB), expected 33554432 ")

    def test_a_disk_that_must_be_read_in_places(self, tmp_path: Path) -> None:
        sparse = sparse_vmdk(CAPACITY // SECTOR, {0: b"1" * 64 * KIB}, compressed=False, footer=False)
        for name, data in (("vmdk-sparse", sparse), ("qcow2", b"QFI\xfb" + bytes(1 << 20))):
            error = refusal(tmp_path, with_disk(data))
            assert error.code == "E_DISK_FORWARD"
            expected = "expected one that can be read from front to back (vmdk-stream, raw, iso)"
            assert str(error) == f"a1.vmdk: found a {name} disk, {expected}"

    def test_a_member_that_is_meant_only_once_all_is_known(self, tmp_path: Path) -> None:
        """Two members could be the file 'a%20b.vmdk'; the first that comes is not the one that a file would give."""
        members = edited(small_members(), 'ovf:href="a1.vmdk"', 'ovf:href="a%20b.vmdk"')
        disks = [("a b.vmdk", small_vmdk(1)), ("a%20b.vmdk", small_vmdk(1))]
        error = refusal(tmp_path, [members[0], *disks])
        assert error.code == "E_PIPE_ORDER"
        assert error.message == "the file 'a%20b.vmdk' came in a way that could not be used"
        install(tmp_path, [members[0], *disks[::-1]])
        assert is_installed(tmp_path / "machines")

    def test_qcow2_to_a_stream(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("virt_ova.disk.sink.FileSink.in_order", True)
        error = refusal(tmp_path, small_members())
        assert error.code == "E_DISK_ORDER"
        assert error.message == "a qcow2 image from a pipe cannot be written in order, expected a file"


class TestConvert:
    @pytest.mark.parametrize("image_format", virt_ova.ImageFormat)
    def test_one_disk(self, tmp_path: Path, image_format: virt_ova.ImageFormat) -> None:
        source = pipe(tmp_path, last(small_members(3)))
        result = virt_ova.convert(source, tmp_path / "out", disk="disk2", image_format=image_format)
        assert guest_bytes(tmp_path / "out") == small_disk(2)
        assert (result.disk, result.mode, result.trust) == ("disk2", "expand", virt_ova.Trust.DIGESTS)
        assert (result.capacity_bytes, result.findings) == (CAPACITY, ())

    def test_an_output_that_is_there_stays(self, tmp_path: Path) -> None:
        out = tmp_path / "out"
        out.write_text("mine")
        with pytest.raises(virt_ova.TargetError, match="exists already"):
            virt_ova.convert(pipe(tmp_path, small_members()), out)
        assert out.read_text() == "mine"


def test_the_volume_is_never_longer_than_was_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []
    create = DirectoryTarget.create_volume

    def noting(target: DirectoryTarget, transfer: Transfer, size_bytes: int) -> FolderVolume:
        sizes.append(size_bytes)
        return create(target, transfer, size_bytes)

    monkeypatch.setattr(DirectoryTarget, "create_volume", noting)
    install(tmp_path, small_members())
    assert sizes[0] >= (tmp_path / "machines/vm/vm-disk1.qcow2").stat().st_size > 0
