from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.ovf.documents import VMW, envelope, item, items_of, only_hardware, rasd, shown, system
from virt_ova.errors import DescriptorError
from virt_ova.ovf.envelope import Item
from virt_ova.ovf.reader import read_envelope

WHERE = "Envelope/VirtualSystem/VirtualHardwareSection/Item (line 1)"


def refused(body: str) -> tuple[str, str]:
    with pytest.raises(DescriptorError) as caught:
        items_of(body)
    return shown(caught.value)


def findings(body: str) -> list[tuple[str, str]]:
    return [(f.code, f.message) for f in read_envelope(envelope(system(body))).findings]


def test_an_item_with_everything() -> None:
    body = item(6, 1) + (
        '<Item ovf:required="false" ovf:bound="MAX" ovf:configuration="a b">'
        + rasd(
            AddressOnParent=0,
            Address=5,
            AutomaticAllocation="TRUE",
            Connection="lan",
            ElementName="nic",
            HostResource="whatever",
            InstanceID=7,
            Parent=1,
            ResourceSubType="VMXNET3, e1000",
            ResourceType=10,
            VirtualQuantity=2,
        )
        + '<vmw:Config vmw:key="wakeOnLanEnabled" vmw:value="true"/><vmw:CoresPerSocket> 4 </vmw:CoresPerSocket></Item>'
    )
    assert items_of(body, attributes=VMW)[1] == Item(
        instance_id="7",
        resource_type=10,
        subtypes=("vmxnet3", "e1000"),
        element_name="nic",
        quantity=2,
        parent="1",
        address="5",
        address_on_parent="0",
        host_resources=("whatever",),
        connections=("lan",),
        automatic_allocation=True,
        required=False,
        configurations=("a", "b"),
        bound="max",
        cores_per_socket=4,
        config={"wakeOnLanEnabled": "true"},
        where=WHERE,
    )


@pytest.mark.parametrize(
    ("text", "subtypes"),
    [
        ("buslogic,lsilogic", ("buslogic", "lsilogic")),
        ("someother, lsilogic", ("someother", "lsilogic")),
        ("VMXNET3 virtio", ("vmxnet3", "virtio")),
        ("vmware.sata.ahci", ("vmware.sata.ahci",)),
        (" ", ()),
    ],
)
def test_a_subtype_is_a_preference_list(text: str, subtypes: tuple[str, ...]) -> None:
    assert items_of(item(6, 1, rasd(ResourceSubType=text)))[0].subtypes == subtypes


def test_children_are_taken_in_any_order_and_from_any_prefix() -> None:
    namespace = "http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_ResourceAllocationSettingData"
    body = (
        f'<Item xmlns:q="{namespace}"><q:VirtualQuantity>2</q:VirtualQuantity><q:ResourceType>3</q:ResourceType>'
        "<q:InstanceID>1</q:InstanceID></Item>"
    )
    assert items_of(body)[0].quantity == 2


def test_fields_of_a_foreign_namespace_do_not_count() -> None:
    body = item(3, 1, '<x:VirtualQuantity xmlns:x="urn:x">99</x:VirtualQuantity>' + rasd(VirtualQuantity=2))
    assert items_of(body)[0].quantity == 2


def test_a_field_that_is_there_twice_is_ambiguous_unless_it_says_the_same() -> None:
    assert items_of(item(3, 1, rasd(VirtualQuantity=2) * 2))[0].quantity == 2
    assert refused(item(3, 1, rasd(VirtualQuantity=2) + rasd(VirtualQuantity=4))) == (
        "E_OVF_VALUE",
        f"{WHERE}: found VirtualQuantity twice, as '2' and '4', expected it once",
    )


def test_several_host_resources_and_connections() -> None:
    body = item(10, 1, rasd(Connection="a") + rasd(Connection="b") + rasd(HostResource="x") + rasd(HostResource="y"))
    (found,) = items_of(body)
    assert found.connections == ("a", "b")
    assert found.host_resources == ("x", "y")


@pytest.mark.parametrize(
    ("unit", "quantity", "size"),
    [
        ("byte * 2^20", "512", 512 << 20),
        ("byte * 2^30", "2", 2 << 30),
        ("MegaBytes", "256", 256 << 20),
        ("byte * 2^40", "128", 128 << 40),
    ],
)
def test_memory_is_in_bytes(unit: str, quantity: str, size: int) -> None:
    (found,) = items_of(item(4, 1, rasd(AllocationUnits=unit, VirtualQuantity=quantity)))
    assert found.quantity == size


@pytest.mark.parametrize(
    ("quantity", "size", "taken"),
    [(512, 512 << 20, "MiB"), (4194303, 4194303 << 20, "MiB"), (1 << 30, 1 << 30, "bytes")],
)
def test_memory_without_unit_is_taken_by_its_size_and_noted(quantity: int, size: int, taken: str) -> None:
    body = item(4, 1, rasd(VirtualQuantity=quantity))
    assert items_of(body)[0].quantity == size
    assert findings(body) == [("OVF_MISSING_VALUE", f"the memory of {quantity} has no unit: taken as {taken}")]


@given(st.integers(min_value=1, max_value=1 << 27))
def test_any_memory_size_in_mebibytes_is_exact(mebibytes: int) -> None:
    (found,) = items_of(item(4, 1, rasd(AllocationUnits="byte * 2^20", VirtualQuantity=mebibytes)))
    assert found.quantity == mebibytes << 20


