"""Boot orders as VMware and OVF 2 write them."""

from __future__ import annotations

import pytest

from tests.unit.ovf.documents import VMW, envelope, only_system, system
from virt_ova.ovf.envelope import BootDevice
from virt_ova.ovf.reader import read_envelope

OVF_2 = "http://schemas.dmtf.org/ovf/envelope/2"
CIM = "http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2"


@pytest.mark.parametrize(
    ("sections", "expected"),
    [
        ('<vmw:BootOrderSection vmw:instanceId="5" vmw:type="disk"><Info/></vmw:BootOrderSection>', [("disk", "5")]),
        ('<vmw:BootOrderSection vmw:type="cdrom,NET, disk"/>', [("cdrom", ""), ("net", ""), ("disk", "")]),
        (
            '<vmw:BootOrderSection vmw:instanceId="9" vmw:type="net"/><vmw:BootOrderSection vmw:instanceId="4"/>',
            [("net", "9"), ("", "4")],
        ),
        ('<vmw:BootOrderSection vmw:type="tape"/>', []),
        ("", []),
    ],
)
def test_vmware(sections: str, expected: list[tuple[str, str]]) -> None:
    read = read_envelope(envelope(system(before=sections), attributes=VMW))
    assert only_system(read).boot == tuple(BootDevice(kind=kind, instance_id=name) for kind, name in expected)
    assert read.findings == ()


BOOT = f"""<BootDeviceSection><Info/><c:CIM_BootConfigSetting xmlns:c="{CIM}/CIM_BootConfigSetting"
xmlns:s="{CIM}/CIM_BootSourceSetting"><c:Caption>Order</c:Caption>
<s:CIM_BootSourceSetting><s:InstanceID>3</s:InstanceID></s:CIM_BootSourceSetting>
<s:CIM_BootSourceSetting><s:StructuredBootString>CIM:Hard-Disk:1</s:StructuredBootString></s:CIM_BootSourceSetting>
<s:CIM_BootSourceSetting><s:StructuredBootString>CIM:CD/DVD:1</s:StructuredBootString></s:CIM_BootSourceSetting>
<s:CIM_BootSourceSetting><s:StructuredBootString>Network</s:StructuredBootString></s:CIM_BootSourceSetting>
</c:CIM_BootConfigSetting></BootDeviceSection>"""


@pytest.mark.parametrize("body", [system(before=BOOT), system(BOOT)], ids=["in the system", "in the hardware"])
def test_ovf_2(body: str) -> None:
    read = read_envelope(envelope(body, namespace=OVF_2))
    assert only_system(read).boot == (
        BootDevice(instance_id="3"),
        BootDevice(kind="disk"),
        BootDevice(kind="cdrom"),
    )
    assert read.findings == ()
