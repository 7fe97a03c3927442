"""I and R: names and texts that want to become something else, and sizes that do not fit."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Final
from xml.etree import ElementTree as ET
from xml.sax.saxutils import escape, quoteattr

from tests.build.small import CAPACITY, edited, is_installed, small_members, small_vmdk
from tests.hostile.recipe import ACCEPTED, Make, Recipe, described, packed, with_disk

_SAFE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._+-]{0,62}")
_HARDWARE: Final = "<Info>Hardware</Info>"
_NAMES: Final = (
    "-rf",
    "a/b",
    "../../x",
    "a\nb",
    "a\tb",
    ".",
    "..",
    "*",
    "$(id)",
    "`id`",
    "'",
    '"',
    "]]>",
    "&x;",
    "<x/>",
    "x" * 300,
    "\u202egnp.exe",
    "\U0001f4a9",
    "",
    " ",
    "%s%n",
    "{0}",
    "a\u0000b".replace("\0", "\u2400"),
    "\u00e4\u00f6",
    "a;b|c&d",
    "--help",
    "CON",
    "a\u2028b",
    "\ufeffa",
    "con:",
    "domain.xml",
    "run",
    "\\\\srv\\x",
)


def _named() -> Iterator[Recipe]:
    for number, name in enumerate(_NAMES):
        label = repr(name)[1:-1][:20].encode("ascii", "backslashreplace").decode() or "no name"
        make = described("<Name>vm</Name>", f"<Name>{escape(name)}</Name>")
        yield Recipe(case="I01", name=f"{number} {label}", make=make, then=partial(_is_safe, name.strip()))
    for name in ("../x", "-rf", "a/b", "a\nb", "x" * 64, "."):
        label = repr(name)[1:-1][:20]
        yield Recipe(
            case="I02",
            name=f"--name {label}",
            code="E_NAME",
            words=(f"--name={name}",),
            make=described("A machine", "x"),
        )


def _is_safe(original: str, folder: Path) -> bool:
    """One machine of a safe name, whose original stands in its definition as text."""
    (machine,) = (path.name for path in folder.iterdir())
    domain = ET.parse(folder / machine / "domain.xml").getroot()  # noqa: S314 - ours
    title = domain.findtext("title") or ""
    is_kept = not original or machine == original or title != ""
    return bool(_SAFE.fullmatch(machine)) and is_kept and is_installed(folder, machine)


def _settings() -> Iterator[Recipe]:
    injected = {
        "ExtraConfig": '<vmw:ExtraConfig vmw:key="EVIL" vmw:value="/etc/shadow"/>',
        "Config": '<vmw:Config vmw:key="EVIL" vmw:value="/etc/shadow"/>',
        "qemu:commandline": (
            '<q:commandline xmlns:q="http://libvirt.org/schemas/domain/qemu/1.0" ovf:required="false">'
            '<q:arg value="EVIL"/></q:commandline>'
        ),
        "vbox:Machine": (
            '<v:Machine xmlns:v="http://www.virtualbox.org/ovf/machine" ovf:required="false"><EVIL/></v:Machine>'
        ),
        "a libvirt disk": '<disk xmlns="" type="file" ovf:required="false"><source file="/etc/shadow"/><EVIL/></disk>',
    }
    for name, text in injected.items():
        yield Recipe(case="I03", name=name, make=described(_HARDWARE, _HARDWARE + text), then=_is_free_of_evil)
    items = {
        "a serial port to a file": (21, "<rasd:HostResource>file:///etc/shadow EVIL</rasd:HostResource>"),
        "a PCI device": (1, "<rasd:HostResource>EVIL 0000:00:1f.0</rasd:HostResource>"),
        "a shared folder": (32768, "<rasd:HostResource>/etc EVIL</rasd:HostResource>"),
        "a USB device": (1, "<rasd:Address>EVIL</rasd:Address>"),
        "a host disk": (19, "<rasd:HostResource>/dev/sda EVIL</rasd:HostResource>"),
    }
    for name, (kind, body) in items.items():
        item = (
            f"<Item><rasd:ElementName>EVIL</rasd:ElementName>{body}<rasd:InstanceID>77</rasd:InstanceID>"
            f"<rasd:ResourceSubType>EVIL</rasd:ResourceSubType><rasd:ResourceType>{kind}</rasd:ResourceType></Item>"
        )
        make = described("</VirtualHardwareSection>", f"{item}</VirtualHardwareSection>")
        code = "E_OVF_REF" if "/dev/sda" in body else ACCEPTED
        yield Recipe(case="I03", name=name, make=make, code=code, then=_is_free_of_evil)


def _is_free_of_evil(folder: Path) -> bool:
    """The usual machine, with no word of what was smuggled."""
    text = (folder / "vm/domain.xml").read_text() + (folder / "vm/run").read_text()
    return "EVIL" not in text and "/etc/shadow" not in text and is_installed(folder)


def _texts() -> Iterator[Recipe]:
    for name, text in (
        ("an escape sequence", "\u009b2J\u202e"),
        ("markup", "]]></name><devices/>&amp;"),
        ("a quote", "\"'`$(id)"),
        ("1 MB", "x" * 1_000_000),
        ("a format", "%s%n%x{0.__class__}"),
        ("newlines", "a\nb\r\nc"),
    ):
        body = escape(text)
        annotation = f"<AnnotationSection><Info/><Annotation>{body}</Annotation></AnnotationSection></VirtualSystem>"
        yield Recipe(case="I04", name=f"annotation, {name}", make=described("</VirtualSystem>", annotation))
        yield Recipe(case="I04", name=f"network, {name}", make=_network(text))
        yield Recipe(
            case="I04",
            name=f"guest, {name}",
            make=described('vmw:osType="debian12_64Guest"', f"vmw:osType={quoteattr(text)}"),
        )
    licence = "<EulaSection><Info/><License>\u009b2J &lt;b&gt;</License></EulaSection></VirtualSystem>"
    make = described("</VirtualSystem>", licence)
    yield Recipe(case="I04", name="a licence", code="E_EULA", make=make)
    yield Recipe(case="I04", name="an accepted licence", make=make, words=("--accept-eulas",))
    value = '<Property ovf:key="a\u009bb" ovf:type="string" ovf:value="$(id)"/>'
    product = f"<ProductSection><Info/><Product>\u202e</Product>{value}</ProductSection></VirtualSystem>"
    yield Recipe(
        case="I04",
        name="a product",
        make=described("</VirtualSystem>", product),
        then=lambda folder: (folder / "vm/domain.xml").exists(),
    )


def _network(text: str) -> Make:
    value, body = quoteattr(text), escape(text)
    members = edited(
        edited(small_members(), 'ovf:name="VM Network"', f"ovf:name={value}"),
        ">VM Network</rasd:Connection>",
        f">{body}</rasd:Connection>",
    )
    return packed(members)


def _room() -> Iterator[Recipe]:
    blank = f'ovf:fileRef="file1" ovf:capacity="{CAPACITY}"'
    make = packed(edited(small_members(), blank, f'ovf:capacity="{60 << 40}"'))
    yield Recipe(
        case="R03",
        name="a blank disk of 60 TiB is thin",
        make=make,
        then=lambda folder: (folder / "vm/domain.xml").exists(),
    )
    yield Recipe(
        case="R03",
        name="a descriptor that promises too much",
        code="E_DISK_CAPACITY",
        make=with_disk(small_vmdk(), capacity=str(60 << 40)),
    )


RECIPES: Final = (*_named(), *_settings(), *_texts(), *_room())
