"""libosinfo's database as Debian has it, and small ones of our own."""

from __future__ import annotations

from pathlib import Path

import pytest

from virt_ova.osinfo import FOLDERS, known_guests
from virt_ova.ovf.envelope import OperatingSystem
from virt_ova.plan.guest import Guest, Support

ALL = frozenset(Support)
BUT_GPU = ALL - {Support.VIRTIO_GPU}
BLOCK = "http://pcisig.com/pci/1af4/1001"


def known(word: str, *folders: Path) -> Guest:
    system = OperatingSystem(type=word)
    guests = known_guests([system], folders or FOLDERS)
    assert guests is not None
    return guests[system]


@pytest.mark.parametrize(
    ("word", "short_id", "supports"),
    [
        ("debian10_64Guest", "debian10", BUT_GPU),
        ("debian11_64Guest", "debian11", ALL),
        ("Ubuntu22_LTS_64", "ubuntu22.04", BUT_GPU),
        ("rhel6_64Guest", "rhel6.0", {Support.VIRTIO_BLK, Support.VIRTIO_NET}),
        ("freebsd12_64Guest", "freebsd12.0", {Support.VIRTIO_BLK, Support.VIRTIO_NET}),
        ("other5xlinux-64Guest", "linux2018", ALL),
        ("windows9_64Guest", "win10", set()),
        ("windows2019srv_64Guest", "win2k19", set()),
        ("winXPProGuest", "winxp", set()),
        ("sles11_64Guest", "sles11", set()),
    ],
)
def test_what_debians_database_says(word: str, short_id: str, supports: set[Support]) -> None:
    guest = known(word)
    assert (guest.short_id, set(guest.supports)) == (short_id, supports)


@pytest.mark.parametrize(
    ("word", "year"), [("debian4Guest", 2007), ("rhel4Guest", 2005), ("debian10_64Guest", 2019), ("ubuntuGuest", None)]
)
def test_when_it_was_released(word: str, year: int | None) -> None:
    assert known(word).year == year


def test_a_version_that_is_too_new_is_taken_for_the_last_one_before_it() -> None:
    guest = known("debian99_64Guest")
    assert guest.name.version == "99"
    assert guest.id.startswith("http://debian.org/debian/1")
    assert guest.supports == ALL


@pytest.mark.parametrize("word", ["ubuntu64Guest", "otherGuest", "otherLinux64Guest", "vmwarePhoton64Guest"])
def test_without_a_version_nothing_is_claimed(word: str) -> None:
    guest = known(word)
    assert (guest.id, guest.supports) == ("", frozenset())


def test_without_a_database_there_is_no_answer(tmp_path: Path) -> None:
    assert known_guests([OperatingSystem(type="debian12_64Guest")], [tmp_path]) is None


def write(folder: Path, version: str, inside: str, *, distro: str = "debian") -> None:
    path = folder / "os" / "debian.org" / f"{distro}-{version}.xml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        f'<libosinfo><os id="http://debian.org/{distro}/{version}"><short-id>{distro}{version}</short-id>{inside}</os>'
        "</libosinfo>"
    )


def test_devices_are_inherited_until_one_says_no(tmp_path: Path) -> None:
    write(tmp_path, "1", f'<devices><device id="{BLOCK}"/><device id="http://pcisig.com/pci/8086/100e"/></devices>')
    write(tmp_path, "2", '<derives-from id="http://debian.org/debian/1"/>')
    no = f'<devices><device id="{BLOCK}" supported="false"/></devices>'
    write(tmp_path, "3", f'<derives-from id="http://debian.org/debian/2"/>{no}')
    assert known("debian2Guest", tmp_path).supports == {Support.VIRTIO_BLK}
    assert known("debian3Guest", tmp_path).supports == frozenset()


def test_drivers_that_can_be_installed_later_do_not_count(tmp_path: Path) -> None:
    write(tmp_path, "1", f'<driver><device id="{BLOCK}"/></driver>')
    assert known("debian1Guest", tmp_path).supports == frozenset()


def test_an_administrators_entry_replaces_that_of_the_package(tmp_path: Path) -> None:
    write(tmp_path / "usr", "12", "")
    write(tmp_path / "etc", "12", f'<devices><device id="{BLOCK}"/></devices>')
    assert known("debian12Guest", tmp_path / "usr", tmp_path / "etc").supports == {Support.VIRTIO_BLK}


def test_a_circle_of_ancestors_ends(tmp_path: Path) -> None:
    write(tmp_path, "1", '<derives-from id="http://debian.org/debian/2"/>')
    write(tmp_path, "2", '<derives-from id="http://debian.org/debian/1"/>')
    assert known("debian1Guest", tmp_path).short_id == "debian1"


@pytest.mark.parametrize("parent", ["http://debian.org/../x/1", "file:///etc/passwd", "http://debian.org/debian/9"])
def test_an_ancestor_that_is_nowhere_is_passed_over(parent: str, tmp_path: Path) -> None:
    write(tmp_path, "1", f'<derives-from id="{parent}"/>')
    assert known("debian1Guest", tmp_path).short_id == "debian1"


@pytest.mark.parametrize("content", ["", "<libosinfo/>", "no XML", '<libosinfo><os id="x"/></libosinfo>'])
def test_a_damaged_entry_is_none(content: str, tmp_path: Path) -> None:
    write(tmp_path, "1", "")
    (tmp_path / "os" / "debian.org" / "debian-1.xml").write_text(content)
    assert known("debian1Guest", tmp_path).id == ""


def test_releases_of_a_version_are_told_from_later_versions(tmp_path: Path) -> None:
    for version in ("7.0", "7.10", "70", "6.9", "rolling"):
        write(tmp_path, version, "", distro="rhel")
    assert known("rhel7_64Guest", tmp_path).short_id == "rhel7.0"
    assert known("rhel8_64Guest", tmp_path).short_id == "rhel7.10"
    assert known("rhel5_64Guest", tmp_path).short_id == ""
