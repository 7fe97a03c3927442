from __future__ import annotations

from dataclasses import replace

import pytest

from tests.unit.plan.builders import EFI, HOST, USER, decisions_of, envelope, item, machine_of, plan_of, system
from virt_ova.errors import PlanError
from virt_ova.findings import Severity
from virt_ova.ovf.envelope import Item, Network, ResourceType, VirtualHardware, VirtualSystem
from virt_ova.plan.host import HostCapabilities
from virt_ova.plan.machine import Connection, ConnectionKind
from virt_ova.plan.nics import made_networks, named_networks
from virt_ova.plan.options import InstallOptions
from virt_ova.plan.plan import Outcome


def nic(subtypes: str, network: str = "LAN") -> Item:
    return item(ResourceType.ETHERNET, "7", subtypes=subtypes, connections=(network,), element_name="NIC")


def severity_of(plan_item: Item, host: HostCapabilities = HOST) -> Severity:
    plan = plan_of(system(plan_item), host=host)
    return next(finding.severity for finding in plan.findings if finding.code == "HW_DROPPED")


class TestNics:
    @pytest.mark.parametrize(
        ("subtypes", "model"),
        [
            ("pcnet32", "pcnet"),
            ("e1000", "e1000-82545em"),
            ("e1000e", "e1000e"),
            ("vmxnet3", "vmxnet3"),
            ("vmxnet3 virtio", "vmxnet3"),
            ("virtio", "virtio"),
            ("strange e1000e", "e1000e"),
            ("vmxnet vmxnet3", "vmxnet3"),
        ],
    )
    def test_models_that_qemu_has_are_kept(self, subtypes: str, model: str) -> None:
        plan = plan_of(system(nic(subtypes)))
        assert plan.machines[0].nics[0].model == model
        assert decisions_of(plan, "NIC")[0].outcome is Outcome.KEPT

    @pytest.mark.parametrize(
        ("subtypes", "model", "reason"),
        [
            ("flexible", "pcnet", "without VMware's driver in the guest a flexible adapter is a PCnet"),
            ("vmxnet", "e1000-82545em", "QEMU has no vmxnet before version 3"),
            ("vmxnet2", "e1000-82545em", "QEMU has no vmxnet before version 3"),
            ("e10000", "e1000-82545em", "'E10000' is taken as a misspelt E1000"),
            (
                "sriovethernetcard",
                "e1000-82545em",
                "a host's network card cannot be passed through by a package: it is emulated",
            ),
            ("strange", "e1000-82545em", "the model 'strange' is not known"),
            ("", "e1000-82545em", "the package names no model"),
        ],
    )
    def test_other_models_are_replaced(self, subtypes: str, model: str, reason: str) -> None:
        plan = plan_of(system(nic(subtypes)))
        assert plan.machines[0].nics[0].model == model
        (decision,) = decisions_of(plan, "NIC")
        assert (decision.outcome, decision.result, decision.reason) == (Outcome.MAPPED, f"{model} on user", reason)

    def test_virtualbox_means_another_e1000(self) -> None:
        hardware = VirtualHardware(system_types=("virtualbox-2.2",), items=(nic("e1000"),))
        assert plan_of(VirtualSystem(id="vm", hardware=(hardware,))).machines[0].nics[0].model == "e1000"

    @pytest.mark.parametrize(
        ("devices", "model"),
        [({"e1000"}, "e1000"), ({"e1000e"}, "e1000e"), ({"virtio-net-pci"}, "virtio"), ({"x"}, "virtio")],
    )
    def test_what_the_emulator_lacks_is_replaced(self, devices: set[str], model: str) -> None:
        plan = plan_of(system(nic("vmxnet3")), host=replace(HOST, devices=frozenset(devices)))
        assert plan.machines[0].nics[0].model == model
        assert decisions_of(plan, "NIC")[0].reason == "the host's emulator has no vmxnet3"

    def test_networks_go_where_the_user_says(self) -> None:
        bridge = Connection(kind=ConnectionKind.BRIDGE, name="br0")
        whole = envelope(system(nic("e1000", "LAN"), nic("e1000", "WAN")), networks=(Network(name="LAN"),))
        plan = plan_of(whole, options=InstallOptions(networks={"LAN": bridge}))
        assert [(each.network, each.connection, each.mac) for each in plan.machines[0].nics] == [
            ("LAN", bridge, ""),
            ("WAN", USER, ""),
        ]
        assert [decision.result for decision in decisions_of(plan, "NIC")] == [
            "e1000-82545em on bridge:br0",
            "e1000-82545em on user",
        ]
        (noted,) = [finding for finding in plan.findings if finding.code == "NETWORK_DEFAULT"]
        assert noted.message == "network 'WAN' is not named by an option and goes to user"

    def test_the_default_is_the_hosts(self) -> None:
        default = Connection(kind=ConnectionKind.NETWORK, name="default")
        machine = machine_of(nic("e1000"), host=replace(HOST, default_connection=default))
        assert machine.nics[0].connection == default

    def test_a_network_that_the_package_has_not_is_refused(self) -> None:
        whole = envelope(system(nic("e1000", "LAN")), networks=(Network(name="WAN"),))
        with pytest.raises(PlanError) as caught:
            plan_of(whole, options=InstallOptions(networks={"lan": USER}))
        assert caught.value.code == "E_NETWORK"
        assert caught.value.message == "the package has no network 'lan', it has: 'WAN', 'LAN'"
        with pytest.raises(PlanError, match="it has: none"):
            plan_of(system(), options=InstallOptions(networks={"x": USER}))


