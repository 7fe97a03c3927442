"""Imports that were killed, and what is done about them afterwards."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from pyVmomi import vim

import virt_ova
from tests.build.command import command, environment, json_of
from tests.build.command import virt_ova as run
from tests.build.killed import Executioner
from tests.build.ova import build_ova, with_manifest
from tests.build.small import listing
from tests.build.vsphere import PASSWORD, USER, VSphere, started
from tests.integration.vsphere.conftest import everything, looked_into, placed_in
from tests.integration.vsphere.test_faults import AGAIN, WEB, random_package
from tests.integration.vsphere.test_install import two_machines
from virt_ova import InstallOptions
from virt_ova.plan.codec import to_json
from virt_ova.stories.install import preflight
from virt_ova.stories.logbook import Heading, Logbook
from virt_ova.stories.recover import Left, Outcome, RecoveredInstall
from virt_ova.target.record import Record

KILLS = 12
"""How many moments of an import are tried, evenly spread; with ``--long`` all."""

BEFORE_THE_JOURNAL_GOES = 9
"""So many moments before the end, all machines are complete, and the journal says so."""

BY_HAND = (
    "Remove it in the host's or the vCenter's client. The lease of an install that was killed may still hold it: the "
    "server takes that back within minutes, and the machine with it."
)
UUID = "11111111-2222-4333-8444-555555555555"


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One of 4 MB."""
    return random_package(tmp_path_factory.mktemp("p"), 60)


@pytest.fixture
def state(state_home: Path) -> Path:
    """The folder of the journals; empty."""
    folder = state_home / "virt-ova"
    assert listing(folder) == []
    return folder


def remove(vsphere: VSphere, *names: str) -> None:
    """Remove machines and vApps."""
    with placed_in(vsphere) as place:
        for each in place.entities():
            if each.name in names:
                each.Destroy_Task()


def recovered() -> RecoveredInstall:
    """What became of the one install that was killed."""
    (install,) = virt_ova.recover()
    return install


def test_whenever_it_is_killed(tmp_path: Path, vsphere: VSphere, request: pytest.FixtureRequest) -> None:
    """All or nothing: machines one by one on a host, in a vApp on a vCenter."""
    package = build_ova(tmp_path / "a.ova", with_manifest(two_machines()))
    plan, before, outcomes = to_json(preflight(package, vsphere.uri())), everything(vsphere), set[Outcome]()
    with Executioner(package, vsphere.uri(), plan=plan) as executioner:
        end = executioner.count()
        after = everything(vsphere)
        made = set(after) - set(before)
        assert made == ({"all", "all/vm", "all/db"} if vsphere.is_vcenter else {"vm", "db"})
        remove(vsphere, *made)
        numbers = range(0, end, 1 if request.config.getoption("--long") else end // KILLS)
        for number in sorted({*numbers, end - BEFORE_THE_JOURNAL_GOES}):
            assert executioner.run(number), number
            installs = virt_ova.recover()
            assert [(each.left, each.foreign) for each in installs] in ([], [((), ())]), (number, installs)
            outcomes.update(each.outcome for each in installs)
            if everything(vsphere) != before:
                assert everything(vsphere) == after
                assert not installs or installs[0].outcome is Outcome.FINISHED, number
                remove(vsphere, *made)
    assert outcomes == {Outcome.UNDONE, Outcome.FINISHED}
    assert virt_ova.recover() == ()


@contextmanager
def killed(package: Path, vsphere: VSphere, *, name: str = "web") -> Iterator[None]:
    """An import that was killed while it sent."""
    vsphere.set_faults(PauseMs=20)
    words = command("install", package, "-c", vsphere.uri(), "--name", name)
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment()) as process:
        while not vsphere.seen()["Uploads"]:
            time.sleep(0.05)
        process.send_signal(signal.SIGKILL)
    vsphere.set_faults()
    yield
    for journal in Path(os.environ["XDG_STATE_HOME"], "virt-ova").iterdir():
        journal.unlink()


def test_the_command_tells_what_it_removed(package: Path, vsphere: VSphere, state: Path) -> None:
    before, bare = everything(vsphere), vsphere.uri().partition("?")[0]
    with killed(package, vsphere):
        (journal,) = state.iterdir()
        assert PASSWORD not in journal.read_text()
        assert f'"target": "{bare}", "opened_by": "{vsphere.uri()}"' in journal.read_text()
        again = run("install", package, "-c", vsphere.uri(), "--name", "web")
        assert again.stderr.endswith("An install was killed there: 'virt-ova recover' takes back what it made.\n")
        done = run("recover")
        assert (done.returncode, done.stderr) == (0, "Removed machine web\n")
        assert done.stdout.startswith(f"Undone: web on {bare}, begun 20")
        assert (everything(vsphere), listing(state)) == (before, [])


