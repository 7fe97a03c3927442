"""XML of untrusted origin as a small tree that knows its lines.

Expat reads it, fed once (fed in pieces, old versions take quadratic time), with limits checked while it parses. A
descriptor needs no document type, so none is allowed, and with it go entities, external subsets and their attacks.
Text is decoded here, not by expat: UTF-8, or UTF-16 with a byte order mark, and nothing that pretends to be another.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from xml.parsers import expat

from virt_ova.errors import DescriptorError
from virt_ova.text import printable, quoted

MAX_BYTES: Final = 4 << 20
"""Largest descriptor; the largest that a product ships has half a megabyte."""

MAX_DEPTH: Final = 64
"""Deepest nesting; real descriptors reach 9."""

MAX_ELEMENTS: Final = 100_000
"""Most elements; real descriptors reach 3,244."""

MAX_ATTRIBUTES: Final = 100_000
"""Most equal signs: expat gathers all attributes and namespaces of a tag before it tells, so they are counted first."""

_SEPARATOR = "\f"
"""Between namespace and local name, as expat reports them. XML has no form feed, so neither part can contain it."""

_DECLARATION = re.compile(
    r"\s*<\?xml\s[^>]{0,200}?\bencoding\s*=\s*(?:\"(?P<double>[^\"]*)\"|'(?P<single>[^']*)')",
    re.ASCII,
)
_UTF_16 = "utf-16"
_WIDE_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_WIDE_ENCODINGS = frozenset({"", _UTF_16})
_BYTE_ENCODINGS = frozenset({"", "utf-8", "utf8", "us-ascii", "ascii", _UTF_16})
"""What a document of bytes may declare. XenCenter makes its text as UTF-16 and writes it as UTF-8; without a mark and
without NUL characters it cannot be anything else."""


class Element:
    """One element: its name, attributes, children, text and line.

    Attributes:
        namespace: URI, empty for none.
        name: local name.
        attributes: by (namespace, local name).
        children: in document order.
        text: all character data directly inside, joined.
        line: where the start tag begins, from 1.
        starts_at: byte of the start tag, in the text as UTF-8.
        ends_at: byte of the end tag; for an element without one, somewhere behind its start.
        parent: the element around it, None for the root.
    """

    __slots__ = ("attributes", "children", "ends_at", "line", "name", "namespace", "parent", "starts_at", "text")

    def __init__(
        self,
        *,
        namespace: str,
        name: str,
        attributes: Mapping[tuple[str, str], str],
        line: int,
        starts_at: int = 0,
        parent: Element | None,
    ) -> None:
        self.namespace = namespace
        self.name = name
        self.attributes = attributes
        self.children: list[Element] = []
        self.text = ""
        self.line = line
        self.starts_at = self.ends_at = starts_at
        self.parent = parent

    @property
    def where(self) -> str:
        """The path from the root, and the line, escaped: ``Envelope/DiskSection/Disk (line 12)``."""
        names = [self.name]
        ancestor = self.parent
        while ancestor is not None:
            names.append(ancestor.name)
            ancestor = ancestor.parent
        return f"{printable('/'.join(reversed(names)))} (line {self.line})"


@dataclass(frozen=True, kw_only=True, slots=True)
class Document:
    """A whole document.

    Attributes:
        root: its root.
        namespaces: all that it declares anywhere.
        is_misdeclared: whether it declares UTF-16 and is UTF-8.
    """

    root: Element
    namespaces: frozenset[str]
    is_misdeclared: bool = False


def read_document(data: bytes) -> Document:
    """The tree of `data`.

    Raises:
        DescriptorError: it is too large, deep or wide (``E_OVF_LIMIT``), not in an accepted encoding
            (``E_OVF_ENCODING``), has a document type (``E_OVF_DOCTYPE``) or is not well-formed (``E_OVF_XML``).
    """
    if len(data) > MAX_BYTES:
        raise _limit(f"the descriptor has {len(data)} bytes, expected at most {MAX_BYTES}")
    text = decode(data)
    is_wide = data.startswith(_WIDE_MARKS)
    return _Parser().parse(text, is_misdeclared=not is_wide and _declared(text).lower() == _UTF_16)


def _limit(message: str) -> DescriptorError:
    return DescriptorError(message, code="E_OVF_LIMIT", hint="No known product writes such a descriptor.")


def decode(data: bytes) -> str:
    """`data` as text, without byte order mark.

    Raises:
        DescriptorError: it is not in an accepted encoding (``E_OVF_ENCODING``).
    """
    is_wide = data.startswith(_WIDE_MARKS)
    try:
        text = data.decode(_UTF_16 if is_wide else "utf-8-sig")
    except UnicodeDecodeError as exc:
        name = "UTF-16" if is_wide else "UTF-8"
        raise _encoding(f"byte {exc.start} of the descriptor is not {name} ({exc.reason})") from exc
    if (zero := text.find("\0")) >= 0:
        raise _encoding(f"character {zero} of the descriptor is a NUL, which XML does not have")
    declared = _declared(text)
    if declared.lower() not in (_WIDE_ENCODINGS if is_wide else _BYTE_ENCODINGS):
        found = "UTF-16" if is_wide else "no byte order mark"
        raise _encoding(f"the descriptor declares the encoding {quoted(declared)} but has {found}")
    return text


def _declared(text: str) -> str:
    """The encoding that a document says it has; empty when it says nothing."""
    match = _DECLARATION.match(text)
    return (match["double"] or match["single"] or "") if match else ""


def _encoding(message: str) -> DescriptorError:
    return DescriptorError(
        f"{message}; expected UTF-8, or UTF-16 with a byte order mark",
        code="E_OVF_ENCODING",
        hint="Convert the descriptor to UTF-8 and say so in its first line; its digest in the manifest changes.",
    )


class _Parser:
    """One run of expat."""

    def __init__(self) -> None:
        self._root: Element | None = None
        self._open: list[Element] = []
        self._texts: list[list[str]] = []
        self._count = 0
        self._namespaces: set[str] = set()
        self._expat = expat.ParserCreate("utf-8", _SEPARATOR)
        self._expat.buffer_text = True
        self._expat.StartDoctypeDeclHandler = self._doctype
        self._expat.StartNamespaceDeclHandler = self._namespace
        self._expat.StartElementHandler = self._start
        self._expat.EndElementHandler = self._end
        self._expat.CharacterDataHandler = self._characters

    def parse(self, text: str, *, is_misdeclared: bool) -> Document:
        if text.count("=") > MAX_ATTRIBUTES:
            raise _limit(f"the descriptor has {text.count('=')} equal signs, expected at most {MAX_ATTRIBUTES}")
        try:
            self._expat.Parse(text.encode(), True)  # noqa: FBT003 - expat's own signature
        except expat.ExpatError as exc:
            reason = expat.ErrorString(exc.code)
            raise DescriptorError(
                f"the descriptor is not well-formed XML: {reason} at line {exc.lineno}, column {exc.offset + 1}",
                code="E_OVF_XML",
            ) from exc
        finally:
            self._release()
        assert self._root is not None  # noqa: S101 - expat refuses a document without an element
        return Document(root=self._root, namespaces=frozenset(self._namespaces), is_misdeclared=is_misdeclared)

    def _release(self) -> None:
        """Break the cycle between this object and expat's handlers, so that memory is free at once."""
        self._expat.StartDoctypeDeclHandler = None
        self._expat.StartNamespaceDeclHandler = None
        self._expat.StartElementHandler = None
        self._expat.EndElementHandler = None
        self._expat.CharacterDataHandler = None

    def _doctype(self, *_: object) -> None:
        raise DescriptorError(
            f"the descriptor has a DOCTYPE at line {self._expat.CurrentLineNumber}, expected none",
            code="E_OVF_DOCTYPE",
            hint="Document types are refused because they can read files and exhaust memory.",
        )

    def _namespace(self, _prefix: str | None, uri: str | None) -> None:
        self._namespaces.add(uri or "")

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        line = self._expat.CurrentLineNumber
        self._count += 1
        if self._count > MAX_ELEMENTS:
            raise _limit(f"line {line}: the descriptor has more than {MAX_ELEMENTS} elements")
        if len(self._open) >= MAX_DEPTH:
            raise _limit(f"line {line}: elements are nested more than {MAX_DEPTH} deep")
        namespace, local = _split(name)
        parent = self._open[-1] if self._open else None
        element = Element(
            namespace=namespace,
            name=local,
            attributes={_split(key): value for key, value in attributes.items()},
            line=line,
            starts_at=self._expat.CurrentByteIndex,
            parent=parent,
        )
        if parent is None:
            self._root = element
        else:
            parent.children.append(element)
        self._open.append(element)
        self._texts.append([])

    def _end(self, _name: str) -> None:
        element = self._open.pop()
        element.text = "".join(self._texts.pop())
        element.ends_at = self._expat.CurrentByteIndex

    def _characters(self, text: str) -> None:
        self._texts[-1].append(text)


def _split(name: str) -> tuple[str, str]:
    namespace, _, local = name.rpartition(_SEPARATOR)
    return namespace, local
