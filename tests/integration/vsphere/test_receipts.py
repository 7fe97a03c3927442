"""What the server says it received, against what was sent."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from secrets import token_hex

import pytest

import virt_ova
from tests.build.ova import build_ova, descriptor, with_manifest
from tests.build.pipes import Pipe
from tests.build.small import CAPACITY, small_members, small_vmdk
from tests.build.vsphere import VSphere, started
from tests.integration.vsphere.conftest import everything
from tests.integration.vsphere.test_install import with_iso
from virt_ova import InstallOptions, TargetError

PADDED = small_vmdk().ljust(len(small_vmdk()) + 64512, b"\0")
HINT = "Install again; if it happens again, look for faults in the network, memory and datastore of the host."


@pytest.fixture(scope="module")
def newer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[VSphere]:
    """An ESXi whose leases can hash by SHA-256."""
    with started(tmp_path_factory.mktemp("newer"), api_version="6.7.1") as esx, pytest.MonkeyPatch.context() as patch:
        patch.setenv("LIBVIRT_AUTH_FILE", str(esx.auth_file))
        yield esx


def padded_package(folder: Path) -> Path:
    """A package whose disk is padded behind its end, as qemu-img pads it."""
    text = descriptor([("d.vmdk", len(PADDED))], capacity=str(CAPACITY))
    return build_ova(folder / "a.ova", with_manifest([("a.ovf", text), ("d.vmdk", PADDED)]))


def install(source: Path | Pipe, esx: VSphere) -> None:
    """Install it by a name of its own."""
    virt_ova.install(source, esx.uri(), options=InstallOptions(name=token_hex(4)))  # type: ignore[arg-type]


@pytest.mark.parametrize("algorithm", ["SHA1", "SHA256"])
def test_digests_are_compared(tmp_path: Path, newer: VSphere, algorithm: str) -> None:
    package = build_ova(tmp_path / "a.ova", with_manifest(with_iso(small_members()), algorithm=algorithm))
    newer.set_faults()
    install(package, newer)
    assert newer.seen()["Digests"] == ["sha256" if algorithm == "SHA256" else ""]


def test_others_than_were_sent_are_an_error(tmp_path: Path, newer: VSphere) -> None:
    package, before = build_ova(tmp_path / "a.ova", with_manifest(small_members())), everything(newer)
    newer.set_faults(WrongDigest=True)
    with pytest.raises(TargetError) as caught:
        install(package, newer)
    size = len(small_vmdk())
    assert (caught.value.code, caught.value.hint) == ("E_UPLOAD_DIGEST", HINT)
    assert caught.value.message.startswith(
        f"the server received something else than 'a1.vmdk': found {size + 1} bytes with the SHA256 "
    )
    assert f", expected {size} with " in caught.value.message
    assert (newer.seen()["Completes"], newer.seen()["Aborts"]) == (0, 1)
    assert everything(newer) == before


def test_an_older_server_tells_sha1(tmp_path: Path, esx: VSphere) -> None:
    esx.set_faults(WrongDigest=True)
    package = build_ova(tmp_path / "a.ova", with_manifest(small_members(), algorithm="SHA1"))
    with pytest.raises(TargetError, match=" bytes with the SHA1 "):
        install(package, esx)
    install(build_ova(tmp_path / "b.ova", with_manifest(small_members())), esx)
    assert esx.seen()["Digests"] == ["", ""]


def test_a_server_without_digests_is_as_good(tmp_path: Path, newer: VSphere) -> None:
    newer.set_faults(NoDigests=True)
    install(build_ova(tmp_path / "a.ova", with_manifest(small_members())), newer)


def test_nobody_asks_when_nothing_is_verified(tmp_path: Path, newer: VSphere) -> None:
    newer.set_faults(WrongDigest=True)
    package = build_ova(tmp_path / "a.ova", with_manifest(small_members()))
    virt_ova.install(package, newer.uri(), options=InstallOptions(verify=False))
    assert newer.seen()["Digests"] == []


def test_a_padded_disk_is_read_to_its_end(tmp_path: Path, newer: VSphere) -> None:
    package = padded_package(tmp_path)
    newer.set_faults()
    install(package, newer)
    newer.set_faults(WrongDigest=True)
    with pytest.raises(TargetError) as caught:
        virt_ova.install(package, newer.uri(), options=InstallOptions(name="other"))
    assert caught.value.code == "E_UPLOAD_DIGEST"


def test_a_padded_disk_out_of_a_pipe(tmp_path: Path, newer: VSphere) -> None:
    newer.set_faults()
    install(Pipe(padded_package(tmp_path).read_bytes()), newer)
