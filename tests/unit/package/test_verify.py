import subprocess
from pathlib import Path

import pytest

from tests.build.ova import build_folder, build_ova, descriptor, manifest_for, with_manifest
from virt_ova.errors import PackageError
from virt_ova.package.manifest import Digest, parse_manifest
from virt_ova.package.package import open_package
from virt_ova.package.verify import Trust
from virt_ova.source.base import MemberName

DISK = bytes(range(256)) * 10_000
MEMBERS = [("a.ovf", descriptor([("a.vmdk", len(DISK))])), ("a.vmdk", DISK)]


class Recorder:
    """A monitor that remembers."""

    def __init__(self) -> None:
        self.events: list[tuple[str, str, int | None]] = []

    def begin(self, step: str, total_bytes: int | None = None) -> None:
        self.events.append(("begin", step, total_bytes))

    def advance(self, step: str, done_bytes: int) -> None:
        self.events.append(("advance", step, done_bytes))

    def end(self, step: str) -> None:
        self.events.append(("end", step, None))

    def note(self, message: str) -> None:
        self.events.append(("note", message, None))


@pytest.mark.parametrize("algorithm", ["SHA1", "SHA256", "SHA384", "SHA512"])
def test_matching_digests(tmp_path: Path, algorithm: str) -> None:
    with open_package(build_ova(tmp_path / "a.ova", with_manifest(MEMBERS, algorithm=algorithm))) as package:
        report = package.verify()
    assert report.trust is Trust.DIGESTS
    assert report.is_sound
    assert [(file.name, file.algorithm, file.ok) for file in report.files] == [
        ("a.ovf", algorithm, True),
        ("a.vmdk", algorithm, True),
    ]
    assert [finding.code for finding in report.findings] == (["MANIFEST_SHA1"] if algorithm == "SHA1" else [])


def test_no_manifest_is_no_fault_but_no_trust_either(tmp_path: Path) -> None:
    with open_package(build_ova(tmp_path / "a.ova", MEMBERS)) as package:
        report = package.verify()
    assert (report.trust, report.files, report.findings, report.is_sound) == (Trust.UNVERIFIED, (), (), True)


@pytest.mark.parametrize("position", [0, 1 << 20, len(DISK) - 1])
def test_one_flipped_bit_is_found(tmp_path: Path, position: int) -> None:
    damaged = bytearray(DISK)
    damaged[position] ^= 1
    members = [MEMBERS[0], ("a.vmdk", bytes(damaged)), ("a.mf", manifest_for(MEMBERS))]
    folder = build_folder(tmp_path, members)
    found = subprocess.run(["sha256sum", folder / "a.vmdk"], capture_output=True, text=True, check=True).stdout[:64]
    with open_package(folder) as package:
        report = package.verify()
        assert package.manifest is not None
        expected = package.manifest.entries[MemberName("a.vmdk")].hex
    assert (report.trust, report.is_sound) == (Trust.UNVERIFIED, False)
    assert [(file.name, file.ok) for file in report.files] == [("a.ovf", True), ("a.vmdk", False)]
    (finding,) = report.findings
    assert (finding.code, finding.severity, finding.where) == ("DIGEST", "error", "a.vmdk")
    assert finding.message == f"the SHA256 of 'a.vmdk' is {found}, expected {expected} as the manifest says"


@pytest.mark.parametrize("bit", [1, 32])
def test_a_flipped_bit_in_the_manifest_never_lets_other_bytes_pass(tmp_path: Path, bit: int) -> None:
    """Bit 32 is letter case, which hexadecimal digits and algorithms do not have; names do."""
    members = [("a.ovf", descriptor([("a.vmdk", 9)])), ("a.vmdk", b"something")]
    manifest = manifest_for(members)
    good = _entries(manifest)
    for position in range(len(manifest)):
        damaged = bytearray(manifest)
        damaged[position] ^= bit
        folder = build_folder(tmp_path, [*members, ("a.mf", bytes(damaged))])
        try:
            with open_package(folder) as package:
                is_sound = package.verify().is_sound
        except PackageError as exc:
            assert exc.code.startswith("E_MANIFEST_")  # noqa: PT017 - most raise, some do not
            continue
        assert is_sound == (_entries(bytes(damaged)) == good)


def _entries(manifest: bytes) -> set[tuple[str, Digest]]:
    parsed = parse_manifest(manifest, where="a.mf")
    return set(parsed.entries.items()) if parsed else set()


def test_progress_counts_every_byte(tmp_path: Path) -> None:
    monitor = Recorder()
    with open_package(build_ova(tmp_path / "a.ova", with_manifest(MEMBERS))) as package:
        package.verify(monitor)
    step = "Verifying a.vmdk"
    assert ("begin", step, len(DISK)) in monitor.events
    assert monitor.events[-1] == ("end", step, None)
    assert sum(size or 0 for kind, name, size in monitor.events if (kind, name) == ("advance", step)) == len(DISK)
