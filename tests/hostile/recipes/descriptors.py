"""X and N: what a descriptor can be, and what it can refer to."""

from __future__ import annotations

import codecs
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Final

from tests.build.ova import build_folder
from tests.build.small import CAPACITY, edited, small_members
from tests.hostile.recipe import ACCEPTED, Make, Recipe, Stage, described, rows, with_descriptor
from virt_ova.units import MIB

_TEXT: Final = small_members()[0][1].decode()
_PROLOGUE: Final = '<?xml version="1.0" encoding="UTF-8"?>\n'
_BODY: Final = _TEXT.removeprefix(_PROLOGUE)
_INFO: Final = "<Info>A machine</Info>"
_CPUS: Final = "<rasd:VirtualQuantity>2</rasd:VirtualQuantity>"
_MEMORY: Final = "<rasd:VirtualQuantity>512</rasd:VirtualQuantity>"
_UNIT: Final = "byte * 2^20"
_OVF: Final = "http://schemas.dmtf.org/ovf/envelope/1"


def _late(make: Callable[[], bytes]) -> Make:
    """As `with_descriptor`, of one that is made when it is needed."""

    def written(stage: Stage) -> Path | str:
        return with_descriptor(make())(stage)

    return written


def _with_secret(text: str) -> Make:
    """A descriptor with the path of the secret for ``{}``."""
    return lambda stage: with_descriptor(text.replace("{}", str(stage.secret)).encode())(stage)


def _document_types() -> Iterator[Recipe]:
    entities = {
        "a file": '<!DOCTYPE e [<!ENTITY x SYSTEM "file://{}">]>',
        "a path": '<!DOCTYPE e [<!ENTITY x SYSTEM "{}">]>',
        "a parameter": '<!DOCTYPE e [<!ENTITY % x SYSTEM "file://{}"> %x;]>',
        "a DTD by http": '<!DOCTYPE e SYSTEM "http://127.0.0.1:9/e.dtd">',
        "a public DTD": '<!DOCTYPE e PUBLIC "-//X//Y" "http://127.0.0.1:9/e.dtd">',
        "an empty one": "<!DOCTYPE Envelope>",
        "an internal entity": '<!DOCTYPE e [<!ENTITY x "x">]>',
        "a notation": '<!DOCTYPE e [<!NOTATION n SYSTEM "{}">]>',
        "an attribute list": '<!DOCTYPE e [<!ATTLIST Envelope a CDATA "x">]>',
    }
    makes = [
        (name, _with_secret(_PROLOGUE + entity + _BODY.replace(_INFO, "<Info>&x;</Info>")))
        for name, entity in entities.items()
    ]
    yield from rows("X01", "E_OVF_DOCTYPE", makes)
    doctype = '<!DOCTYPE e [<!ENTITY x SYSTEM "file:///etc/passwd">]>' + _BODY
    for name, mark, encoding in (
        ("little", codecs.BOM_UTF16_LE, "utf-16-le"),
        ("big", codecs.BOM_UTF16_BE, "utf-16-be"),
    ):
        yield Recipe(
            case="X01",
            name=f"UTF-16, {name} end first",
            code="E_OVF_DOCTYPE",
            make=with_descriptor(mark + doctype.encode(encoding)),
        )
    harmless = {
        "XInclude": _TEXT.replace(
            _INFO, f'{_INFO}<x:include xmlns:x="http://www.w3.org/2001/XInclude" href="{{}}" parse="text"/>'
        ),
        "schemaLocation": _TEXT.replace(
            "<Envelope ",
            '<Envelope xmlns:i="http://www.w3.org/2001/XMLSchema-instance" '
            'i:schemaLocation="x http://127.0.0.1:9/x.xsd" ',
        ),
        "a style sheet": _PROLOGUE + '<?xml-stylesheet href="http://127.0.0.1:9/x.xsl" type="text/xsl"?>' + _BODY,
        "xml:base": _TEXT.replace("<Envelope ", '<Envelope xml:base="http://127.0.0.1:9/" '),
    }
    yield from rows("X01", ACCEPTED, [(name, _with_secret(text)) for name, text in harmless.items()])
    yield Recipe(
        case="X01", name="an entity that is not declared", code="E_OVF_XML", make=described(_INFO, "<Info>&x;</Info>")
    )
    laughs = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 10))
    laughing = f'{_PROLOGUE}<!DOCTYPE e [<!ENTITY l0 "ha">{laughs}]>' + _BODY.replace(_INFO, "<Info>&l9;</Info>")
    yield Recipe(case="X02", name="billion laughs", code="E_OVF_DOCTYPE", make=with_descriptor(laughing.encode()))
    quadratic = f'{_PROLOGUE}<!DOCTYPE e [<!ENTITY l "{"x" * 100_000}">]>' + _BODY.replace(
        _INFO, f"<Info>{'&l;' * 5000}</Info>"
    )
    yield Recipe(case="X02", name="quadratic", code="E_OVF_DOCTYPE", make=with_descriptor(quadratic.encode()))


