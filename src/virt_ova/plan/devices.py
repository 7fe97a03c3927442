"""Ports, screen and everything else that is neither processor, memory, storage nor network."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from virt_ova.ovf.envelope import Item, ResourceType
from virt_ova.ovf.hardware import DRIVE_TYPES
from virt_ova.plan.circumstances import Circumstances
from virt_ova.plan.controllers import CONTROLLER_TYPES
from virt_ova.plan.guest import Guest, Support
from virt_ova.plan.host import HostCapabilities
from virt_ova.plan.ledger import Ledger
from virt_ova.plan.options import MachineStyle
from virt_ova.plan.to_qemu import TABLET_DEVICE, VIDEO_DEVICES
from virt_ova.text import quoted

MAX_SERIAL = 4
MAX_PARALLEL = 3
_USB_SPEEDS = ("piix3-uhci", "ehci", "qemu-xhci")
_USB_MODELS = {
    "vmware.usb.ehci": "ehci",
    "ehci": "ehci",
    "vmware.usb.xhci": "qemu-xhci",
    "xhci": "qemu-xhci",
    "uhci": "piix3-uhci",
    "ohci": "piix3-uhci",
}
_QEMU_TYPES = frozenset({"", "kvm", "qemu"})
_SOUND_PREFIX = "vmware.soundcard."
_TPM_SUBTYPE = "vmware.vtpm"
_HARMLESS = frozenset({"vmware.vmci"})
_HANDLED_ELSEWHERE = (
    DRIVE_TYPES
    | CONTROLLER_TYPES
    | {ResourceType.PROCESSOR, ResourceType.MEMORY, ResourceType.ETHERNET}
    | {ResourceType.CD, ResourceType.DVD, ResourceType.FLOPPY}
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Devices:
    """The part of a `Machine` that is planned here; the attributes are the machine's."""

    serial_ports: int
    parallel_ports: int
    video: str
    sound: str
    usb: str
    has_tablet: bool
    has_tpm: bool


def plan_agent_channel(guest: Guest, virt_type: str, host: HostCapabilities, ledger: Ledger) -> bool:
    """Whether the machine gets a port for a guest agent. It costs nothing, but an old Windows asks for a driver."""
    has_port = virt_type in _QEMU_TYPES and host.has_device("virtserialport")
    if not has_port or guest.is_old_windows:
        return False
    ledger.added("guest agent", "port on virtio-serial", "a guest that has an agent can tell that it is up")
    return True


def plan_devices(items: Sequence[Item], around: Circumstances, ledger: Ledger) -> Devices:
    """Ports, screen, sound, USB and TPM; what is known to none of the planners is dropped."""
    planner = _Planner(around, ledger)
    for item in items:
        if item.resource_type not in _HANDLED_ELSEWHERE:
            planner.take(item)
    return planner.finish()


