import argparse

import pytest

from virt_ova.cli.options import add_install_options, default_uri, install_options
from virt_ova.cli.parser import UsageError
from virt_ova.plan.machine import Bus, Connection, ConnectionKind
from virt_ova.plan.options import InstallOptions, MachineStyle
from virt_ova.plan.plan import DiskMode, ImageFormat


def options(*words: str) -> InstallOptions:
    parser = argparse.ArgumentParser()
    add_install_options(parser)
    return install_options(parser.parse_args(words))


def test_nothing_said_means_the_librarys_own_defaults() -> None:
    assert options() == InstallOptions()


def test_everything_said() -> None:
    assert options(
        "--name", "web", "--pool", "fast", "--disk-mode", "transplant", "--format", "raw",
        "--deployment-option", "small", "--virt-type", "kvm", "--network", "LAN=bridge:br0",
        "--machine", "virtio", "--disk-bus", "nvme", "--nic-model", "e1000e", "--keep-mac",
    ) == InstallOptions(
        name="web",
        pool="fast",
        disk_mode=DiskMode.TRANSPLANT,
        image_format=ImageFormat.RAW,
        deployment_option="small",
        machine=MachineStyle.VIRTIO,
        disk_bus=Bus.NVME,
        nic_model="e1000e",
        keep_mac=True,
        virt_type="kvm",
        networks={"LAN": Connection(kind=ConnectionKind.BRIDGE, name="br0")},
    )  # fmt: skip


@pytest.mark.parametrize(
    ("text", "network", "connection"),
    [
        ("VM Network=network:default", "VM Network", Connection(kind=ConnectionKind.NETWORK, name="default")),
        ("a=b=user", "a=b", Connection(kind=ConnectionKind.USER)),
        ("=none", "", Connection(kind=ConnectionKind.NONE)),
        ("a=b=network:c=d", "a=b", Connection(kind=ConnectionKind.NETWORK, name="c=d")),
        ("a=network:b=user", "a=network:b", Connection(kind=ConnectionKind.USER)),
        ("lan=private", "lan", Connection(kind=ConnectionKind.PRIVATE)),
        ("lan=private:db", "lan", Connection(kind=ConnectionKind.PRIVATE, name="db")),
        ("lan=shared:wan", "lan", Connection(kind=ConnectionKind.SHARED, name="wan")),
    ],
)
def test_networks(text: str, network: str, connection: Connection) -> None:
    assert options("--network", text).networks == {network: connection}


@pytest.mark.parametrize(
    "text", ["lan", "lan=", "lan=network", "lan=network:", "lan=bridge:", "lan=user:x", "lan=macvtap:eth0"]
)
def test_networks_that_make_no_sense(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        options("--network", text)
    targets = "network:NAME, bridge:NAME, user, none, private[:NAME] or shared[:NAME]"
    expected = f"expected 'OVF NAME=TARGET', where TARGET is {targets}"
    assert caught.value.message == f"--network '{text}': {expected}"


def test_a_network_that_is_there_twice() -> None:
    with pytest.raises(UsageError) as caught:
        options("--network", "lan=private", "--network", "wan=user", "--network", "lan=user")
    assert caught.value.message == "--network: 'lan' is there twice"


def test_the_connection_that_virsh_would_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIBVIRT_DEFAULT_URI", "qemu+ssh://host/system")
    assert default_uri() == "qemu+ssh://host/system"
    monkeypatch.delenv("LIBVIRT_DEFAULT_URI")
    for user, uri in ((0, "qemu:///system"), (1000, "qemu:///session")):
        monkeypatch.setattr("os.geteuid", lambda user=user: user)
        assert default_uri() == uri