@pytest.mark.parametrize(
    ("resource_type", "fields", "message"),
    [
        (3, {"VirtualQuantity": "-1"}, "found '-1', expected a whole number up to 2^63-1"),
        (3, {"VirtualQuantity": "1e3"}, "found '1e3', expected a whole number up to 2^63-1"),
        (3, {"VirtualQuantity": "0x10"}, "found '0x10', expected a whole number up to 2^63-1"),
        (3, {"VirtualQuantity": "٣"}, "found '٣', expected a whole number up to 2^63-1"),
        (3, {"VirtualQuantity": "0"}, "found 0, expected at least 1"),
        (3, {"VirtualQuantity": "1000000"}, "found 1000000, expected at most 4096"),
        (
            4,
            {"VirtualQuantity": "1" + "0" * 30, "AllocationUnits": "MegaBytes"},
            f"found '1{'0' * 30}', expected a whole number up to 2^63-1",
        ),
        (
            4,
            {"VirtualQuantity": "1", "AllocationUnits": "byte * 2^60"},
            "found 1 in units of 'byte * 2^60', expected at most 140737488355328 bytes",
        ),
        (
            4,
            {"VirtualQuantity": "1", "AllocationUnits": "byte * 2^200"},
            "found the unit 'byte * 2^200', expected one of 1 to 2^63-1",
        ),
        (4, {"VirtualQuantity": "0", "AllocationUnits": "MegaBytes"}, "found 0, expected at least 1"),
        (10, {"VirtualQuantity": "two"}, "found 'two', expected a whole number up to 2^63-1"),
    ],
)
def test_impossible_quantities_are_refused(resource_type: int, fields: dict[str, str], message: str) -> None:
    assert refused(item(resource_type, 1, rasd(**fields))) == (
        "E_OVF_VALUE",
        f"{WHERE}: VirtualQuantity: {message}",
    )


@pytest.mark.parametrize(("resource_type", "kind"), [(3, "processor"), (4, "memory")])
def test_a_missing_quantity_is_noted(resource_type: int, kind: str) -> None:
    assert items_of(item(resource_type, 1))[0].quantity is None
    assert findings(item(resource_type, 1)) == [("OVF_MISSING_VALUE", f"the {kind} item has no VirtualQuantity")]


def test_range_markers_may_lack_a_quantity_and_a_minimum_may_be_zero() -> None:
    body = item(4, 1, attributes='ovf:bound="max"') + item(
        4, 1, rasd(AllocationUnits="MegaBytes", VirtualQuantity=0), 'ovf:bound="min"'
    )
    assert [(found.bound, found.quantity) for found in items_of(body)] == [("max", None), ("min", 0)]
    assert findings(body) == []


def test_units_of_processors_do_not_matter() -> None:
    body = item(3, 1, rasd(AllocationUnits="Processor Cores", VirtualQuantity=2))
    assert items_of(body)[0].quantity == 2


@pytest.mark.parametrize(("text", "message"), [("x", "whole number up to 2^63-1"), ("65536", "at most 65535")])
def test_an_impossible_resource_type_is_refused(text: str, message: str) -> None:
    code, shown_text = refused(item(text, 1))
    assert code == "E_OVF_VALUE"
    assert shown_text.startswith(f"{WHERE}: ResourceType: found ")
    assert shown_text.endswith(message)


def test_an_item_without_resource_type_is_refused_unless_it_is_optional() -> None:
    assert refused("<Item/>") == ("E_OVF_VALUE", f"{WHERE}: the item has no ResourceType, expected a number")
    optional = '<Item ovf:required="false"/>'
    assert items_of(optional) == ()
    assert findings(optional) == [("OVF_MISSING_VALUE", "an optional item has no ResourceType: ignored")]


def test_an_item_without_instance_id_is_noted() -> None:
    body = f"<Item>{rasd(ResourceType=6)}</Item>"
    assert items_of(body)[0].instance_id == ""
    assert findings(body) == [("OVF_MISSING_VALUE", "the item has no InstanceID: nothing can refer to it")]


def test_an_unknown_bound_is_refused() -> None:
    assert refused(item(4, 1, attributes='ovf:bound="medium"')) == (
        "E_OVF_VALUE",
        f"{WHERE}: found the bound 'medium', expected min, max or normal",
    )


def test_an_odd_automatic_allocation_is_noted() -> None:
    body = item(15, 1, rasd(AutomaticAllocation="often"))
    assert items_of(body)[0].automatic_allocation is None
    assert findings(body) == [("OVF_ODD_VALUE", "found 'often', expected true or false: ignored")]


def test_the_section_itself() -> None:
    body = (
        "<System><vssd:VirtualSystemType>vmx-04 xen-3</vssd:VirtualSystemType>"
        "<vssd:VirtualSystemType>vmx-07,qemu-pc</vssd:VirtualSystemType></System>"
        '<vmw:Config ovf:required="false" vmw:key="firmware" vmw:value="efi"/>'
        '<vmw:ExtraConfig vmw:key="nvram" vmw:value="ovf:/file/file2"/><Odd/><x:Odd xmlns:x="urn:x"/>'
    )
    data = envelope(system(body, hardware_attributes='ovf:transport="iso  com.vmware.guestInfo"'), attributes=VMW)
    read = read_envelope(data)
    found = only_hardware(read)
    assert found.system_types == ("vmx-04", "xen-3", "vmx-07", "qemu-pc")
    assert found.transports == ("iso", "com.vmware.guestInfo")
    assert found.config == {"firmware": "efi"}
    assert found.extra_config == {"nvram": "ovf:/file/file2"}
    assert [f.where for f in read.findings] == ["Envelope/VirtualSystem/VirtualHardwareSection/Odd (line 1)"]