def _large() -> Iterator[Recipe]:
    opening = f'<Envelope xmlns="{_OVF}">'
    bodies: dict[str, Callable[[], str]] = {
        "500,000 deep": lambda: "<a>" * 500_000,
        "65 deep": lambda: "<a>" * 65,
        "400,000 siblings": lambda: "<a/>" * 400_000,
        "400,000 attributes": lambda: "<a " + " ".join(f'a{n}="1"' for n in range(300_000)) + "/>",
        "100,000 namespaces": lambda: "<a " + " ".join(f'xmlns:a{n}="u{n}"' for n in range(100_001)) + "/>",
        "an attribute of 4 MiB": lambda: f'<a b="{"x" * 4 * MIB}"/>',
    }
    for name, body in bodies.items():
        case = "X04" if name.startswith("an ") else "X03"
        make = _late(lambda body=body: (opening + body()).encode())  # type: ignore[misc]
        yield Recipe(case=case, name=name, code="E_OVF_LIMIT", make=make)
    yield Recipe(
        case="X04", name="4 MiB and a byte", code="E_OVF_LIMIT", make=_late(lambda: _TEXT.ljust(4 * MIB + 1).encode())
    )
    yield Recipe(case="X04", name="4 MiB", make=_late(lambda: _TEXT.ljust(4 * MIB).encode()))
    yield Recipe(case="X04", name="200 MiB", code="E_OVF_LIMIT", make=_huge_in_folder)
    yield Recipe(case="X04", name="no bytes", code="E_OVF_XML", make=with_descriptor(b""))
    yield Recipe(
        case="X04",
        name="a comment of 3 MiB",
        make=_late(_with_comment),
    )


def _with_comment() -> bytes:
    return (_PROLOGUE + f"<!--{'x' * 3 * MIB}-->" + _BODY).encode()


def _huge_in_folder(stage: Stage) -> Path:
    with (stage.folder / "a.ovf").open("wb") as file:
        file.truncate(200 * MIB)
    return stage.folder


def _encodings() -> Iterator[Recipe]:
    data = {
        "UTF-7": _TEXT.replace("UTF-8", "UTF-7").encode("utf-7"),
        "UTF-32": _TEXT.replace("UTF-8", "UTF-32").encode("utf-32"),
        "EBCDIC": _TEXT.encode("cp500"),
        "a NUL": _TEXT.replace("A machine", "A\0machine").encode(),
        "a stray byte": _TEXT.encode().replace(b"A machine", b"A\xffmachine"),
        "Latin-1": _TEXT.replace("UTF-8", "ISO-8859-1").encode(),
        "an overlong form": _TEXT.encode().replace(b"A machine", b"A\xc0\xaf"),
        "a surrogate": _TEXT.encode().replace(b"A machine", b"\xed\xa0\x80"),
        "UTF-16 without a mark": _TEXT.encode("utf-16-le"),
        "an unknown one": _TEXT.replace("UTF-8", "x-evil").encode(),
        "half a UTF-16": codecs.BOM_UTF16_LE + b"<",
    }
    yield from rows("X05", "E_OVF_ENCODING", [(name, with_descriptor(text)) for name, text in data.items()])
    wide = _TEXT.replace("UTF-8", "UTF-16").encode("utf-16")
    marked = codecs.BOM_UTF8 + _TEXT.encode()
    yield from rows("X05", ACCEPTED, [("UTF-16", with_descriptor(wide)), ("a mark", with_descriptor(marked))])
    false_mark = codecs.BOM_UTF16_LE + _TEXT.encode()
    yield Recipe(case="X05", name="UTF-8 with a mark of UTF-16", code="E_OVF_XML", make=with_descriptor(false_mark))
    broken = {
        "two roots": _TEXT + "<a/>",
        "cut": _TEXT[:2000],
        "text behind": _TEXT + "x",
        "an open tag": _TEXT.replace("</Envelope>", ""),
        "a control character": _TEXT.replace("A machine", "A\1machine"),
        "an attribute twice": _TEXT.replace('ovf:id="vm"', 'ovf:id="vm" ovf:id="x"'),
        "the same attribute by two prefixes": _TEXT.replace('ovf:id="vm"', f'ovf:id="vm" xmlns:o="{_OVF}" o:id="x"'),
        "a prefix of nothing": _TEXT.replace("<Info>A", "<no:Info>A"),
        "a null reference": _TEXT.replace("A machine", "&#0;"),
    }
    yield from rows("X05", "E_OVF_XML", [(name, with_descriptor(text.encode())) for name, text in broken.items()])


