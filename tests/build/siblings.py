"""Several equal machines that may share a disk, made of a small package."""

from __future__ import annotations

import re
from collections.abc import Sequence

from tests.build.small import small_members


def sibling_members(names: Sequence[str] = ("red", "blue"), *, shared: bool = True) -> list[tuple[str, bytes]]:
    """Descriptor and disks of machines that all name ``disk1`` and ``disk2``, the second of which may be shared."""
    members = small_members(2)
    text = members[0][1].decode()
    found = re.search("<VirtualSystem .*</VirtualSystem>", text, re.DOTALL)
    assert found
    system = found[0].replace("<rasd:VirtualQuantity>512<", "<rasd:VirtualQuantity>64<")
    systems = (system.replace('"vm"', f'"{name}"').replace("<Name>vm<", f"<Name>{name}<") for name in names)
    collection = f'<VirtualSystemCollection ovf:id="app"><Info>All</Info>{"".join(systems)}</VirtualSystemCollection>'
    text = text.replace(found[0], collection)
    if shared:
        text = text.replace('ovf:diskId="disk2"', 'ovf:diskId="disk2" ovf:shared="true"')
    return [("a.ovf", text.encode()), *members[1:]]