class TestPorts:
    def test_a_machine_without_serial_port_gets_one(self) -> None:
        plan = plan_of(system())
        assert plan.machines[0].serial_ports == 1
        assert decisions_of(plan, "serial port")[0].reason == "the guest's console can be watched by it"

    def test_ports_are_kept_up_to_what_a_pc_has(self) -> None:
        serial = [item(ResourceType.SERIAL_PORT, str(number)) for number in range(5)]
        parallel = [item(ResourceType.PARALLEL_PORT, str(number)) for number in range(4)]
        plan = plan_of(system(*serial, *parallel))
        assert (plan.machines[0].serial_ports, plan.machines[0].parallel_ports) == (4, 3)
        dropped = [decision.reason for decision in plan.decisions if decision.outcome is Outcome.DROPPED]
        assert dropped == ["a machine has 4 serial ports at most", "a machine has 3 parallel ports at most"]


class TestScreenSoundUsb:
    def test_every_screen_becomes_a_standard_vga(self) -> None:
        cards = [
            item(ResourceType.GRAPHICS, "1", element_name="card"),
            item(ResourceType.GRAPHICS, "2", element_name="more"),
        ]
        plan = plan_of(system(*cards))
        assert plan.machines[0].video == "vga"
        assert decisions_of(plan, "card")[0].outcome is Outcome.MAPPED
        assert decisions_of(plan, "more")[0].reason == "a machine has one screen"

    @pytest.mark.parametrize(
        ("kind", "subtypes", "config", "model", "outcome"),
        [
            (ResourceType.SOUND, "ensoniq1371", {}, "es1370", Outcome.MAPPED),
            (ResourceType.SOUND, "", {}, "es1370", Outcome.MAPPED),
            (ResourceType.SOUND, "hda", {}, "ich6", Outcome.KEPT),
            (ResourceType.SOUND, "sb16", {}, "sb16", Outcome.KEPT),
            (ResourceType.SOUND, "ac97", {}, "ac97", Outcome.KEPT),
            (ResourceType.OTHER, "vmware.soundcard.ensoniq1371", {}, "es1370", Outcome.MAPPED),
            (ResourceType.OTHER, "vmware.soundcard.hdaudio", {}, "ich6", Outcome.KEPT),
            (ResourceType.OTHER, "vmware.soundcard.hdaudio", EFI, "ich9", Outcome.KEPT),
        ],
    )
    def test_sound(
        self, kind: ResourceType, subtypes: str, config: dict[str, str], model: str, outcome: Outcome
    ) -> None:
        plan = plan_of(system(item(kind, "1", subtypes=subtypes, element_name="sound"), config=config))
        assert plan.machines[0].sound == model
        assert decisions_of(plan, "sound")[0].outcome is outcome

    def test_a_machine_has_one_sound_card(self) -> None:
        cards = [
            item(ResourceType.SOUND, str(number), subtypes="sb16", element_name=f"card{number}") for number in (1, 2)
        ]
        assert decisions_of(plan_of(system(*cards)), "card2")[0].reason == "a machine has one sound card"

    @pytest.mark.parametrize(
        ("subtypes", "model"),
        [
            ([], ""),
            (["vmware.usb.ehci"], "ehci"),
            (["vmware.usb.xhci"], "qemu-xhci"),
            ([""], "piix3-uhci"),
            (["ohci"], "piix3-uhci"),
            (["vmware.usb.ehci", "vmware.usb.xhci"], "qemu-xhci"),
            (["vmware.usb.xhci", "vmware.usb.ehci"], "qemu-xhci"),
        ],
    )
    def test_one_usb_controller_the_fastest(self, subtypes: list[str], model: str) -> None:
        items = [item(ResourceType.USB_CONTROLLER, str(number), subtypes=each) for number, each in enumerate(subtypes)]
        assert machine_of(*items).usb == model

    def test_a_machine_with_usb_has_a_pointer_that_a_viewer_can_set(self) -> None:
        usb = item(ResourceType.USB_CONTROLLER, "1", subtypes="vmware.usb.xhci")
        plan = plan_of(system(usb))
        assert plan.machines[0].has_tablet
        (decision,) = decisions_of(plan, "pointer")
        assert (decision.outcome, decision.result) == (Outcome.ADDED, "USB tablet")
        assert decision.reason == "in a viewer it is where the viewer's own pointer is"
        assert not machine_of(usb, host=replace(HOST, devices=frozenset({"qemu-xhci"}))).has_tablet
        assert not machine_of().has_tablet