def _references() -> Iterator[Recipe]:
    disk = f'<Disk ovf:diskId="disk1" ovf:fileRef="file1" ovf:capacity="{CAPACITY}"'
    twice = {
        "two disks of one id": (disk, f"{disk}/>{disk}"),
        "a file that is not there": ('ovf:fileRef="file1"', 'ovf:fileRef="no"'),
        "two files of one id": ("<References>", '<References><File ovf:id="file1" ovf:href="b.vmdk"/>'),
        "a disk that is not there": ("ovf:/disk/disk1", "ovf:/disk/no"),
        "a file in the place of a disk": ("ovf:/disk/disk1", "ovf:/file/no"),
        "a reference that is none": ("ovf:/disk/disk1", "file:///etc/shadow"),
        "a path": ("ovf:/disk/disk1", "/etc/shadow"),
        "a reference to nothing": ("ovf:/disk/disk1", "ovf:/disk/"),
        "a disk that is its own parent": ('ovf:diskId="disk1"', 'ovf:diskId="disk1" ovf:parentRef="disk1"'),
        "two items of one number": ("<rasd:InstanceID>11</rasd:InstanceID>", "<rasd:InstanceID>3</rasd:InstanceID>"),
        "its own controller": ("<rasd:Parent>3</rasd:Parent>", "<rasd:Parent>11</rasd:Parent>"),
        "a controller that is not there": ("<rasd:Parent>3</rasd:Parent>", "<rasd:Parent>99</rasd:Parent>"),
    }
    for name, (old, new) in twice.items():
        yield Recipe(case="X07", name=name, code="E_OVF_REF", make=described(old, new))


def _numbers() -> Iterator[Recipe]:
    wrong = (
        "-1",
        "1e9",
        "0x10",
        "\u0662",
        "9" * 30,
        "2.5",
        "1_000",
        "two",
        "1 2",
        "0",
        "1000000000",
        "\u00b2",
        "+-2",
        "9" * 5000,
    )
    for value in wrong:
        label = value if len(value) < 20 else f"{len(value)} digits of"
        yield Recipe(
            case="X08", name=f"{label} CPUs", code="E_OVF_VALUE", make=described(_CPUS, _CPUS.replace("2", value))
        )
        yield Recipe(
            case="X08", name=f"{label} MiB", code="E_OVF_VALUE", make=described(_MEMORY, _MEMORY.replace("512", value))
        )
    units = (
        "byte * 2^200",
        "byte * 2^-1",
        "byte * 0",
        "byte * 9999999999999999999 * 9999999999999999999",
        "byte" + " * 2" * 60,
    )
    yield from rows("X08", "E_OVF_VALUE", [(unit[:20], described(_UNIT, unit)) for unit in units[:1] + units[2:4]])
    others = (units[1], units[4], "evil", "byte * x", "byte ** 2", "2^20", "byte * 2^9999999999")
    yield from rows("X08", "E_OVF_UNIT", [(unit[:20], described(_UNIT, unit)) for unit in others])


