"""An OVF descriptor as values.

Names follow DSP0243 (OVF 1.1.1 and 2.1.1). Everything is frozen and checked when it is made by `virt_ova.ovf.reader`;
text is as the author wrote it (escape it with `virt_ova.text` before showing it). Sizes are in bytes, whatever unit the
descriptor used.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum

from virt_ova.findings import Finding


class ResourceType(IntEnum):
    """CIM_ResourceAllocationSettingData.ResourceType, the values that OVF writers use."""

    OTHER = 1
    PROCESSOR = 3
    MEMORY = 4
    IDE_CONTROLLER = 5
    SCSI_CONTROLLER = 6
    FC_HBA = 7
    ISCSI_HBA = 8
    ETHERNET = 10
    FLOPPY = 14
    CD = 15
    DVD = 16
    DISK = 17
    STORAGE_EXTENT = 19
    OTHER_STORAGE = 20
    SERIAL_PORT = 21
    PARALLEL_PORT = 22
    USB_CONTROLLER = 23
    GRAPHICS = 24
    LOGICAL_DISK = 31
    TPM = 34
    SOUND = 35


@dataclass(frozen=True, kw_only=True, slots=True)
class File:
    """References/File (DSP0243 7.1).

    Attributes:
        id: unique in the envelope.
        href: as written; a member name only after the package checked it.
        size_bytes: ``ovf:size``, the stored size; None when absent.
        compression: ``gzip``, ``bzip2``, ``identity`` or empty.
        chunk_bytes: ``ovf:chunkSize``; None when the file is in one piece.
    """

    id: str
    href: str
    size_bytes: int | None = None
    compression: str = ""
    chunk_bytes: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Disk:
    """DiskSection/Disk (DSP0243 9.1).

    Attributes:
        id: ``ovf:diskId``.
        file_ref: id of the File, or empty for a blank disk.
        parent_ref: id of the parent Disk of a delta disk, or empty.
        capacity_bytes: None when it is a property reference that has no value, or cannot be read.
        capacity_property: the key when the capacity is written ``${key}``, or empty.
        capacity_units: the unit of that property's value, as written.
        populated_bytes: ``ovf:populatedSize``, if given.
        format_uri: ``ovf:format``.
        shared: whether machines of a collection share it.
        interface: how oVirt attaches it (``virtio``, ``virtio_scsi``, ``ide``, ``sata``), lower case; else empty.
    """

    id: str
    file_ref: str = ""
    parent_ref: str = ""
    capacity_bytes: int | None = None
    capacity_property: str = ""
    capacity_units: str = ""
    populated_bytes: int | None = None
    format_uri: str = ""
    shared: bool = False
    interface: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Network:
    """NetworkSection/Network (DSP0243 9.2)."""

    name: str
    description: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class DeploymentOption:
    """DeploymentOptionSection/Configuration (DSP0243 9.8)."""

    id: str
    label: str = ""
    description: str = ""
    default: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Item:
    """One piece of virtual hardware (DSP0243 8.2): Item, StorageItem or EthernetPortItem.

    Attributes:
        instance_id: as written.
        resource_type: the number; `ResourceType` names the known ones.
        subtypes: ResourceSubType split into its preference list, lower case, best first.
        element_name: the author's name for it (``Caption`` in OVF 0.9).
        quantity: VirtualQuantity in items (CPUs, NICs), or bytes for memory; None when absent.
        parent: InstanceID of the controller, or empty.
        address: Address, as written.
        address_on_parent: AddressOnParent, as written.
        host_resources: HostResource values, as written; oVirt's bare image paths as ``ovf:/disk/ID``.
        connections: Connection values (network names).
        automatic_allocation: AutomaticAllocation; None when absent.
        required: ``ovf:required``, true unless said otherwise.
        configurations: deployment options it belongs to; empty means all.
        bound: ``min``, ``max`` or ``normal`` for a range marker; empty for real hardware.
        cores_per_socket: ``vmw:CoresPerSocket``, or oVirt's ``cpu_per_socket``, if given.
        config: ``vmw:Config`` keys and values of this item.
        where: element path, for messages.
    """

    instance_id: str
    resource_type: int
    subtypes: tuple[str, ...] = ()
    element_name: str = ""
    quantity: int | None = None
    parent: str = ""
    address: str = ""
    address_on_parent: str = ""
    host_resources: tuple[str, ...] = ()
    connections: tuple[str, ...] = ()
    automatic_allocation: bool | None = None
    required: bool = True
    configurations: tuple[str, ...] = ()
    bound: str = ""
    cores_per_socket: int | None = None
    config: Mapping[str, str] = field(default_factory=dict)
    where: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class VirtualHardware:
    """VirtualHardwareSection (DSP0243 8.1).

    Attributes:
        system_types: VirtualSystemType split into its preference list.
        transports: ``ovf:transport`` split at blanks (``iso``, ``com.vmware.guestInfo``).
        items: all items, of every configuration, range markers included.
        config: ``vmw:Config`` of the section (``firmware``, ``bootOptions.efiSecureBootEnabled``); also what other
            products say of firmware elsewhere: ``ovirt.biosType`` and ``vbox.firmware``.
        extra_config: ``vmw:ExtraConfig``; never copied to a machine, only read where a key is known.
    """

    system_types: tuple[str, ...] = ()
    transports: tuple[str, ...] = ()
    items: tuple[Item, ...] = ()
    config: Mapping[str, str] = field(default_factory=dict)
    extra_config: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class OperatingSystem:
    """OperatingSystemSection (DSP0243 9.6).

    Attributes:
        id: CIM_OperatingSystem.OSType; None when absent.
        type: ``vmw:osType`` or ``vbox:OSType``, or empty.
        description: for people.
        version: ``ovf:version``.
    """

    id: int | None = None
    type: str = ""
    description: str = ""
    version: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Property:
    """ProductSection/Property (DSP0243 9.5).

    Attributes:
        key: the full key, ``[class.]key[.instance]``.
        type: ``string``, ``boolean``, ``uint16``, ... as written.
        qualifiers: ``ovf:qualifiers``, as written.
        value: default value; None when there is none.
        option_values: default by deployment option (``Value`` elements).
        user_configurable: whether the installer may change it.
        password: whether the value must never be shown.
        label: for people.
        description: for people.
    """

    key: str
    type: str = "string"
    qualifiers: str = ""
    value: str | None = None
    option_values: Mapping[str, str] = field(default_factory=dict)
    user_configurable: bool = False
    password: bool = False
    label: str = ""
    description: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Product:
    """ProductSection (DSP0243 9.5)."""

    name: str = ""
    vendor: str = ""
    version: str = ""
    full_version: str = ""
    properties: tuple[Property, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class StartupItem:
    """StartupSection/Item (DSP0243 9.7). Delays are in seconds."""

    system_id: str
    order: int
    start_delay: int = 0
    stop_delay: int = 0
    wait_for_guest: bool = False
    start_action: str = "powerOn"
    stop_action: str = "powerOff"


@dataclass(frozen=True, kw_only=True, slots=True)
class BootDevice:
    """What is booted from, one step of the order that a system asks for.

    VMware's ``vmw:BootOrderSection`` and OVF 2's BootDeviceSection (DSP0243 2.1, 9.13) say it by an item, by a kind of
    device, or by both.

    Attributes:
        kind: ``disk``, ``cdrom``, ``floppy``, ``net``, or empty.
        instance_id: InstanceID of the item, or empty.
    """

    kind: str = ""
    instance_id: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class VirtualSystem:
    """VirtualSystem (DSP0243 7.2): one machine.

    Attributes:
        id: ``ovf:id``.
        name: ``Name``, else the id.
        info: ``Info``.
        annotation: AnnotationSection.
        eulas: texts of EulaSections.
        os: the operating system.
        hardware: VirtualHardwareSections in their order; may be empty.
        products: ProductSections.
        boot: what to boot from, first to last; empty when the package does not say.
        vendor: what products say in elements of their own (``vbox:Machine``, oVirt's fields), by path; to be looked at.
        where: element path.
    """

    id: str
    name: str = ""
    info: str = ""
    annotation: str = ""
    eulas: tuple[str, ...] = ()
    os: OperatingSystem = field(default_factory=OperatingSystem)
    hardware: tuple[VirtualHardware, ...] = ()
    products: tuple[Product, ...] = ()
    boot: tuple[BootDevice, ...] = ()
    vendor: Mapping[str, str] = field(default_factory=dict)
    where: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class VirtualSystemCollection:
    """VirtualSystemCollection (DSP0243 7.3): machines, and collections, in their order."""

    id: str
    name: str = ""
    info: str = ""
    annotation: str = ""
    eulas: tuple[str, ...] = ()
    products: tuple[Product, ...] = ()
    startup: tuple[StartupItem, ...] = ()
    content: tuple[VirtualSystem | VirtualSystemCollection, ...] = ()
    where: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Envelope:
    """Envelope (DSP0243 7): a whole descriptor.

    Attributes:
        ovf_version: ``0.9``, ``1.x`` family (``1.0``, ``1.1``) or ``2.x``.
        namespace: of the root element.
        producer: ``vmware``, ``virtualbox``, ``ovirt``, ``xen``, ``ibm``... or ``unknown``.
        language: ``xml:lang`` of the root, or empty.
        locales: languages that message bundles have texts in, in their order.
        strings_files: ids of the files that hold message bundles, read or not.
        files: References.
        disks: DiskSection.
        networks: NetworkSection.
        deployment_options: DeploymentOptionSection.
        startup: StartupSection of the envelope itself, which XenServer writes; see also the collections'.
        content: what is directly in the envelope; most have exactly one.
        findings: what was noticed while reading.
    """

    ovf_version: str
    namespace: str
    producer: str = "unknown"
    language: str = ""
    locales: tuple[str, ...] = ()
    strings_files: tuple[str, ...] = ()
    files: tuple[File, ...] = ()
    disks: tuple[Disk, ...] = ()
    networks: tuple[Network, ...] = ()
    deployment_options: tuple[DeploymentOption, ...] = ()
    startup: tuple[StartupItem, ...] = ()
    content: tuple[VirtualSystem | VirtualSystemCollection, ...] = ()
    findings: tuple[Finding, ...] = ()
