"""Changes of a descriptor that leave all else as its author wrote it.

A descriptor that is sent to a hypervisor is its text: prefixes, order and comments included, for hypervisors read them
with all kinds of parsers. So it is not written anew from a tree; what has to change is cut out of the text and
replaced.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Final

from virt_ova.ovf.envelope import Envelope, VirtualSystem
from virt_ova.ovf.hardware import HostKind, HostReference, host_reference
from virt_ova.ovf.references import systems_of
from virt_ova.ovf.xml import Element, read_document

_TAG: Final = re.compile(rb"<[^\"'>]*(?:\"[^\"]*\"[^\"'>]*|'[^']*'[^\"'>]*)*>")
_DECLARATION: Final = re.compile(r"\A\s*<\?xml\s[^>]*\?>\s*")
_SYSTEM: Final = "VirtualSystem"
_NAME: Final = "Name"
_CONTENT: Final = frozenset({_SYSTEM, "VirtualSystemCollection", "Content"})
_OF_ALL: Final = frozenset({"StartupSection"})
"""Sections of an envelope that name its systems."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Edit:
    """`new` in the place of the bytes from `start` to `end`."""

    start: int
    end: int
    new: bytes = b""


def as_sent(text: str) -> str:
    """A descriptor's text without its XML declaration, which speaks of an encoding that it no longer has."""
    return _DECLARATION.sub("", text, count=1)


def elements_of(data: bytes) -> Element:
    """The root of the elements of the text `data` (UTF-8). Raises as `virt_ova.ovf.xml.read_document`."""
    return read_document(data).root


def below(element: Element, *names: str) -> Iterator[Element]:
    """Every element of one of these local names, at any depth below."""
    for child in element.children:
        if child.name in names:
            yield child
        yield from below(child, *names)


def child_of(element: Element, name: str) -> Element | None:
    """The first child of that local name."""
    return next((child for child in element.children if child.name == name), None)


def edited(data: bytes, edits: Iterable[Edit]) -> str:
    """The text `data` with all of `edits`, which do not overlap."""
    pieces, done = list[bytes](), 0
    for edit in sorted(edits, key=lambda edit: edit.start):
        pieces += [data[done : edit.start], edit.new]
        done = edit.end
    return b"".join([*pieces, data[done:]]).decode()


def removed(data: bytes, element: Element) -> Edit:
    """The edit that removes an element of the text `data`."""
    return Edit(start=element.starts_at, end=_end(data, element))


def refilled(data: bytes, element: Element, content: str) -> Edit:
    """The edit that puts plain words in the place of what is in an element, which has an end tag."""
    return Edit(start=_inside(data, element), end=element.ends_at, new=content.encode())


def _inside(data: bytes, element: Element) -> int:
    """Byte behind the start tag."""
    tag = _TAG.match(data, element.starts_at)
    return tag.end() if tag else element.starts_at


def _end(data: bytes, element: Element) -> int:
    """Byte behind the end tag."""
    inside = _inside(data, element)
    return inside if data.endswith(b"/>", element.starts_at, inside) else data.index(b">", element.ends_at) + 1


def only_system(text: str, envelope: Envelope, system: VirtualSystem) -> str:
    """The descriptor of a package that has only `system`, its disks and its files; `text` is that of `envelope`."""
    data = text.encode()
    root = elements_of(data)
    chosen = next(element for element, each in _pairs(root, envelope) if each is system)
    content = [child for child in root.children if child.name in _CONTENT]
    holder = chosen
    while holder.parent is not root and holder.parent is not None:
        holder = holder.parent
    edits = [removed(data, child) for child in content if child is not holder]
    if holder is not chosen:
        alone = data[chosen.starts_at : _end(data, chosen)]
        edits.append(Edit(start=holder.starts_at, end=_end(data, holder), new=alone))
    edits += [removed(data, child) for child in root.children if child.name in _OF_ALL]
    wanted = _wanted(system)
    disks = _with_parents({each.id for each in wanted if each.kind is HostKind.DISK}, envelope)
    files = {each.id for each in wanted if each.kind is HostKind.FILE}
    files |= {disk.file_ref for disk in envelope.disks if disk.id in disks}
    others = [*_entries(root, "DiskSection", "diskId", disks), *_entries(root, "References", "id", files)]
    return edited(data, [*edits, *(removed(data, other) for other in others)])


def renamed(text: str, envelope: Envelope, names: Iterable[tuple[VirtualSystem, str]]) -> str:
    """The descriptor `text` of `envelope` in which each of some systems has the name that stands with it.

    A name is a machine's (`virt_ova.plan.naming`), which XML takes as it is.
    """
    data = text.encode()
    wanted = {id(system): name for system, name in names}
    edits = [
        _rename(data, element, wanted[id(system)])
        for element, system in _pairs(elements_of(data), envelope)
        if wanted.get(id(system), system.name) != system.name
    ]
    return edited(data, [edit for edit in edits if edit])


def _rename(data: bytes, element: Element, name: str) -> Edit | None:
    """The edit that gives a system a name; its Name comes behind its Info (DSP0243 9.1), and in OVF 0.9 it has none."""
    prefix = data[element.starts_at + 1 : _inside(data, element)].split()[0].rpartition(b":")[0]
    tag = b":".join(filter(None, (prefix, _NAME.encode())))
    new = b"<%s>%s</%s>" % (tag, name.encode(), tag)
    if there := child_of(element, _NAME):
        return replace(removed(data, there), new=new)
    if element.name != _SYSTEM:
        return None
    info = child_of(element, "Info")
    place = _end(data, info) if info else _inside(data, element)
    return Edit(start=place, end=place, new=new)


def _pairs(root: Element, envelope: Envelope) -> Iterator[tuple[Element, VirtualSystem]]:
    """Each system of the envelope with its element."""
    return zip(_systems(root), systems_of(envelope), strict=True)


def _with_parents(disks: set[str], envelope: Envelope) -> set[str]:
    """The ids in `disks`, and those of the disks that they hold the difference to."""
    parents = {disk.id: disk.parent_ref for disk in envelope.disks}
    found, new = set(disks), disks
    while new := {parents.get(each, "") for each in new} - found - {""}:
        found |= new
    return found


def _wanted(system: VirtualSystem) -> list[HostReference]:
    """What of the package fills drives of `system`."""
    items = (item for hardware in system.hardware for item in hardware.items)
    found = (host_reference(text) for item in items for text in item.host_resources)
    return [reference for reference in found if reference]


def _systems(root: Element) -> Iterator[Element]:
    """Every system; in OVF 0.9 a system is a Content of that type."""
    for element in below(root, _SYSTEM, "Content"):
        if element.name == _SYSTEM or not _attribute(element, "type").endswith("Collection_Type"):
            yield element


def _entries(root: Element, section: str, key: str, kept: set[str]) -> Iterator[Element]:
    """The files or disks of a section whose `key` is not among those that are kept."""
    for child in root.children:
        if child.name == section or _attribute(child, "type").endswith(f":{section}_Type"):
            for entry in child.children:
                if entry.name in {"Disk", "File"} and _attribute(entry, key) not in kept:
                    yield entry


def _attribute(element: Element, name: str) -> str:
    """An attribute by its local name; empty when it is not there."""
    return next((value for (_, local), value in element.attributes.items() if local == name), "")
