"""A package's EFI variables on libvirt: a volume of the machine's own, which comes and goes with it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import libvirt
import pytest

from tests.build.efivars import FRESH, with_variables
from tests.build.killed import Executioner
from tests.build.remote import RemoteHost
from tests.build.small import efi_ova
from tests.integration.libvirt.conftest import Daemon
from virt_ova.errors import TargetError
from virt_ova.plan.codec import to_json
from virt_ova.plan.options import InstallOptions
from virt_ova.plan.plan import InstallPlan
from virt_ova.progress import SilentMonitor
from virt_ova.stories.install import install, preflight
from virt_ova.stories.recover import Outcome, recover
from virt_ova.target.libvirt.target import open_connection

MENU = with_variables(FRESH.read_bytes(), {"Boot0000": b"an entry"})
OPTIONS = InstallOptions(pool="default", virt_type="qemu")
NAMES = ["vm-disk1.qcow2", "vm-efi-vars.fd"]


@dataclass(frozen=True, kw_only=True)
class Place:
    """A host with the pool ``default``, which lies in `folder`, and a package whose variables are `MENU`."""

    uri: str
    folder: Path
    connection: Any
    ova: Path

    def left(self) -> list[str]:
        """Volumes and machines."""
        self.connection.storagePoolLookupByName("default").refresh(0)
        listed = self.connection.storagePoolLookupByName("default").listVolumes()
        assert sorted(listed) == sorted(path.name for path in self.folder.iterdir())
        return sorted([*listed, *(domain.name() for domain in self.connection.listAllDomains(0))])

    def plan(self) -> InstallPlan:
        """That of an install."""
        return preflight(self.ova, self.uri, options=OPTIONS)


@pytest.fixture(params=["here", "elsewhere"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    ova = efi_ova(tmp_path / "a.ova", MENU)
    if request.param == "here":
        daemon: Daemon = request.getfixturevalue("daemon")
        yield Place(uri=daemon.uri, folder=daemon.add_pool("default"), connection=daemon.connection, ova=ova)
    else:
        host: RemoteHost = request.getfixturevalue("host")
        connection = libvirt.open(host.uri)
        yield Place(uri=host.tcp, folder=host.images, connection=connection, ova=ova)
        connection.close()


def remove(place: Place) -> None:
    """What a person does: the machine and all its storage."""
    place.connection.lookupByName("vm").undefineFlags(libvirt.VIR_DOMAIN_UNDEFINE_KEEP_NVRAM)
    for name in NAMES:
        place.connection.storagePoolLookupByName("default").storageVolLookupByName(name).delete(0)


def test_they_are_what_the_machine_starts_with(place: Place) -> None:
    result = install(place.ova, place.uri, options=OPTIONS)
    assert [volume.name for volume in result.volumes] == NAMES
    assert (place.folder / "vm-efi-vars.fd").read_bytes() == MENU
    domain = place.connection.lookupByName("vm")
    assert f">{result.volumes[1].path}</nvram>" in domain.XMLDesc(0)
    assert result.volumes[1].path.endswith("/vm-efi-vars.fd")
    domain.create()
    domain.destroy()
    remove(place)


def test_a_failure_at_the_end_takes_them_back(place: Place) -> None:
    class Broken(SilentMonitor):
        def begin(self, step: str, total_bytes: int | None = None) -> None:  # noqa: ARG002 - a monitor's
            if step.startswith("Starting"):
                assert place.left() == ["vm", *NAMES]
                raise OSError(step)

    with pytest.raises(OSError, match=r"^Starting vm$"):
        install(
            place.ova, place.uri, options=InstallOptions(pool="default", virt_type="qemu", start=True), monitor=Broken()
        )
    assert place.left() == []


def test_a_try_has_a_copy_of_them(place: Place) -> None:
    machine = place.plan().machines[0]
    target = open_connection(place.uri, pool="default")
    volumes = {}
    for transfer in place.plan().transfers:
        volumes[transfer.id] = volume = target.create_volume(transfer, len(MENU))
        content = MENU if transfer.id == machine.firmware.variables else b"x"
        volume.sink.write_at(0, [content])
        volume.sink.finish(len(content))
    trial = target.define_trial(machine, volumes)
    assert place.left() == ["vm", *NAMES, "vm-trial-efi-vars.fd"]
    assert (place.folder / "vm-trial-efi-vars.fd").read_bytes() == MENU
    assert "/vm-trial-efi-vars.fd</nvram>" in place.connection.lookupByName("vm").XMLDesc(0)
    trial.discard()
    assert place.left() == NAMES
    blocker = place.connection.defineXML(
        "<domain type='qemu'><name>vm</name><memory>65536</memory><os><type>hvm</type></os></domain>"
    )
    with pytest.raises(TargetError, match=r"^a domain 'vm' exists already$"):
        target.define_trial(machine, volumes)
    blocker.undefine()
    assert place.left() == NAMES
    for volume in volumes.values():
        volume.discard()
    target.close()


def test_an_install_that_was_killed_leaves_none(place: Place) -> None:
    outcomes = set[Outcome]()
    with Executioner(place.ova, place.uri, plan=to_json(place.plan()), pool="default") as executioner:
        end = executioner.count()
        remove(place)
        for number in (int(end * part) for part in (0.6, 0.75, 0.9)):
            assert executioner.run(number)
            installs = recover()
            assert [(each.left, each.foreign) for each in installs] in ([], [((), ())]), (number, installs)
            outcomes.update(each.outcome for each in installs)
            if place.left():
                assert not installs or installs[0].outcome is Outcome.FINISHED
                remove(place)
    assert Outcome.UNDONE in outcomes


def test_those_that_a_machine_uses_are_left(place: Place) -> None:
    """The machine came after the install was killed."""
    with Executioner(place.ova, place.uri, plan=to_json(place.plan()), pool="default") as executioner:
        end = executioner.count()
        remove(place)
        assert executioner.run(int(end * 0.75))
    before = place.left()
    assert "vm-efi-vars.fd" in before
    path = place.connection.storagePoolLookupByName("default").storageVolLookupByName("vm-efi-vars.fd").path()
    described = (
        "<domain type='qemu'><name>other</name><memory>65536</memory><os firmware='efi'>"
        f"<type machine='q35'>hvm</type><nvram>{path}</nvram></os><features><acpi/></features></domain>"
    )
    if "vm" in before:
        place.connection.lookupByName("vm").undefineFlags(libvirt.VIR_DOMAIN_UNDEFINE_KEEP_NVRAM)
    other = place.connection.defineXML(described)
    (install_,) = recover()
    assert install_.foreign == ("volume vm-efi-vars.fd",)
    assert place.left() == ["other", "vm-efi-vars.fd"]
    other.undefineFlags(libvirt.VIR_DOMAIN_UNDEFINE_NVRAM)