class TestTpm:
    @pytest.mark.parametrize(
        "device",
        [item(ResourceType.TPM, "1", subtypes="vmware.vtpm"), item(ResourceType.OTHER, "1", subtypes="vmware.vtpm")],
    )
    def test_a_tpm_is_kept_where_it_can_be_emulated(self, device: Item) -> None:
        assert machine_of(device).has_tpm
        without = replace(HOST, tpm=False)
        assert not machine_of(device, host=without).has_tpm
        assert severity_of(device, without) is Severity.WARNING


class TestTheRest:
    @pytest.mark.parametrize(
        ("device", "severity"),
        [
            (item(ResourceType.OTHER, "1", subtypes="vmware.vmci"), Severity.INFO),
            (item(ResourceType.OTHER, "1", subtypes="vmware.pci.passthrough"), Severity.WARNING),
            (item(ResourceType.OTHER, "1", subtypes="vmware.pci.passthrough", required=False), Severity.INFO),
            (item(33, "1"), Severity.WARNING),
            (item(33, "1", required=False), Severity.INFO),
        ],
    )
    def test_what_no_target_has_is_dropped(self, device: Item, severity: Severity) -> None:
        assert severity_of(device) is severity

    def test_what_is_unknown_is_shown_escaped(self) -> None:
        plan = plan_of(system(item(33, "1", element_name="a\x1b[31m", subtypes="b\u202e")))
        assert decisions_of(plan, "a")[0].item == r"a\x1b[31m: b\u202e"


def test_a_network_that_is_made_has_the_name_of_the_package_and_its_own() -> None:
    networks = {
        "VM Network": Connection(kind=ConnectionKind.PRIVATE),
        "Out/side": Connection(kind=ConnectionKind.SHARED, name="wan"),
        "LAN": Connection(kind=ConnectionKind.NETWORK, name="lan"),
    }
    assert named_networks(networks, base="shop") == networks | {
        "VM Network": Connection(kind=ConnectionKind.PRIVATE, name="shop-VM Network")
    }


def test_networks_of_different_names_stay_apart() -> None:
    private = Connection(kind=ConnectionKind.PRIVATE)
    networks = {
        "LAN:1": private,
        "LAN/1": private,
        "LAN": Connection(kind=ConnectionKind.NETWORK, name="shop-LAN-1"),
    }
    names = [each.name for each in named_networks(networks, base="shop").values()]
    assert names == ["shop-LAN-1-2", "shop-LAN-1-3", "shop-LAN-1"]


@pytest.mark.parametrize("kind", [ConnectionKind.SHARED, ConnectionKind.NETWORK])
def test_a_name_stands_for_one_kind_of_network(kind: ConnectionKind) -> None:
    networks = {"a": Connection(kind=ConnectionKind.PRIVATE, name="lan"), "b": Connection(kind=kind, name="lan")}
    with pytest.raises(PlanError) as caught:
        named_networks(networks, base="shop")
    expected = f"'lan' is to be a private and a {kind} network, expected one of them"
    assert (caught.value.code, caught.value.message) == ("E_NETWORK", expected)


def test_each_network_is_made_once() -> None:
    private = Connection(kind=ConnectionKind.PRIVATE, name="lan")
    nics = [item(ResourceType.ETHERNET, str(number), subtypes="e1000", connections=("LAN",)) for number in (1, 2)]
    options = InstallOptions(networks={"LAN": private})
    plan = plan_of(system(*nics), options=options)
    assert [nic.connection for nic in plan.machines[0].nics] == [private, private]
    assert made_networks(plan) == (private,)
    assert [decision.result for decision in decisions_of(plan, "network interface")] == [
        "e1000-82545em on private:lan"
    ] * 2