def _namespaces() -> Iterator[Recipe]:
    roots = {
        "another namespace": _TEXT.replace(_OVF, "http://evil.example/1"),
        "another root": "<html/>",
        "OVF 3": _TEXT.replace("envelope/1", "envelope/3"),
        "a foreign Envelope": '<Envelope xmlns="http://schemas.xmlsoap.org/soap/envelope/"/>',
    }
    yield from rows("X09", "E_OVF_VERSION", [(name, with_descriptor(text.encode())) for name, text in roots.items()])
    foreign = '<VirtualSystem xmlns="http://evil.example/1" ovf:id="evil"><Name>evil</Name></VirtualSystem>'
    fine = {
        "a machine of another vocabulary": _TEXT.replace("<NetworkSection>", f"{foreign}<NetworkSection>"),
        "a disk of another vocabulary": _TEXT.replace(
            "<DiskSection>", '<DiskSection><Disk xmlns="urn:x" ovf:diskId="disk1" ovf:capacity="1"/>'
        ),
        "hardware of another vocabulary": _TEXT.replace(
            "<System>",
            '<Item xmlns="urn:x"><ResourceType>3</ResourceType><VirtualQuantity>99</VirtualQuantity></Item><System>',
        ),
        "another prefix": _TEXT.replace("ovf:", "evil:")
        .replace("xmlns:ovf", "xmlns:evil")
        .replace("evil:/disk", "ovf:/disk"),
    }
    yield from rows("X09", ACCEPTED, [(name, with_descriptor(text.encode())) for name, text in fine.items()])
    none = _TEXT.replace("VirtualSystem>", "Nothing>").replace("<VirtualSystem ", "<Nothing ")
    yield Recipe(case="X09", name="no machine", code="E_OVF_HARDWARE", make=with_descriptor(none.encode()))
    bare = _TEXT.replace("VirtualHardwareSection", "NoHardwareSection")
    yield Recipe(case="X09", name="no hardware", code="E_OVF_HARDWARE", make=with_descriptor(bare.encode()))


def _remote() -> Iterator[Recipe]:
    urls = (
        "http://127.0.0.1:9/x",
        "https://127.0.0.1:9/x",
        "HTTP://127.0.0.1:9/x",
        "ftp://127.0.0.1/x",
        "file:///etc/shadow",
        "//127.0.0.1/x",
        "http://2130706433/x",
        "http://169.254.169.254/latest",
        "nbd://127.0.0.1/x",
        "gopher://127.0.0.1/x",
        "data:;base64,eA==",
        "smb://127.0.0.1/x",
        "http:/x",
        "jar:file:/x",
        "http://user:secret@127.0.0.1/x",
    )
    yield from rows(
        "N01", "E_REF_REMOTE", [(url, described('ovf:href="a1.vmdk"', f'ovf:href="{url}"')) for url in urls]
    )
    outside = (
        "/etc/shadow",
        "../outside/secret",
        "a/../../outside/secret",
        "%2e%2e/outside/secret",
        "..%2foutside%2fsecret",
        "..\\outside",
        "C:\\x",
        "c:x",
        "./../x",
        "",
        ".",
        "..",
        "a\u0007b",
        "/",
        "a//b",
    )
    for href in outside:
        code = "E_REF_OUTSIDE" if href else "E_OVF_VALUE"
        make = described('ovf:href="a1.vmdk"', f'ovf:href="{href.replace(chr(7), "&#9;")}"')
        yield Recipe(case="N02", name=repr(href)[1:-1], code=code, make=make)
        folder = partial(_folder, href.replace(chr(7), "&#9;"))
        yield Recipe(case="N02", name=f"{repr(href)[1:-1]} in a folder", code=code, make=folder)
    for href in ("*", "a?.vmdk", "~", "$HOME", "|id", "-", "a1.vmdk%00", "nul", "a.ovf.vmdk"):
        code = "E_REF_OUTSIDE" if "%00" in href else "E_PKG_FILE"
        yield Recipe(case="N02", name=href, code=code, make=described('ovf:href="a1.vmdk"', f'ovf:href="{href}"'))
    yield Recipe(case="N02", name="the secret's path", code="E_REF_OUTSIDE", make=_secret_path)
    yield Recipe(case="N02", name="a linked folder", code="E_REF_OUTSIDE", make=_behind_link)
    yield Recipe(case="N02", name="a descriptor that is a link", code="E_REF_OUTSIDE", make=_linked_descriptor)


def _folder(href: str, stage: Stage) -> Path:
    members = edited(small_members(), 'ovf:href="a1.vmdk"', f'ovf:href="{href}"')
    return build_folder(stage.folder, members) / "a.ovf"


def _secret_path(stage: Stage) -> Path:
    return _folder(str(stage.secret), stage)


def _behind_link(stage: Stage) -> Path:
    (stage.folder / "d").symlink_to(stage.outside)
    return _folder("d/secret", stage)


def _linked_descriptor(stage: Stage) -> Path:
    (stage.folder / "a.ovf").symlink_to(stage.secret)
    return stage.folder / "a.ovf"


RECIPES: Final = (
    *_document_types(),
    *_large(),
    *_encodings(),
    *_references(),
    *_numbers(),
    *_namespaces(),
    *_remote(),
)
