"""What goes wrong while a machine is imported: nothing is left, and the message says what to do."""

from __future__ import annotations

import os
import re
import time
from pathlib import Path

import pytest

import virt_ova
from tests.build.command import stopped
from tests.build.disks import KIB, SECTOR, sparse_vmdk
from tests.build.ova import build_ova, descriptor, with_manifest
from tests.build.small import small_ova
from tests.build.vsphere import USER, VSphere, started, thumbprint
from tests.integration.vsphere.conftest import everything, machines
from tests.integration.vsphere.test_install import two_machines
from virt_ova import InstallOptions, TargetError
from virt_ova.target.esx import lease, upload

WEB = InstallOptions(name="web")
AGAIN = "Check that the host is there and the network is up, then try again."
LOOK = "Look at the host's log (hostd.log, vpxd.log) for the reason; 503 mostly means that it is busy."
LEASE = "Try again; if it fails in the same place, look at the events of the host or vCenter."
SESSION = "The session was ended on the server, by a timeout or by an administrator: try again."


def random_package(folder: Path, grains: int) -> Path:
    """A package whose disk has so many grains of random bytes."""
    capacity = grains * 64 * KIB
    image = sparse_vmdk(capacity // SECTOR, {number: os.urandom(64 * KIB) for number in range(grains)})
    text = descriptor([("d.vmdk", len(image))], capacity=str(capacity))
    return build_ova(folder / "a.ova", with_manifest([("a.ovf", text), ("d.vmdk", image)]))


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One of 4 MB."""
    return random_package(tmp_path_factory.mktemp("p"), 60)


def failure(package: Path, vsphere: VSphere) -> TargetError:
    """The error of an install, which left nothing."""
    before = machines(vsphere)
    with pytest.raises(TargetError) as caught:
        virt_ova.install(package, vsphere.uri(), options=WEB)
    assert machines(vsphere) == before
    return caught.value


@pytest.mark.parametrize("percent", [0, 50, 100])
def test_a_connection_that_is_cut(package: Path, vsphere: VSphere, percent: int) -> None:
    vsphere.set_faults(Action="cut", At=percent)
    error = failure(package, vsphere)
    assert error.code == "E_CONNECT"
    assert error.message.startswith("sending 'd.vmdk', at byte ")
    assert error.hint == AGAIN
    assert (vsphere.seen()["Aborts"], vsphere.seen()["Completes"]) == (1, 0)


def test_an_answer_that_is_cut_after_the_last_byte(package: Path, vsphere: VSphere) -> None:
    vsphere.set_faults(Action="half-answer", At=100)
    error = failure(package, vsphere)
    assert (error.code, error.hint) == ("E_CONNECT", AGAIN)
    assert error.message.startswith("sending 'd.vmdk', at byte ")
    assert (vsphere.seen()["Aborts"], vsphere.seen()["Completes"]) == (1, 0)


@pytest.mark.parametrize("percent", [0, 50, 100])
def test_an_error_of_the_server(package: Path, vsphere: VSphere, percent: int) -> None:
    vsphere.set_faults(Action="status", Status=503, At=percent)
    error = failure(package, vsphere)
    assert (error.code, error.hint) == ("E_UPLOAD", LOOK)
    assert error.message.startswith("the host refused 'd.vmdk' after ")
    assert error.message.endswith(" bytes: 503 Service Unavailable")


def test_a_lease_that_the_server_takes_back(package: Path, vsphere: VSphere) -> None:
    vsphere.set_faults(Action="lease-error", At=50)
    error = failure(package, vsphere)
    assert (error.code, error.message, error.hint) == (
        "E_LEASE",
        "the lease cannot be used: no space left on the datastore",
        LEASE,
    )


def test_a_lease_that_never_begins(package: Path, esx: VSphere, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "READY_SECONDS", 0.5)
    esx.set_faults(Initializing=60_000)
    error = failure(package, esx)
    assert (error.code, error.message) == ("E_LEASE", "the lease cannot be used: it was not ready after 0 s")


def test_a_lease_that_begins_late(package: Path, esx: VSphere) -> None:
    esx.set_faults(Initializing=700)
    virt_ova.install(package, esx.uri(), options=WEB)
    assert esx.seen()["Completes"] == 1


@pytest.mark.parametrize("percent", [0, 50, 100])
def test_a_session_that_ends(package: Path, vsphere: VSphere, percent: int) -> None:
    vsphere.set_faults(Action="expire", At=percent, PauseMs=2)
    error = failure(package, vsphere)
    assert (error.code, error.hint) == ("E_SESSION", SESSION)
    assert error.message in {
        "keeping the lease alive failed: NotAuthenticated",
        "asking for the digests failed: NotAuthenticated",
        "completing the lease failed: NotAuthenticated",
    }


def test_a_server_that_takes_no_more(package: Path, esx: VSphere, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upload, "STALL_SECONDS", 1.0)
    esx.set_faults(Action="stall", At=50)
    error = failure(package, esx)
    assert error.code == "E_CONNECT"
    assert re.match(r"the host (took no byte of|has not answered that it has) 'd.vmdk' for 1 s, after ", error.message)
    assert error.hint == "Look at the load of the host and its datastore, then try again."


def test_an_answer_that_comes_byte_by_byte(package: Path, esx: VSphere, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upload, "STALL_SECONDS", 1.0)
    esx.set_faults(Action="drip", At=100)
    error, size = failure(package, esx), esx.seen()["Uploads"][0]["Length"]
    assert (error.code, error.message, error.hint) == (
        "E_CONNECT",
        f"the host has not answered that it has 'd.vmdk' for 1 s, after {size} of {size}",
        "Look at the load of the host and its datastore, then try again.",
    )


def test_a_slow_server_hears_of_progress_all_the_time(package: Path, esx: VSphere) -> None:
    esx.set_faults(PauseMs=4)
    begun = time.monotonic()
    virt_ova.install(package, esx.uri(), options=WEB)
    beats = esx.seen()["Progress"]
    assert len(beats) >= (time.monotonic() - begun - 1) / lease.BEAT_SECONDS / 2
    assert beats == sorted(beats)
    assert 0 < beats[-1] < 100


def test_a_server_that_does_not_agree_in_the_end(package: Path, vsphere: VSphere) -> None:
    vsphere.set_faults(Complete="The disk is not what it should be.")
    error = failure(package, vsphere)
    assert (error.code, error.message) == (
        "E_VSPHERE",
        "completing the lease failed: The disk is not what it should be",
    )


def test_a_machine_that_is_not_there_in_the_end(package: Path, vsphere: VSphere) -> None:
    before = machines(vsphere)
    vsphere.set_faults(Missing=True)
    with pytest.raises(TargetError) as caught:
        virt_ova.install(package, vsphere.uri(), options=WEB)
    assert (caught.value.code, caught.value.message) == (
        "E_DOMAIN",
        "the server says that 'web' is complete, and has no such machine",
    )
    vsphere.set_faults()
    assert before == [name for name in machines(vsphere) if name != "web"]


def interrupted(package: Path, vsphere: VSphere, *what: str, is_sending: bool = True) -> None:
    """Start an install, stop it by Ctrl-C while it sends, or waits for a lease, and see that nothing is left.

    Args:
        package: of one machine, or of several.
        vsphere: where to.
        what: is removed again, the last first; the machine ``web`` when it is not said.
        is_sending: whether it sends when it is stopped.
    """
    before = everything(vsphere)
    words: list[str | Path] = ["install", package, "-c", vsphere.uri(), *([] if what else ["--name", "web"])]
    err = stopped(lambda: vsphere.seen()["Uploads"] if is_sending else everything(vsphere) != before, *words)
    removed = what or ("machine web",)
    lines = [*(f"Removed {each}\n" for each in removed), "virt-ova: error: stopped by SIGINT [E_INTERRUPTED]\n"]
    assert err.endswith("".join(lines)), err
    assert everything(vsphere) == before
    assert vsphere.seen()["Aborts"] == len(removed)
    assert vsphere.seen()["Completes"] == 0


def test_ctrl_c_while_the_server_takes_nothing(tmp_path: Path, esx: VSphere) -> None:
    esx.set_faults(Action="stall", At=0)
    interrupted(random_package(tmp_path, 400), esx)  # more than the buffers of a connection take


def test_ctrl_c_while_the_server_does_not_answer(package: Path, esx: VSphere) -> None:
    esx.set_faults(Action="stall", At=100)
    interrupted(package, esx)


def test_ctrl_c_while_the_server_is_slow(package: Path, vcenter: VSphere) -> None:
    vcenter.set_faults(PauseMs=50)
    interrupted(package, vcenter)


@pytest.fixture
def several(tmp_path: Path) -> Path:
    """A package of two machines."""
    return build_ova(tmp_path / "several.ova", with_manifest(two_machines()))


def test_ctrl_c_while_several_machines_are_made(several: Path, esx: VSphere) -> None:
    esx.set_faults(PauseMs=300)
    interrupted(several, esx, "machine vm", "machine db")


@pytest.mark.parametrize("is_sending", [True, False], ids=["sending", "waiting"])
def test_ctrl_c_while_a_vapp_is_made(several: Path, vcenter: VSphere, *, is_sending: bool) -> None:
    vcenter.set_faults(PauseMs=300, Initializing=0 if is_sending else 60_000)
    interrupted(several, vcenter, "vApp all", is_sending=is_sending)


@pytest.mark.parametrize(
    ("faults", "code", "message"),
    [
        ({"Action": "expire", "At": 100}, "E_SESSION", ""),  # whoever of two threads asks first tells of it
        ({"Action": "lease-error", "At": 50}, "E_LEASE", "the lease cannot be used: no space left on the datastore"),
        ({"Action": "status", "Status": 500, "At": 100}, "E_UPLOAD", "the host refused 'a1.vmdk' after "),
        ({"Complete": "The vApp is not whole."}, "E_VSPHERE", "completing the lease failed: The vApp is not whole"),
    ],
    ids=["session", "lease", "error", "complete"],
)
def test_a_vapp_that_fails(several: Path, vcenter: VSphere, faults: dict[str, object], code: str, message: str) -> None:
    before = everything(vcenter)
    vcenter.set_faults(**faults)
    with pytest.raises(TargetError) as caught:
        virt_ova.install(several, vcenter.uri())
    assert caught.value.code == code
    assert caught.value.message.startswith(message)
    assert everything(vcenter) == before


def test_a_slow_vapp_hears_of_progress_all_the_time(several: Path, vcenter: VSphere) -> None:
    vcenter.set_faults(PauseMs=100)
    virt_ova.install(several, vcenter.uri())
    beats = vcenter.seen()["Progress"]
    assert len(beats) > 2
    assert beats == sorted(beats)


def test_an_answer_that_is_lost_when_the_machine_is_made(package: Path, vsphere: VSphere) -> None:
    vsphere.set_faults(LoseAnswer=True)
    error = failure(package, vsphere)
    assert (error.code, error.hint) == ("E_CONNECT", AGAIN)
    assert error.message.startswith("making 'web' failed: ")


def test_a_lease_that_leads_elsewhere(package: Path, esx: VSphere) -> None:
    esx.set_faults(DeviceHost="198.51.100.7")
    error = failure(package, esx)
    assert error.code == "E_LEASE"
    assert error.message.startswith("the lease cannot be used: it leads to 'https://198.51.100.7/nfc/")
    assert error.message.endswith(f"expected https://{esx.address.partition(':')[0]}/")


@pytest.mark.parametrize("host", ["evil:99999", "[::1", ""], ids=["port", "bracket", "empty"])
def test_a_lease_that_leads_nowhere(package: Path, vcenter: VSphere, host: str) -> None:
    vcenter.set_faults(DeviceUrl=f"https://{host}/nfc/x")
    assert failure(package, vcenter).message.startswith("the lease cannot be used: it leads to 'https://")


def test_a_lease_that_leads_to_a_name_that_no_host_has(package: Path, vcenter: VSphere) -> None:
    vcenter.set_faults(DeviceUrl="https://a..b/nfc/x")
    error = failure(package, vcenter)
    assert error.code == "E_CONNECT"
    assert error.message.endswith(", failed: its name is not that of a host")


def test_a_lease_whose_path_has_letters_that_a_url_has_not(package: Path, esx: VSphere) -> None:
    esx.set_faults(DeviceUrl="https://*/nfc/d\u00e4 isk%20one\r\nX: y.vmdk?a=\u65e5&b=%41")
    error = failure(package, esx)
    assert error.code == "E_UPLOAD"
    assert error.message.endswith(": 404 Not Found")


def test_a_lease_that_leads_to_plain_http(package: Path, vcenter: VSphere) -> None:
    vcenter.set_faults(DeviceUrl="http://*/nfc/x")
    assert failure(package, vcenter).message == (
        "the lease cannot be used: it leads to 'http://*/nfc/x', expected https://127.0.0.1/"
    )


def test_a_line_that_breaks_for_a_while_loses_nothing(
    package: Path, esx: VSphere, monkeypatch: pytest.MonkeyPatch
) -> None:
    esx.set_faults(PauseMs=4, DeafBeats=3)
    virt_ova.install(package, esx.uri(), options=WEB)
    esx.set_faults(PauseMs=4, DeafBeats=1000)
    monkeypatch.setattr(lease, "SILENCE_SECONDS", 0.5)
    with pytest.raises(TargetError, match=r"^keeping the lease alive failed: ") as caught:
        virt_ova.install(package, esx.uri(), options=InstallOptions(name="web2"))
    assert (caught.value.code, caught.value.hint) == ("E_CONNECT", AGAIN)
    assert "web2" not in machines(esx)


def test_a_lease_of_a_vcenter_leads_to_a_host_whose_certificate_it_names(package: Path, vcenter: VSphere) -> None:
    elsewhere = vcenter.address.replace("127.0.0.1", "localhost")
    vcenter.set_faults(DeviceHost=elsewhere, Thumbprint=thumbprint(vcenter.certificate, "sha1"))
    virt_ova.install(package, vcenter.uri(), options=WEB)
    assert (vcenter.seen()["Completes"], vcenter.seen()["Aborts"]) == (1, 0)


@pytest.mark.parametrize(
    ("named", "found", "hint"),
    [
        (":".join(["00"] * 20), "its certificate has the SHA1 ", "Somebody may stand between here and the host"),
        (
            "",
            "its certificate is not valid: ",
            "The vCenter sends files to that host and does not name its certificate",
        ),
    ],
    ids=["other", "none"],
)
def test_a_host_with_another_certificate_gets_nothing(
    package: Path, vcenter: VSphere, named: str, found: str, hint: str
) -> None:
    vcenter.set_faults(DeviceHost=vcenter.address.replace("127.0.0.1", "localhost"), Thumbprint=named)
    error = failure(package, vcenter)
    assert error.code == "E_TLS"
    assert error.message.startswith("sending 'd.vmdk', at byte 0 of ")
    assert found in error.message
    assert error.hint.startswith(hint)
    assert vcenter.seen()["Uploads"] == []


def test_what_cannot_be_removed_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, state_home: Path) -> None:
    with started(tmp_path) as esx:
        monkeypatch.setenv("LIBVIRT_AUTH_FILE", str(esx.auth_file))
        esx.set_faults(Action="cut", At=50, KeepMachine=True)
        before = machines(esx)
        with pytest.raises(virt_ova.RollbackError) as caught:
            virt_ova.install(small_ova(tmp_path / "a.ova"), esx.uri(), options=WEB)
        assert "undoing it left: machine web (removing 'web' failed: " in caught.value.message
        assert caught.value.hint == (
            "Run 'virt-ova recover' to try again, or remove what is left by hand: "
            "Look at the tasks and events of the host or vCenter."
        )
        assert machines(esx) == sorted([*before, "web"])
        (journal,) = (state_home / "virt-ova").iterdir()
        journal.unlink()


def test_the_user_is_named_when_the_login_is_refused(
    tmp_path: Path, esx: VSphere, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VIRT_OVA_VSPHERE_PASSWORD", "wrong")
    with pytest.raises(TargetError) as caught:
        virt_ova.install(small_ova(tmp_path / "a.ova"), esx.uri(), options=WEB)
    assert caught.value.code == "E_AUTH"
    assert caught.value.message.startswith(f"logging in at '127.0.0.1' as '{USER}' failed: ")
    assert caught.value.hint == "Check the user and the password; several wrong ones lock an account for some minutes."