def test_another_machine_of_that_name_is_not_looked_at(package: Path, esx: VSphere) -> None:
    with killed(package, esx):
        remove(esx, "web")
        virt_ova.install(package, esx.uri(), options=WEB)
        assert (recovered().removed, "web" in everything(esx)) == ((), True)


def test_a_machine_that_has_another_uuid_by_now_is_left_alone(package: Path, esx: VSphere) -> None:
    with killed(package, esx):
        with looked_into(esx) as folder:
            machine = next(each for each in folder.childEntity if each.name == "web")
            machine.ReconfigVM_Task(vim.vm.ConfigSpec(uuid=UUID))
        install = recovered()
        assert (install.outcome, install.removed, install.foreign) == (Outcome.UNDONE, (), ("machine web",))
        assert "web" in everything(esx)


@contextmanager
def written(uri: str, *records: Record) -> Iterator[Path]:
    """The journal of an install that was killed, as if it had told of `records`."""
    book = Logbook.begin(Heading(target=uri.partition("?")[0], opened_by=uri, machines=("web",)))
    for record in records:
        book.note(record)
    book.close()
    yield book.path
    book.path.unlink(missing_ok=True)


@pytest.mark.usefixtures("esx")
def test_a_server_that_cannot_be_reached_loses_nothing(state: Path) -> None:
    uri = f"esx://{USER}@127.0.0.1:1/"
    with written(f"{uri}?no_verify=1", Record(kind="machine", name="web", key={"uuid": UUID})) as journal:
        done = run("recover")
        assert done.returncode == 3
        assert done.stdout.splitlines()[1:] == [
            f"  connecting to '{uri}' failed: Connection refused",
            f"    hint: {AGAIN}",
            f"  journal: {journal}",
        ]
        assert listing(state) == [journal.name]


def test_what_the_server_does_not_remove_is_told(
    package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with started(tmp_path) as esx:
        monkeypatch.setenv("LIBVIRT_AUTH_FILE", str(esx.auth_file))
        esx.set_faults(KeepMachine=True)
        virt_ova.install(package, esx.uri(), options=WEB)
        with looked_into(esx) as folder:
            machine = next(each for each in folder.childEntity if each.name == "web")
            key = {"uuid": machine.config.uuid}
        with written(esx.uri(), Record(kind="machine", name="web", key=key)) as journal:
            install = json_of(run("recover", "--json"))["installs"][0]
            assert install["outcome"] == "incomplete"
            (left,) = install["left"]
            assert left["object"] == "machine web"
            assert left["message"].startswith("removing 'web' failed: ")
            assert left["hint"] == BY_HAND
            assert journal.exists()


def test_a_vapp_whose_uuid_is_not_told_is_left_alone(vcenter: VSphere) -> None:
    with looked_into(vcenter) as folder:
        compute = folder.parent.hostFolder.childEntity[0]
        share = vim.ResourceAllocationInfo(
            reservation=0, limit=-1, expandableReservation=True, shares=vim.SharesInfo(level="normal", shares=0)
        )
        spec = vim.ResourceConfigSpec(cpuAllocation=share, memoryAllocation=share)
        group = compute.resourcePool.CreateVApp("shop", spec, vim.vApp.VAppConfigSpec(), folder)
        moid = group._GetMoId()
    with written(vcenter.uri(), Record(kind="vApp", name="shop", key={"uuid": UUID, "moid": moid})):
        assert recovered().left == (
            Left(
                object="vApp shop",
                message=f"the server does not tell the UUID of the vApp 'shop', expected {UUID}",
                hint=BY_HAND,
            ),
        )
    assert "shop" in everything(vcenter)


def test_a_person_is_asked_once(esx: VSphere, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIBVIRT_AUTH_FILE", os.devnull)
    asked = []

    def ask(prompt: str, *, is_secret: bool) -> str:
        asked.append((prompt, is_secret))
        return PASSWORD

    record = Record(kind="machine", name="web", key={"uuid": UUID})
    with written(esx.uri(), record), written(esx.uri(), record):
        installs = virt_ova.recover(esx.uri(), ask=ask)
    assert [each.outcome for each in installs] == [Outcome.UNDONE] * 2
    assert asked == [(f"Password of {USER} for 127.0.0.1: ", True)]


def test_a_vapp_is_half_made_when_the_answer_is_lost(tmp_path: Path, vcenter: VSphere) -> None:
    package = build_ova(tmp_path / "a.ova", with_manifest(two_machines()))
    before = everything(vcenter)
    vcenter.set_faults(LoseAnswer=True)
    with pytest.raises(virt_ova.TargetError, match=r"^making 'shop' failed: ") as caught:
        virt_ova.install(package, vcenter.uri(), options=InstallOptions(name="shop"))
    assert (caught.value.code, caught.value.hint) == ("E_CONNECT", AGAIN)
    assert everything(vcenter) == before
