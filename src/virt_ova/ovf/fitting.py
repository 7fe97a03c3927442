"""What of a descriptor ESXi is known to refuse, and the text that it takes instead.

VirtualBox, QEMU and others name hardware by words of their own. Where VMware has the same thing under another word, or
something that does the same, the word is replaced; what a guest can do without is left out. The package stays as it is:
only what is sent differs.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from virt_ova.ovf.edit import Edit, below, child_of, edited, elements_of, refilled, removed
from virt_ova.ovf.envelope import ResourceType
from virt_ova.ovf.xml import Element
from virt_ova.text import printable, quoted

_FAMILY: Final = re.compile(r"vmx-0*(\d{1,3})", re.IGNORECASE)
_USUAL: Final = 14
"""Hardware version for machines of another family: of ESXi 6.7, with all that is replaced here."""

_SCSI: Final = frozenset({"lsilogic", "lsilogicsas", "buslogic", "virtualscsi"})
_NICS: Final = frozenset(
    {"pcnet32", "vmxnet", "vmxnet2", "vmxnet3", "e1000", "e1000e", "sriovethernetcard", "flexible"}
)
_CD: Final = str(int(ResourceType.CD))
_STORAGE_PREFIX: Final = "vmware."


@dataclass(frozen=True, kw_only=True, slots=True)
class Change:
    """One thing that ESXi refuses.

    Attributes:
        what: it is, for people, escaped.
        instead: what takes its place; empty when it is left out.
        is_certain: whether a machine cannot be made with it; else it may be, or may not.
        edits: of the text.
    """

    what: str
    instead: str
    is_certain: bool
    edits: tuple[Edit, ...]

    @property
    def became(self) -> str:
        """What --fix-hardware does with it."""
        return f"sent as {self.instead}" if self.instead else "left out"


def misfits(text: str, *, newest: int) -> tuple[Change, ...]:
    """What of the descriptor `text` a host refuses whose newest hardware version is `newest`; 0 when not known."""
    data, found = text.encode(), list[Change]()
    for system in below(elements_of(data), "VirtualSystem", "Content"):
        sections = [element for element in system.children if child_of(element, "System")]
        families = [tuple(_family(data, section, newest)) for section in sections]
        fitting = [section for section, family in zip(sections, families, strict=True) if not family]
        if not fitting:
            found += [change for family in families for change in family]
        for section in fitting or sections:
            for item in below(section, "Item"):
                found += _item(data, item)
    return tuple(found)


def fitted(text: str, changes: tuple[Change, ...]) -> str:
    """`text` with all of `changes`, which are of that text."""
    return edited(text.encode(), (edit for change in changes for edit in change.edits))


def _family(data: bytes, section: Element, newest: int) -> Iterator[Change]:
    """The family of virtual hardware, when it is not VMware's or too new."""
    system = child_of(section, "System")
    node = child_of(system, "VirtualSystemType") if system else None
    if node is None:
        return
    versions = [int(number) for number in _FAMILY.findall(node.text)]
    if any(version <= newest for version in versions) or (versions and not newest):
        return
    number = newest if versions else min(newest or _USUAL, _USUAL)
    chosen = f"vmx-{number:02}"
    known = f" (the host knows vmx-{newest:02} at most)" if versions else ""
    what = f"hardware family {quoted(node.text.strip())}{known}"
    yield Change(what=what, instead=chosen, is_certain=True, edits=(refilled(data, node, chosen),))


def _item(data: bytes, item: Element) -> Iterator[Change]:
    kind, node = _number(item), child_of(item, "ResourceSubType")
    subtypes = re.split(r"[\s,]+", node.text.strip().lower()) if node and node.text.strip() else []
    match kind:
        case ResourceType.SOUND:
            yield Change(what=_label(item), instead="", is_certain=False, edits=(removed(data, item),))
        case ResourceType.IDE_CONTROLLER if node and subtypes:
            yield Change(what=_label(item), instead="plain IDE", is_certain=False, edits=(removed(data, node),))
        case ResourceType.DVD:
            if number := child_of(item, "ResourceType"):
                edits = (refilled(data, number, _CD),)
                yield Change(what=_label(item), instead="a CD drive", is_certain=False, edits=edits)
        case ResourceType.SCSI_CONTROLLER if node and subtypes and not _SCSI & set(subtypes):
            yield _replaced(data, item, node, "lsilogic")
        case ResourceType.ETHERNET if node and subtypes and not _NICS & set(subtypes):
            yield _replaced(data, item, node, "E1000")
        case ResourceType.OTHER_STORAGE if node and not any(each.startswith(_STORAGE_PREFIX) for each in subtypes):
            yield _replaced(data, item, node, "vmware.nvme.controller" if "nvme" in subtypes else "vmware.sata.ahci")


def _replaced(data: bytes, item: Element, node: Element, subtype: str) -> Change:
    return Change(what=_label(item), instead=subtype, is_certain=False, edits=(refilled(data, node, subtype),))


def _number(item: Element) -> int:
    node = child_of(item, "ResourceType")
    text = node.text.strip() if node else ""
    return int(text) if text.isascii() and text.isdigit() and len(text) < 6 else 0  # noqa: PLR2004 - 16 bits


def _label(item: Element) -> str:
    """``'sound' (ensoniq1371)``."""
    names = [node.text.strip() for name in ("ElementName", "Caption", "Description") if (node := child_of(item, name))]
    kind = child_of(item, "ResourceSubType")
    subtype = f" ({printable(kind.text.strip(), limit=80)})" if kind and kind.text.strip() else ""
    return f"{quoted(next(iter(names), 'item'))}{subtype}"