class _Planner:
    """Takes the items one by one."""

    def __init__(self, around: Circumstances, ledger: Ledger) -> None:
        self._around = around
        self._ledger = ledger
        self._serial_ports = 0
        self._parallel_ports = 0
        self._video = ""
        self._sound = ""
        self._usb = ""
        self._has_tpm = False

    def take(self, item: Item) -> None:
        """Decide what becomes of `item`."""
        takers: dict[int, Callable[[Item], None]] = {
            ResourceType.SERIAL_PORT: self._take_serial,
            ResourceType.PARALLEL_PORT: self._take_parallel,
            ResourceType.USB_CONTROLLER: self._take_usb,
            ResourceType.GRAPHICS: self._take_video,
            ResourceType.SOUND: self._take_sound,
            ResourceType.TPM: self._take_tpm,
        }
        if _TPM_SUBTYPE in item.subtypes:
            self._take_tpm(item)
        elif any(subtype.startswith(_SOUND_PREFIX) for subtype in item.subtypes):
            self._take_sound(item)
        else:
            takers.get(item.resource_type, self._drop)(item)

    def finish(self) -> Devices:
        """All items were taken: add what every machine needs."""
        if not self._serial_ports:
            self._serial_ports = 1
            self._ledger.added("serial port", "1", "the guest's console can be watched by it")
        if not self._video:
            self._video, reason = self._screen()
            self._ledger.added("video", self._video, f"every machine of VMware and VirtualBox has one; {reason}")
        has_tablet = bool(self._usb) and self._around.host.has_device(TABLET_DEVICE)
        if has_tablet:
            self._ledger.added("pointer", "USB tablet", "in a viewer it is where the viewer's own pointer is")
        return Devices(
            serial_ports=self._serial_ports,
            parallel_ports=self._parallel_ports,
            video=self._video,
            sound=self._sound,
            usb=self._usb,
            has_tablet=has_tablet,
            has_tpm=self._has_tpm,
        )

    def _drop(self, item: Item) -> None:
        if _HARMLESS.intersection(item.subtypes):
            self._ledger.dropped(item, "it speaks to VMware's hypervisor alone", matters=False)
        else:
            self._ledger.dropped(item, "no target has such a device", matters=item.required)

    def _take_serial(self, item: Item) -> None:
        if self._serial_ports == MAX_SERIAL:
            self._ledger.dropped(item, f"a machine has {MAX_SERIAL} serial ports at most", matters=item.required)
            return
        self._serial_ports += 1
        self._ledger.kept(item, f"serial port {self._serial_ports - 1}", "what it was connected to is not taken over")

    def _take_parallel(self, item: Item) -> None:
        if self._parallel_ports == MAX_PARALLEL:
            self._ledger.dropped(item, f"a machine has {MAX_PARALLEL} parallel ports at most", matters=item.required)
            return
        self._parallel_ports += 1
        self._ledger.kept(
            item, f"parallel port {self._parallel_ports - 1}", "what it was connected to is not taken over"
        )

    def _take_usb(self, item: Item) -> None:
        models = [_USB_MODELS[subtype] for subtype in item.subtypes if subtype in _USB_MODELS]
        model = models[0] if models else _USB_SPEEDS[0]
        if self._usb:
            faster = max(self._usb, model, key=_USB_SPEEDS.index)
            self._ledger.mapped(item, faster, "one USB controller, the fastest asked for, serves the machine")
            self._usb = faster
        elif models:
            self._ledger.kept(item, model)
            self._usb = model
        else:
            self._ledger.mapped(item, model, "the package names no model that is known")
            self._usb = model

    def _take_video(self, item: Item) -> None:
        if self._video:
            self._ledger.dropped(item, "a machine has one screen", matters=False)
            return
        self._video, reason = self._screen()
        self._ledger.mapped(item, self._video, reason)

    def _screen(self) -> tuple[str, str]:
        """The model of the screen, and why.

        libosinfo tells what the system has, not what this guest of another hypervisor has: virtio must be wanted, too.
        """
        guest, host = self._around.guest, self._around.host
        is_wanted = self._around.options.machine is MachineStyle.VIRTIO
        if is_wanted and Support.VIRTIO_GPU in guest.supports and host.has_device(VIDEO_DEVICES["virtio"]):
            return "virtio", "virtio is wanted, and the guest has its driver"
        return "vga", "every guest shows something on a standard VGA"

    def _take_sound(self, item: Item) -> None:
        if self._sound:
            self._ledger.dropped(item, "a machine has one sound card", matters=False)
            return
        names = {subtype.removeprefix(_SOUND_PREFIX) for subtype in item.subtypes}
        if names & {"hdaudio", "hda", "ich6", "ich9"}:
            self._sound = "ich6" if self._around.board.has_ide else "ich9"
            self._ledger.kept(item, self._sound, "it is Intel HD Audio, too")
        elif names & {"sb16", "ac97"}:
            self._sound = "sb16" if "sb16" in names else "ac97"
            self._ledger.kept(item, self._sound)
        else:
            self._sound = "es1370"
            known = f"QEMU has the ES1370, not {quoted(' '.join(sorted(names)))}"
            self._ledger.mapped(item, self._sound, known if names else "the package names no model")

    def _take_tpm(self, item: Item) -> None:
        if self._around.host.tpm:
            self._has_tpm = True
            self._ledger.kept(item, "TPM 2.0", "it is empty: secrets sealed in the old one are not in the package")
        else:
            self._ledger.dropped(item, "the host cannot emulate a TPM", matters=True)
