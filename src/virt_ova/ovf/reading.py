"""What one run of the reader carries: the dialect, the message bundles, and what was noticed.

All access to elements goes through `Reading`, so that the quirks of a dialect live here and in `virt_ova.ovf.names`,
and every error and finding has the place it belongs to.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from virt_ova.errors import DescriptorError
from virt_ova.findings import Finding, Severity
from virt_ova.ovf.messages import Messages
from virt_ova.ovf.names import ENVELOPES, VMW, Dialect
from virt_ova.ovf.xml import Element
from virt_ova.text import quoted
from virt_ova.units import MAX_COUNT, parse_count, parse_unit

MAX_FINDINGS: Final = 1000
"""Most findings kept of one descriptor; nobody reads more."""

_TRUE = frozenset({"true", "1", "yes"})
_FALSE = frozenset({"false", "0", "no"})


@dataclass(kw_only=True, slots=True)
class Reading:
    """One run of the reader.

    Attributes:
        dialect: how elements are named.
        messages: the texts of message bundles.
        findings: what was noticed so far.
    """

    dialect: Dialect
    messages: Messages = field(default_factory=Messages)
    findings: list[Finding] = field(default_factory=list)

    def note(self, code: str, message: str, where: str, severity: Severity = Severity.WARNING) -> None:
        """Add a finding; of very many, only the first are kept, and that there were more."""
        if len(self.findings) >= MAX_FINDINGS:
            return
        if len(self.findings) == MAX_FINDINGS - 1:
            code, message, where, severity = "OVF_MORE", "there is more to note than is kept", "", Severity.WARNING
        self.findings.append(Finding(code=code, severity=severity, message=message, where=where))

    def sections(self, element: Element) -> Iterator[tuple[str, Element]]:
        """The children with their names, whatever vocabulary they are of (then the name is empty)."""
        for child in element.children:
            yield self.dialect.section_name(child), child

    def children(self, element: Element, name: str) -> Iterator[Element]:
        """The OVF children of that name."""
        for child in element.children:
            if child.name == name and self.dialect.is_ovf(child):
                yield child

    def inside(self, element: Element, section: str, name: str) -> Iterator[Element]:
        """All OVF children `name` of the sections `section` of `element`."""
        for found, child in self.sections(element):
            if found == section:
                yield from self.children(child, name)

    def attribute(self, element: Element, name: str) -> str | None:
        """An OVF attribute, stripped; None when absent."""
        value = self.raw_attribute(element, name)
        return value if value is None else value.strip()

    def raw_attribute(self, element: Element, name: str) -> str | None:
        """An OVF attribute as written; None when absent.

        Writers qualify attributes with the envelope's namespace as they should, with none, or with that of another OVF
        version. The first of these wins.
        """
        for namespace in (self.dialect.namespace, "", *ENVELOPES):
            if (value := element.attributes.get((namespace, name))) is not None:
                return value
        return None

    def text(self, element: Element) -> str:
        """The text, stripped, in the language that is shown (``ovf:msgid``, DSP0243 10)."""
        own = element.text.strip()
        message_id = self.attribute(element, "msgid")
        return own if message_id is None else self.messages.text(message_id, own)

    def child_text(self, element: Element, name: str) -> str:
        """The text of the first OVF child of that name; empty when there is none."""
        return next((self.text(child) for child in self.children(element, name)), "")

    def count(self, element: Element, name: str, *, limit: int = MAX_COUNT) -> int | None:
        """A number in an attribute; None when absent or blank.

        Raises:
            DescriptorError: it is no number of 0 to `limit` (``E_OVF_VALUE``).
        """
        if not (text := self.attribute(element, name)):
            return None
        return bounded(text, where=f"{element.where}: {name}", limit=limit)

    def flag(self, element: Element, name: str, *, default: bool) -> bool:
        """A boolean in an attribute. What is neither true nor false is noted and gives the default."""
        if not (text := self.attribute(element, name)):
            return default
        value = self.boolean(text, where=f"{element.where}: {name}")
        return default if value is None else value

    def boolean(self, text: str, *, where: str) -> bool | None:
        """A boolean in any spelling seen; None, and a finding, for anything else."""
        word = text.strip().lower()
        if word in _TRUE or word in _FALSE:
            return word in _TRUE
        self.note("OVF_ODD_VALUE", f"found {quoted(text)}, expected true or false: ignored", where)
        return None

    def unknown(self, element: Element) -> None:
        """Note a section or element that is not understood; it matters more when ``ovf:required`` is true (default)."""
        is_required = self.flag(element, "required", default=True)
        kind = "required" if is_required else "optional"
        self.note(
            "OVF_UNKNOWN_SECTION",
            f"the {kind} {quoted(self.dialect.section_name(element) or element.name)} of namespace "
            f"{quoted(element.namespace)} is not understood here: ignored",
            element.where,
            Severity.WARNING if is_required else Severity.INFO,
        )


def bounded(text: str, *, where: str, limit: int = MAX_COUNT) -> int:
    """`text` as a number of 0 to `limit`; errors say `where`."""
    try:
        count = parse_count(text)
    except DescriptorError as exc:
        raise exc.at(where) from None
    if count > limit:
        raise bad_value(f"found {count}, expected at most {limit}", where)
    return count


def scaled(text: str, unit: str | None, *, where: str, limit: int = MAX_COUNT) -> int:
    """`text` in `unit`, as a number of bytes of 0 to `limit`; errors say `where`."""
    count = bounded(text, where=where)
    try:
        total = count * parse_unit(unit)
    except DescriptorError as exc:
        raise exc.at(where) from None
    if total > limit:
        raise bad_value(f"found {count} in units of {quoted(unit or 'byte')}, expected at most {limit} bytes", where)
    return total


def bad_value(message: str, where: str) -> DescriptorError:
    """The error for a value that cannot be (``E_OVF_VALUE``)."""
    return DescriptorError(message, code="E_OVF_VALUE", where=where)


def bad_reference(message: str, where: str) -> DescriptorError:
    """The error for an id that is missing, or is there twice (``E_OVF_REF``)."""
    return DescriptorError(
        message,
        code="E_OVF_REF",
        where=where,
        hint="The package contradicts itself: ask its author, or correct the descriptor.",
    )


def vendor_config(element: Element, name: str) -> dict[str, str]:
    """Keys and values of the ``vmw:Config`` or ``vmw:ExtraConfig`` children."""
    return {
        child.attributes.get((VMW, "key"), "").strip(): child.attributes.get((VMW, "value"), "").strip()
        for child in element.children
        if child.name == name and child.namespace == VMW
    }


def words(text: str) -> tuple[str, ...]:
    """A preference list: words between blanks or commas, as both are in use."""
    return tuple(text.replace(",", " ").split())
