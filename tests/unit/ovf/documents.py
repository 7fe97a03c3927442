"""Small descriptors for the tests of the reader, in every dialect."""

from __future__ import annotations

from virt_ova.errors import DescriptorError
from virt_ova.ovf import hardware
from virt_ova.ovf.envelope import Envelope, Item, VirtualHardware, VirtualSystem
from virt_ova.ovf.reader import read_envelope

CIM = "http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2"
PREFIXES = (
    f'xmlns:rasd="{CIM}/CIM_ResourceAllocationSettingData" xmlns:vssd="{CIM}/CIM_VirtualSystemSettingData" '
    'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"'
)
VMW = 'xmlns:vmw="http://www.vmware.com/schema/ovf"'


def envelope(body: str, *, attributes: str = "", namespace: str = "http://schemas.dmtf.org/ovf/envelope/1") -> bytes:
    """An envelope of OVF 1.x (or of `namespace`) around `body`."""
    return f'<Envelope xmlns="{namespace}" xmlns:ovf="{namespace}" {PREFIXES} {attributes}>{body}</Envelope>'.encode()


def old_envelope(body: str, *, attributes: str = "") -> bytes:
    """An envelope of OVF 0.9, whose elements have no namespace."""
    namespace = "http://www.vmware.com/schema/ovf/1/envelope"
    return f'<ovf:Envelope xmlns:ovf="{namespace}" {PREFIXES} {attributes}>{body}</ovf:Envelope>'.encode()


def ovirt_envelope(body: str, *, attributes: str = 'ovf:version="4.1.0.0"') -> bytes:
    """An envelope as oVirt writes it."""
    namespace = "http://schemas.dmtf.org/ovf/envelope/1/"
    return f'<ovf:Envelope xmlns:ovf="{namespace}" {PREFIXES} {attributes}>{body}</ovf:Envelope>'.encode()


def section(kind: str, body: str, attributes: str = "") -> str:
    """A section as OVF 0.9 writes it."""
    return f'<Section xsi:type="ovf:{kind}_Type" {attributes}><Info/>{body}</Section>'


def item(resource_type: int | str, instance_id: int | str, extra: str = "", attributes: str = "") -> str:
    """An Item with the two fields that every one has, and `extra`."""
    return (
        f"<Item {attributes}><rasd:InstanceID>{instance_id}</rasd:InstanceID>"
        f"<rasd:ResourceType>{resource_type}</rasd:ResourceType>{extra}</Item>"
    )


def rasd(**fields: object) -> str:
    """Setting data fields by name."""
    return "".join(f"<rasd:{name}>{value}</rasd:{name}>" for name, value in fields.items())


def system(items: str = "", *, before: str = "", hardware_attributes: str = "", system_id: str = "vm") -> str:
    """A VirtualSystem with one hardware section."""
    return (
        f'<VirtualSystem ovf:id="{system_id}"><Info/>{before}'
        f"<VirtualHardwareSection {hardware_attributes}><Info/>{items}</VirtualHardwareSection></VirtualSystem>"
    )


def only_system(read: Envelope) -> VirtualSystem:
    """The one system of an envelope."""
    (entity,) = read.content
    assert isinstance(entity, VirtualSystem)
    return entity


def only_hardware(read: Envelope) -> VirtualHardware:
    """The one hardware section of the one system."""
    (section,) = only_system(read).hardware
    return section


def items_of(body: str, **arguments: str) -> tuple[Item, ...]:
    """The items of a system made of `body`."""
    return only_hardware(read_envelope(envelope(system(body), **arguments))).items


def effective(data: bytes, option: str | None = None) -> tuple[Item, ...]:
    """The effective items of the one system."""
    read = read_envelope(data)
    return hardware.effective_items(read, only_hardware(read), option)


def shown(error: DescriptorError) -> tuple[str, str]:
    """Code and whole text of an error."""
    return error.code, str(error)
