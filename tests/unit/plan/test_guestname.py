from __future__ import annotations

import pytest

from virt_ova.ovf.envelope import OperatingSystem
from virt_ova.plan.guest import guest_by_name
from virt_ova.plan.guestname import name_of


def named(type: str = "", *, id: int | None = None, description: str = "") -> str:  # noqa: A002 - OVF's words
    name = name_of(OperatingSystem(id=id, type=type, description=description))
    return f"{name.family} {name}"


@pytest.mark.parametrize(
    ("word", "name"),
    [
        ("debian12_64Guest", "linux debian12"),
        ("ubuntu64Guest", "linux ubuntu"),
        ("rhel8_64Guest", "linux rhel8"),
        ("centos64Guest", "linux centos"),
        ("sles11_64Guest", "linux sles11"),
        ("sles15_64Guest", "linux sle15"),
        ("oracleLinux8_64Guest", "linux ol8"),
        ("vmwarePhoton64Guest", "linux linux"),
        ("otherLinuxGuest", "linux linux"),
        ("other24xLinuxGuest", "linux linux2.4"),
        ("other26xLinux64Guest", "linux linux"),
        ("other3xLinux64Guest", "linux linux"),
        ("other4xLinux64Guest", "linux linux2016"),
        ("other5xlinux-64Guest", "linux linux2018"),
        ("other6xLinux64Guest", "linux linux2022"),
        ("freebsd12_64Guest", "freebsd freebsd12"),
        ("solaris11_64Guest", "solaris solaris11"),
        ("dosGuest", "msdos msdos"),
        ("winXPProGuest", "winnt winxp"),
        ("winNetEnterprise64Guest", "winnt win2k3"),
        ("winLonghorn64Guest", "winnt win2k8"),
        ("win2000ProGuest", "winnt win2k"),
        ("windows7Server64Guest", "winnt win2k8r2"),
        ("windows8Server64Guest", "winnt win2k12"),
        ("windows9_64Guest", "winnt win10"),
        ("windows9Server64Guest", "winnt win2k16"),
        ("windows2019srv_64Guest", "winnt win2k19"),
        ("windows2019srvNext_64Guest", "winnt win2k22"),
        ("windows2022srvNext_64Guest", "winnt win2k25"),
        ("win98Guest", "win9x win98"),
        ("otherGuest64", " unknown"),
        ("vmkernel8Guest", " unknown"),
    ],
)
def test_words_of_vmware(word: str, name: str) -> None:
    assert named(word) == name


@pytest.mark.parametrize(
    ("word", "name"),
    [
        ("Ubuntu22_LTS_64", "linux ubuntu22"),
        ("Debian_64", "linux debian"),
        ("RedHat7_64", "linux rhel7"),
        ("Linux24", "linux linux2.4"),
        ("Linux26_64", "linux linux"),
        ("Windows2016_64", "winnt win2k16"),
        ("Windows81_64", "winnt win8.1"),
        ("WindowsNT4", "winnt winnt4.0"),
        ("WindowsMe", "win9x winme"),
        ("Windows10_64", "winnt win10"),
        ("rhel_8x64", "linux rhel8"),
        ("ubuntu_14_04", "linux ubuntu14.04"),
        ("windows_2008R2x64", "winnt win2k8r2"),
        ("windows_xp", "winnt winxp"),
    ],
)
def test_words_of_virtualbox_and_ovirt(word: str, name: str) -> None:
    assert named(word) == name


@pytest.mark.parametrize(
    ("description", "name"),
    [
        ("Microsoft Windows Server 2008 R2 (64-bit)", "winnt win2k8r2"),
        ("Debian GNU/Linux 10 (64-bit)", "linux debian10"),
        ("Red Hat Enterprise Linux 7 (64-bit)", "linux rhel7"),
        ("CentOS 4/5 or later (64-bit)", "linux centos4"),
        ("Other 5.x or later Linux (64-bit)", "linux linux2018"),
        ("The kind of installed guest operating system", " unknown"),
    ],
)
def test_descriptions(description: str, name: str) -> None:
    assert named(description=description) == name


def test_the_word_counts_before_the_description_and_both_before_the_number() -> None:
    assert named("debian10_64Guest", id=94, description="Ubuntu Linux 18.04") == "linux debian10"
    assert named(id=113, description="Microsoft Windows 10 (64-bit)") == "winnt win10"


def test_what_says_less_is_filled_up_by_what_says_the_same_and_more() -> None:
    assert named("ubuntu64Guest", description="Ubuntu Linux 22.04") == "linux ubuntu22.04"
    assert named("otherLinux64Guest", id=96) == "linux debian"
    assert named("ubuntu64Guest", description="Debian GNU/Linux 10 (64-bit)") == "linux ubuntu"


@pytest.mark.parametrize("number", range(111, 124))
def test_a_number_that_writers_disagree_about_is_some_windows(number: int) -> None:
    assert named(id=number) == "winnt win"


@pytest.mark.parametrize(
    ("number", "name"),
    [(96, "linux debian"), (98, "linux linux2.4"), (100, "linux linux"),
     (80, "linux rhel"), (101, "linux linux"), (103, "winnt win2k8r2"), (67, "winnt winxp"),
     (78, "freebsd freebsd"), (16, "win9x win95"), (18, "winnt winnt4.0"), (14, "msdos msdos"), (1, " unknown")],
)  # fmt: skip
def test_numbers(number: int, name: str) -> None:
    assert named(id=number) == name


def test_nothing_is_too_strange() -> None:
    assert named("\x00" * 10_000 + "debian12") == " unknown"
    assert named(id=99_999_999) == " unknown"


@pytest.mark.parametrize("word", ["winXPProGuest", "windows7_64Guest", "winLonghornGuest", "WindowsNT4", "win98Guest"])
def test_windows_before_8(word: str) -> None:
    assert guest_by_name(OperatingSystem(type=word)).is_old_windows


@pytest.mark.parametrize("word", ["windows8Guest", "windows9_64Guest", "windows8Server64Guest", "debian7Guest", ""])
def test_all_else_has_ahci(word: str) -> None:
    assert not guest_by_name(OperatingSystem(type=word)).is_old_windows
