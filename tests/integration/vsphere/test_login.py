"""Who is at the other end, who logs in, and what nobody else gets to see of it."""

from __future__ import annotations

import os
import socket
import subprocess
import threading
import time
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from pyVmomi import vim

import virt_ova
from tests.build.command import command, environment
from tests.build.command import virt_ova as run
from tests.build.small import small_ova
from tests.build.terminal import talk
from tests.build.vsphere import PASSWORD, USER, VSphere, thumbprint
from tests.integration.vsphere.conftest import looked_into, machines
from virt_ova import InstallOptions, TargetError
from virt_ova.target.registry import open_target

PIN = "Add ?thumbprint=SHA256 of the certificate to the URI once you know that it is the host's own."
ANOTHER = (
    "Somebody may stand between here and the host, or it has a new certificate: look at it on the host's own screen. "
    "If it is the same, correct the URI's thumbprint, or what the vCenter knows of its host."
)
SECRETS = (PASSWORD, quote(PASSWORD), PASSWORD.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;"))


def test_a_certificate_that_nobody_vouches_for_is_refused(vsphere: VSphere) -> None:
    uri = vsphere.uri("no_verify=0")
    with pytest.raises(TargetError) as caught:
        open_target(uri)
    assert (caught.value.code, caught.value.hint) == ("E_TLS", PIN)
    assert caught.value.message.startswith(
        f"connecting to '{uri.partition('?')[0]}' failed: its certificate is not valid: "
    )


def test_a_certificate_that_is_valid_is_taken(vsphere: VSphere, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(vsphere.certificate))
    open_target(vsphere.uri("no_verify=0")).close()


@pytest.mark.parametrize("algorithm", ["sha1", "sha256"])
def test_the_certificate_that_was_named_is_taken(vsphere: VSphere, algorithm: str) -> None:
    open_target(vsphere.uri(f"thumbprint={thumbprint(vsphere.certificate, algorithm)}")).close()


def test_no_other_certificate_than_the_one_named_is_taken(vsphere: VSphere, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(vsphere.certificate))
    with pytest.raises(TargetError) as caught:
        open_target(vsphere.uri(f"thumbprint={'00' * 32}"))
    assert (caught.value.code, caught.value.hint) == ("E_TLS", ANOTHER)
    found = f"its certificate has the SHA256 {vsphere.thumbprint}, expected {'00' * 32}"
    assert caught.value.message.endswith(f" failed: {found}")


def test_every_certificate_is_taken_when_that_is_asked_for(vsphere: VSphere) -> None:
    open_target(vsphere.uri("no_verify=1")).close()


def test_a_password_that_is_wrong(esx: VSphere, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VIRT_OVA_VSPHERE_PASSWORD", "hunter2")
    with pytest.raises(TargetError) as caught:
        open_target(esx.uri())
    assert caught.value.code == "E_AUTH"
    assert caught.value.message.startswith(f"logging in at '127.0.0.1' as '{USER}' failed: ")
    assert caught.value.hint == "Check the user and the password; several wrong ones lock an account for some minutes."
    assert "hunter2" not in caught.value.message


def test_the_other_kind_of_server(esx: VSphere, vcenter: VSphere) -> None:
    with pytest.raises(TargetError) as caught:
        open_target(f"vpx://{USER}@{esx.address}/DC0/DC0_C0?no_verify=1")
    assert caught.value.code == "E_URI"
    assert caught.value.message.endswith(" is a HostAgent, whose URI is esx://HOST/")
    with pytest.raises(TargetError, match=r" is a VirtualCenter, whose URI is vpx://VCENTER/DATACENTER/CLUSTER$"):
        open_target(f"esx://{USER}@{vcenter.address}/?no_verify=1")


@pytest.mark.parametrize(
    ("answer", "found", "hint"),
    [
        (
            b"SSH-2.0-OpenSSH_9.2\r\n",
            "it does not speak TLS as expected (",
            "Check the host and the port of the URI: an ESXi or a vCenter must answer there.",
        ),
        (
            b"",
            "the other end broke the connection off",
            "Check that the host is there and the network is up, then try again.",
        ),
    ],
    ids=["something else", "nothing"],
)
def test_who_answers_does_not_speak_tls(answer: bytes, found: str, hint: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def greet() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(1 << 16)
                connection.sendall(answer)

        thread = threading.Thread(target=greet)
        thread.start()
        uri = f"esx://{USER}@127.0.0.1:{listener.getsockname()[1]}/"
        with pytest.raises(TargetError) as caught:
            open_target(f"{uri}?no_verify=1", ask=lambda _, is_secret: "x")  # noqa: ARG005
        thread.join()
    assert (caught.value.code, caught.value.hint) == ("E_CONNECT", hint)
    assert caught.value.message.startswith(f"connecting to '{uri}' failed: {found}")


@pytest.mark.parametrize(
    ("host", "found"), [("127.0.0.1:1", "Connection refused"), ("a..b", "its name is not that of a host")]
)
def test_nobody_is_there(host: str, found: str) -> None:
    with pytest.raises(TargetError) as caught:
        open_target(f"esx://{USER}@{host}/?no_verify=1", ask=lambda _, is_secret: "x")  # noqa: ARG005
    assert (caught.value.code, caught.value.message) == (
        "E_CONNECT",
        f"connecting to 'esx://{USER}@{host}/' failed: {found}",
    )


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("DC1/DC0_C0", "found no datacenter 'DC1', there is: 'DC0'"),
        ("DC0/C", "found no cluster or host 'C', there is: 'DC0_C0', 'DC0_H0'"),
        ("DC0/DC0_C0/H", "found no host 'H', there is: 'DC0_C0_H0', 'DC0_C0_H1', 'DC0_C0_H2'"),
        ("DC0/DC0_C0/DC0_C0_H0/x", "found no object 'x', there is: none"),
        ("DC0/DC0_C0?folder=web", "found no folder 'web', there is: none"),
        ("DC0/DC0_C0?resource_pool=low", "found no resource pool 'low', there is: "),
    ],
)
def test_a_place_that_is_not_there(vcenter: VSphere, path: str, found: str) -> None:
    join = "&" if "?" in path else "?"
    with pytest.raises(TargetError) as caught:
        open_target(f"vpx://{USER}@{vcenter.address}/{path}{join}no_verify=1")
    assert caught.value.code == "E_URI"
    assert found in caught.value.message


def test_one_host_of_a_cluster(tmp_path: Path, vcenter: VSphere) -> None:
    uri = f"vpx://{USER}@{vcenter.address}/DC0/DC0_C0/DC0_C0_H1?no_verify=1"
    virt_ova.install(small_ova(tmp_path / "a.ova"), uri, options=InstallOptions(name="web"))
    assert "web" in machines(vcenter)


def test_a_folder_and_a_resource_pool(tmp_path: Path, vcenter: VSphere) -> None:
    with looked_into(vcenter) as machines_folder:
        machines_folder.CreateFolder("web").CreateFolder("new")
        cluster = next(each for each in machines_folder.parent.hostFolder.childEntity if each.name == "DC0_C0")
        share = vim.ResourceAllocationInfo(
            reservation=0, limit=-1, expandableReservation=True, shares=vim.SharesInfo(level="normal", shares=0)
        )
        spec = vim.ResourceConfigSpec(cpuAllocation=share, memoryAllocation=share)
        cluster.resourcePool.CreateResourcePool("gold", spec)
    uri = vcenter.uri(f"thumbprint={vcenter.thumbprint}&folder=web/new&resource_pool=gold")
    virt_ova.install(small_ova(tmp_path / "a.ova"), uri, options=InstallOptions(name="web1"))
    with pytest.raises(TargetError, match=r"has a machine 'web1' already$"):
        virt_ova.install(small_ova(tmp_path / "b.ova"), uri, options=InstallOptions(name="web1"))
    with looked_into(vcenter) as machines_folder:
        web = next(each for each in machines_folder.childEntity if each.name == "web")
        (machine,) = web.childEntity[0].childEntity
        assert (machine.name, machine.resourcePool.name) == ("web1", "gold")
        web.Destroy_Task()


def test_a_password_is_seen_nowhere(tmp_path: Path, esx: VSphere) -> None:
    """Neither by who lists processes, nor in what is printed when it goes well, goes wrong, or is debugged."""
    package = small_ova(tmp_path / "a.ova")
    settings: dict[str, Any] = {
        "LIBVIRT_AUTH_FILE": str(esx.auth_file),
        "VIRT_OVA_DEBUG": "1",
        "PYTHONFAULTHANDLER": "1",
    }
    words = ("install", package, "-c", esx.uri(), "--name", "web", "--report", tmp_path / "report")
    esx.set_faults(PauseMs=100)
    with subprocess.Popen(
        command(*words), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=environment(**settings)
    ) as process:
        seen = b""
        while process.poll() is None:
            seen += Path(f"/proc/{process.pid}/cmdline").read_bytes()
            time.sleep(0.05)
        assert process.stdout
        seen += process.stdout.read()
    esx.set_faults(Action="cut", At=50)
    failed = run(*words[:-3], "other", **settings)
    assert failed.returncode == 1
    texts = [seen.decode(), failed.stdout, failed.stderr, (tmp_path / "report").read_text()]
    assert not [secret for secret in SECRETS for text in texts if secret in text]


def test_a_person_is_asked_on_a_terminal(tmp_path: Path, esx: VSphere) -> None:
    uri = esx.uri().replace(f"{USER}@", "")
    done = talk(
        ["install", small_ova(tmp_path / "a.ova"), "-c", uri, "--name", "web"],
        [("User name for 127.0.0.1: ", f"{USER}\n"), (f"Password of {USER} for 127.0.0.1: ", f"{PASSWORD}\n")],
        LIBVIRT_AUTH_FILE=os.devnull,
    )
    assert done.status == 0, done.shown
    assert PASSWORD not in done.shown
    assert "web" in machines(esx)
