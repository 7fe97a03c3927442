"""Who may read a package, and what is refused before a link is made."""

from __future__ import annotations

import os
import struct
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import libvirt
import pytest

from virt_ova.errors import TargetError
from virt_ova.plan.inputs import Backing
from virt_ova.target.libvirt import link

OWNER, USER, GROUP = 40001, 40002, 40003
"""Of nobody."""

CAPABILITIES = """<capabilities><host>
<secmodel><model>apparmor</model><doi>0</doi></secmodel>
<secmodel><model>dac</model><doi>0</doi><baselabel type='kvm'>+64055:+108</baselabel>
<baselabel type='qemu'>+64055:+108</baselabel></secmodel>
</host></capabilities>"""


def backing(path: str = "/a.ova", image_format: str = "vmdk") -> Backing:
    return Backing(
        path=path, size_bytes=1, modified_ns=1, member="d.vmdk", image_format=image_format, offset=512, length=512
    )


@pytest.fixture
def connection() -> Iterator[libvirt.virConnect]:
    opened = libvirt.open("test:///default")
    yield opened
    opened.close()


def refusal(connection: libvirt.virConnect, one: Backing, *, is_local: bool = True) -> tuple[str, str]:
    with pytest.raises(TargetError) as caught:
        link.check(connection, one, uri="qemu+ssh://host/system", is_local=is_local)
    assert caught.value.code == "E_DISK_LINK"
    return caught.value.message, caught.value.hint


def test_another_host_cannot_read_the_package(connection: libvirt.virConnect) -> None:
    assert refusal(connection, backing(), is_local=False) == (
        "the disk cannot be linked: qemu+ssh://host/system is another host, and the package is on this one",
        "Use --disk-mode transplant or expand.",
    )


def test_libvirt_does_not_know_every_format_of_qemu(connection: libvirt.virConnect) -> None:
    assert refusal(connection, backing(image_format="vhdx")) == (
        "the disk cannot be linked: libvirt does not know the format vhdx",
        "Use --disk-mode expand.",
    )


def test_where_qemu_runs_as_the_caller_nothing_is_in_the_way(connection: libvirt.virConnect) -> None:
    link.check(connection, backing("/root/not there"), uri="test:///default", is_local=True)


def test_libvirt_tells_who_runs_qemu() -> None:
    assert link.qemu_owner(CAPABILITIES) == (64055, 108)
    assert link.qemu_owner(CAPABILITIES.replace("+64055:+108", "system_u:system_r:svirt_t:s0")) is None
    assert link.qemu_owner("<capabilities><host><secmodel><model>none</model></secmodel></host></capabilities>") is None


@pytest.fixture
def package() -> Iterator[Path]:
    """``outer/inner/a.ova``, which is its owner's alone, in folders that all may pass."""
    with tempfile.TemporaryDirectory(prefix="virt-ova-tests-") as name:
        file = Path(name, "outer/inner/a.ova")
        file.parent.mkdir(parents=True)
        for folder in (Path(name), file.parent.parent, file.parent):
            folder.chmod(0o711)
        file.touch(0o600)
        yield file


def barrier(package: Path, user: int = USER, group: int = GROUP) -> str:
    """Name of what is in the way; the kernel agrees that something is, or nothing."""
    found = link.barrier_for(package, user, group)
    if os.geteuid() == 0:
        switch = ("setpriv", f"--reuid={user}", f"--regid={group}", "--clear-groups")
        done = subprocess.run([*switch, "cat", package], capture_output=True, check=False)
        assert (done.returncode == 0) == (found is None)
    return found.name if found else ""


def test_permission_bits_count_for_others(package: Path) -> None:
    assert barrier(package) == "a.ova"
    package.chmod(0o604)
    assert barrier(package) == ""
    package.parent.chmod(0o706)
    assert barrier(package) == "inner"
    package.parent.parent.chmod(0o700)
    assert barrier(package) == "outer"
    assert barrier(package, 0) == ""


def test_permission_bits_count_for_the_owner_and_the_group(package: Path) -> None:
    own = package.stat()
    if own.st_uid == 0:
        os.chown(package, OWNER, -1)
    owner = package.stat().st_uid
    package.chmod(0o244)
    assert (barrier(package, user=owner), barrier(package)) == ("a.ova", "")
    package.chmod(0o400)
    assert (barrier(package, user=owner), barrier(package)) == ("", "a.ova")
    package.chmod(0o604)
    assert barrier(package, group=own.st_gid) == "a.ova"
    package.chmod(0o640)
    assert barrier(package, group=own.st_gid) == ""


def set_acl(path: Path, *entries: tuple[int, int, int]) -> None:
    """Tag, permissions and id of each entry; those that every list must have come by themselves."""
    always = {0x01: 6, 0x04: 0, 0x20: 0} | ({0x10: 7} if entries else {})
    given = {tag for tag, _, _ in entries}
    whole = [*entries, *((tag, bits, 0xFFFFFFFF) for tag, bits in always.items() if tag not in given)]
    data = struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in sorted(whole))
    try:
        os.setxattr(path, "system.posix_acl_access", data)
    except OSError as exc:
        pytest.skip(f"no access control lists here: {exc}")


@pytest.mark.parametrize(
    ("entries", "expected"),
    [
        ([(0x02, 4, USER)], ""),
        ([(0x02, 0, USER), (0x20, 4, 0xFFFFFFFF)], "a.ova"),
        ([(0x02, 4, USER), (0x10, 3, 0xFFFFFFFF)], "a.ova"),
        ([(0x02, 4, OWNER)], "a.ova"),
        ([(0x08, 4, GROUP)], ""),
        ([(0x08, 0, GROUP), (0x20, 4, 0xFFFFFFFF)], "a.ova"),
        ([(0x08, 4, GROUP), (0x10, 0, 0xFFFFFFFF)], "a.ova"),
        ([(0x08, 0, OWNER), (0x20, 4, 0xFFFFFFFF)], ""),
    ],
)
def test_access_control_lists_count(package: Path, entries: list[tuple[int, int, int]], expected: str) -> None:
    set_acl(package, *entries)
    assert barrier(package) == expected


@pytest.mark.parametrize(("bits", "expected"), [(4, ""), (0, "a.ova")])
def test_the_groups_own_entry_counts_not_the_mask(package: Path, bits: int, expected: str) -> None:
    set_acl(package, (0x04, bits, 0xFFFFFFFF), (0x02, 4, OWNER))
    assert barrier(package, group=package.stat().st_gid) == expected
