"""Installs on libvirt that were killed, and what is done about them afterwards."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import libvirt
import pytest

import virt_ova
from tests.build.command import json_of
from tests.build.command import virt_ova as run
from tests.build.killed import Executioner, stuck
from tests.build.remote import Relay, RemoteHost, relay
from tests.build.small import listing, small_ova
from tests.integration.libvirt.conftest import Daemon
from tests.integration.libvirt.faraway import by_relay, left_of, package
from virt_ova.errors import TargetError
from virt_ova.plan.codec import to_json
from virt_ova.plan.plan import DiskMode
from virt_ova.stories.logbook import Heading, Logbook
from virt_ova.stories.recover import Outcome
from virt_ova.target.libvirt.records import expanded_record, volume_record
from virt_ova.target.libvirt.volume import changed_of
from virt_ova.target.record import Record, Recoverable
from virt_ova.target.registry import open_target

KILLS = 24
"""How many moments of an install are tried, evenly spread; with ``--long`` all."""


def sweep(
    ova: Path, uri: str, *, options: virt_ova.InstallOptions, left: Callable[[], list[str]], is_long: bool
) -> None:
    """Kill installs at moments from their begin to their end, and look at what `left` says after each recovery."""
    with virt_ova.open_package(ova) as package:
        plan = to_json(virt_ova.plan(package, options))
    before, outcomes = left(), set[Outcome]()
    with Executioner(ova, uri, plan=plan, pool="default") as executioner:
        end = executioner.count()
        remove_machine(uri)
        assert left() == before
        assert end > 50
        for number in range(0, end, 1 if is_long else max(1, end // KILLS)):
            assert executioner.run(number), number
            installs = virt_ova.recover()
            assert [(each.left, each.foreign) for each in installs] in ([], [((), ())]), (number, installs)
            outcomes.update(each.outcome for each in installs)
            if left() != before:
                assert not installs or installs[0].outcome is Outcome.FINISHED, number
                remove_machine(uri)
                assert left() == before
    assert outcomes >= {Outcome.UNDONE}
    assert virt_ova.recover() == ()


def remove_machine(uri: str) -> None:
    """Remove the machine that was installed, its disk and its network."""
    connection = libvirt.open(uri)
    connection.lookupByName("vm").undefine()
    connection.storagePoolLookupByName("default").storageVolLookupByName("vm-disk1.qcow2").delete(0)
    for network in connection.listAllNetworks(0):
        network.destroy()
        network.undefine()
    connection.close()


@pytest.fixture
def is_long(request: pytest.FixtureRequest) -> bool:
    return bool(request.config.getoption("--long"))


class TestKilled:
    """At system calls and calls of libvirt: all or nothing, and nothing else is touched."""

    def test_on_this_host(self, daemon: Daemon, tmp_path: Path, *, is_long: bool) -> None:
        folder = daemon.add_pool("default")
        (folder / "vm-disk2.qcow2").write_text("somebody's")

        def left() -> list[str]:
            others = (*daemon.connection.listAllDomains(0), *daemon.connection.listAllNetworks(0))
            return [*listing(folder), *(each.name() for each in others)]

        private = virt_ova.Connection(kind=virt_ova.ConnectionKind.PRIVATE, name="lab")
        options = virt_ova.InstallOptions(networks={"VM Network": private})
        sweep(small_ova(tmp_path / "a.ova"), daemon.uri, options=options, left=left, is_long=is_long)

    @pytest.mark.parametrize("mode", [DiskMode.TRANSPLANT, DiskMode.HOST_EXPAND])
    def test_on_another_host(self, host: RemoteHost, tmp_path: Path, mode: DiskMode, *, is_long: bool) -> None:
        ova = small_ova(tmp_path / "a.ova")
        options = virt_ova.InstallOptions(disk_mode=mode)
        sweep(ova, host.tcp, options=options, left=lambda: left_of(host), is_long=is_long)


@contextmanager
def killed_in_the_middle(ova: Path, uri: str) -> Iterator[None]:
    """An install that was killed when its image was whole, and nothing defined."""
    with virt_ova.open_package(ova) as package:
        plan = to_json(virt_ova.plan(package))
    with Executioner(ova, uri, plan=plan, pool="default") as executioner:
        end = executioner.count()
        remove_machine(uri)
        assert executioner.run(int(0.7 * end))
        yield


def test_a_trial_that_runs_when_its_install_is_killed(daemon: Daemon, tmp_path: Path) -> None:
    folder = daemon.add_pool("default")
    ova = small_ova(tmp_path / "a.ova")
    words = ("-c", daemon.uri, "--network", "VM Network=none", "--wait-boot", "60", "--boot-fallback")
    at = "virt_ova.target.libvirt.domain:LibvirtDomain._start"
    with stuck(ova, *words, at=at, PATH=os.environ["PATH"]):
        (domain,) = daemon.connection.listAllDomains(libvirt.VIR_CONNECT_LIST_DOMAINS_ACTIVE)
        assert domain.name() == "vm"
        assert len(listing(folder)) == 2, "an image, and what is written over it"
    done = run("recover")
    assert (done.returncode, done.stdout.startswith("Undone: vm on ")) == (0, True)
    assert daemon.connection.listAllDomains(0) == []
    assert listing(folder) == []


class TestLostLine:
    """A line to another host that breaks, and comes back only for the recovery."""

    CUTS = 12

    @pytest.mark.parametrize("mode", [DiskMode.TRANSPLANT, DiskMode.HOST_EXPAND])
    def test_whenever_it_breaks(self, host: RemoteHost, tmp_path: Path, mode: DiskMode, *, is_long: bool) -> None:
        ova, _ = package(tmp_path, 8)
        options = virt_ova.InstallOptions(pool="default", disk_mode=mode)
        with relay(host.tcp_port) as line:
            virt_ova.install(ova, by_relay(host.tcp, host.tcp_port, line), options=options)
            sent_bytes = line.sent_bytes
        remove_machine(host.tcp)
        outcomes = set()
        for after in range(0, sent_bytes, sent_bytes // (200 if is_long else self.CUTS)):
            with relay(host.tcp_port, after=after, act=Relay.close) as line:
                uri = by_relay(host.tcp, host.tcp_port, line)
                with suppress(virt_ova.VirtOvaError):
                    virt_ova.install(ova, uri, options=options)
                    remove_machine(host.tcp)  # the line broke when nothing more was to be said
            with relay(host.tcp_port, port=line.port):
                outcomes |= recovered_after(after, host)
        assert outcomes == {Outcome.UNDONE}


def recovered_after(after: int, host: RemoteHost) -> set[Outcome]:
    """Recover what was left, and see that nothing is."""
    installs = virt_ova.recover()
    assert [(each.left, each.foreign) for each in installs] in ([], [((), ())]), (after, installs)
    assert left_of(host) == [], after
    return {each.outcome for each in installs}


class TestForeign:
    """What others made since is left alone."""

    @pytest.mark.parametrize("is_remote", [False, True])
    def test_the_same_machine_installed_again(
        self, request: pytest.FixtureRequest, tmp_path: Path, *, is_remote: bool
    ) -> None:
        """An inode may come again, and the image begins with the same bytes."""
        uri = uri_of(request, is_remote=is_remote)
        ova = small_ova(tmp_path / "a.ova")
        with killed_in_the_middle(ova, uri):
            connection = libvirt.open(uri)
            connection.storagePoolLookupByName("default").storageVolLookupByName("vm-disk1.qcow2").delete(0)
            result = virt_ova.install(ova, uri, options=virt_ova.InstallOptions(pool="default"))
            (install,) = virt_ova.recover()
            assert (install.outcome, install.removed, install.left) == (Outcome.UNDONE, (), ())
            assert install.foreign == ("volume vm-disk1.qcow2",)
            assert connection.storageVolLookupByPath(result.volumes[0].path)
            connection.close()
        remove_machine(uri)

    @pytest.mark.parametrize("is_remote", [False, True])
    def test_another_volume_of_that_name(
        self, request: pytest.FixtureRequest, tmp_path: Path, *, is_remote: bool
    ) -> None:
        uri = uri_of(request, is_remote=is_remote)
        with killed_in_the_middle(small_ova(tmp_path / "a.ova"), uri):
            connection = libvirt.open(uri)
            pool = connection.storagePoolLookupByName("default")
            pool.storageVolLookupByName("vm-disk1.qcow2").delete(0)
            other = pool.createXML("<volume><name>vm-disk1.qcow2</name><capacity>70000</capacity></volume>", 0)
            (install,) = virt_ova.recover()
            assert (install.removed, install.foreign, install.left) == ((), ("volume vm-disk1.qcow2",), ())
            other.delete(0)
            connection.close()

    def test_a_volume_that_a_machine_uses(self, host: RemoteHost, tmp_path: Path) -> None:
        """It begins with what an upload that was killed began with, and may be that one."""
        options = virt_ova.InstallOptions(pool="default")
        volume = virt_ova.install(small_ova(tmp_path / "a.ova"), host.tcp, options=options).volumes[0]
        head = (host.root / volume.path[1:]).read_bytes()
        for is_used in (True, False):
            if not is_used:
                connection = libvirt.open(host.tcp)
                connection.lookupByName("vm").undefine()
                connection.close()
            book = Logbook.begin(Heading(target=host.tcp, pool="default"))
            book.note(volume_record("default", volume.name, length=12345, head=head))
            book.close()
            (install,) = virt_ova.recover()
            what = (f"volume {volume.name}",)
            assert (install.foreign, install.removed) == ((what, ()) if is_used else ((), what))
        assert left_of(host) == []

    @pytest.mark.parametrize(
        ("record", "problem"),
        [
            (
                volume_record("default", "vm-disk1.qcow2", length=12345, head=bytes(40 << 10)),
                "has 1000 bytes, too few to compare it with what was uploaded",
            ),
            (
                expanded_record("default", "vm-disk1.qcow2", capacity_bytes=1000, uploaded="1700000000.000000001"),
                "may have been made from what was uploaded, which has gone",
            ),
        ],
        ids=["an upload that is too short", "a volume that was being expanded"],
    )
    def test_what_nobody_can_tell(self, host: RemoteHost, record: Record, problem: str) -> None:
        connection = libvirt.open(host.tcp)
        pool = connection.storagePoolLookupByName("default")
        volume = pool.createXML("<volume><name>vm-disk1.qcow2</name><capacity>1000</capacity></volume>", 0)
        with closing(open_target(host.tcp)) as target:
            assert isinstance(target, Recoverable)
            with pytest.raises(TargetError) as caught:
                target.remove(record)
        assert caught.value.code == "E_UNCERTAIN"
        book = Logbook.begin(Heading(target=host.tcp, pool="default"))
        book.note(record)
        book.close()
        (install,) = virt_ova.recover()
        (left,) = install.left
        assert left.message == f"the volume 'vm-disk1.qcow2' {problem}"
        assert left.hint == f"virsh -c {host.tcp} vol-delete --pool default vm-disk1.qcow2"
        volume.delete(0)
        assert [each.outcome for each in virt_ova.recover()] == [Outcome.UNDONE]
        connection.close()

    def test_another_domain_of_that_name(self, daemon: Daemon, tmp_path: Path) -> None:
        daemon.add_pool("default")
        ova = small_ova(tmp_path / "a.ova")
        with virt_ova.open_package(ova) as package:
            plan = to_json(virt_ova.plan(package))
        xml = "<domain type='qemu'><name>vm</name><memory>65536</memory><os><type>hvm</type></os></domain>"
        with Executioner(ova, daemon.uri, plan=plan, pool="default") as executioner:
            for number in reversed(range(executioner.count())):
                virt_ova.recover()
                if daemon.connection.listAllDomains(0):
                    remove_machine(daemon.uri)
                assert executioner.run(number)
                if not daemon.connection.listAllDomains(0):
                    break  # at the last moment before it is defined
            other = daemon.connection.defineXML(xml)
            (install,) = virt_ova.recover()
        assert (install.removed, install.foreign, install.left) == (("volume vm-disk1.qcow2",), (), ())
        other.undefine()


class TestAtOnce:
    """Many installs of one package."""

    MANY = 20

    @pytest.mark.parametrize("is_remote", [False, True])
    def test_of_one_name(self, request: pytest.FixtureRequest, tmp_path: Path, *, is_remote: bool) -> None:
        uri = uri_of(request, is_remote=is_remote)
        ova = small_ova(tmp_path / "a.ova")
        with ThreadPoolExecutor(self.MANY) as pool:
            done = list(pool.map(lambda _: outcome_of(ova, uri, "vm"), range(self.MANY)))
        installed = [each for each in done if isinstance(each, virt_ova.InstallResult)]
        failed = [each for each in done if isinstance(each, virt_ova.VirtOvaError)]
        assert (len(installed), len(failed)) == (1, self.MANY - 1)
        assert {error.code for error in failed} == {"E_EXISTS"}, failed
        connection = libvirt.open(uri)
        volumes = connection.storagePoolLookupByName("default").listVolumes()
        domains = [domain.name() for domain in connection.listAllDomains(0)]
        connection.close()
        assert (volumes, domains) == (["vm-disk1.qcow2"], ["vm"])
        remove_machine(uri)
        assert virt_ova.recover() == ()

    @pytest.mark.parametrize("is_remote", [False, True])
    def test_of_different_names(self, request: pytest.FixtureRequest, tmp_path: Path, *, is_remote: bool) -> None:
        uri = uri_of(request, is_remote=is_remote)
        ova = small_ova(tmp_path / "a.ova")
        names = [f"vm{number}" for number in range(self.MANY)]
        with ThreadPoolExecutor(self.MANY) as pool:
            done = list(pool.map(lambda name: outcome_of(ova, uri, name), names))
        results = [each for each in done if isinstance(each, virt_ova.InstallResult)]
        assert len(results) == self.MANY, done
        root = request.getfixturevalue("host").root if is_remote else Path("/")
        images = [root / result.volumes[0].path[1:] for result in results]
        assert len({hashlib.sha256(image.read_bytes()).hexdigest() for image in images}) == 1
        assert virt_ova.recover() == ()

    def test_on_a_host_without_a_pool(self, daemon: Daemon, tmp_path: Path) -> None:
        """Each of them wants to make it."""
        ova = small_ova(tmp_path / "a.ova")
        with ThreadPoolExecutor(self.MANY) as pool:
            done = list(
                pool.map(lambda number: outcome_of(ova, daemon.uri, f"vm{number}", pool=None), range(self.MANY))
            )
        results = [each for each in done if isinstance(each, virt_ova.InstallResult)]
        assert len(results) == self.MANY, done
        made = [finding.code for result in results for finding in result.findings].count("POOL_CREATED")
        assert made == 1


def outcome_of(
    ova: Path, uri: str, name: str, pool: str | None = "default"
) -> virt_ova.InstallResult | virt_ova.VirtOvaError:
    """What came of an install."""
    try:
        return virt_ova.install(ova, uri, options=virt_ova.InstallOptions(name=name, pool=pool))
    except virt_ova.VirtOvaError as exc:
        return exc


def uri_of(request: pytest.FixtureRequest, *, is_remote: bool) -> str:
    """A host with the pool ``default``: this one, or another."""
    if is_remote:
        return str(request.getfixturevalue("host").tcp)
    daemon: Daemon = request.getfixturevalue("daemon")
    daemon.add_pool("default")
    return daemon.uri


def test_no_secret_of_the_uri_is_in_the_journal(
    daemon: Daemon, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    daemon.add_pool("default")
    written = []

    def leave(book: Logbook) -> None:
        written.append(book.path.read_text())
        book.close()

    monkeypatch.setattr(Logbook, "remove", leave)
    ova = small_ova(tmp_path / "a.ova")
    uri = f"{daemon.uri}&password=correct-horse"
    virt_ova.install(ova, uri, options=virt_ova.InstallOptions(pool="default"))
    (text,) = written
    assert "correct-horse" not in text
    assert f'"target": "{daemon.uri}"' in text
    monkeypatch.undo()
    (install,) = virt_ova.recover(uri)
    assert (install.outcome, install.target) == (Outcome.FINISHED, daemon.uri)


class TestResume:
    """An install that goes on where another one was killed."""

    @pytest.mark.parametrize(
        ("mode", "is_remote"),
        [(DiskMode.TRANSPLANT, False), (DiskMode.TRANSPLANT, True), (DiskMode.HOST_EXPAND, True)],
    )
    def test_a_whole_image_is_used(
        self, request: pytest.FixtureRequest, tmp_path: Path, mode: DiskMode, *, is_remote: bool
    ) -> None:
        uri = uri_of(request, is_remote=is_remote)
        words = (small_ova(tmp_path / "a.ova"), "-c", uri, "--pool", "default", "--disk-mode", mode)
        with stuck(*words, images=0):
            connection = libvirt.open(uri)
            volume = connection.storagePoolLookupByName("default").storageVolLookupByName("vm-disk1.qcow2")
            before = changed_of(volume)
        done = run("install", *words, "--resume", "--json")
        assert done.returncode == 0, done.stderr
        assert "RESUMED" in {finding["code"] for finding in json_of(done)["findings"]}
        assert (changed_of(volume), json_of(done)["volumes"][0]["mode"]) == (before, mode)
        assert virt_ova.recover() == ()
        connection.close()
        remove_machine(uri)
