"""Whether a text can be the value of a property (DSP0243 9.5.1).

Types are CIM's, those that writers use for them (``int``, ``String``) and vSphere's own (``ip``, ``password``,
``string(1..64)``, ``string["dhcp","static"]``). Qualifiers narrow them; both separators, blanks and commas, occur. What
is not known narrows nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from ipaddress import ip_address, ip_network
from typing import Final

from virt_ova.errors import PlanError
from virt_ova.ovf.envelope import Property
from virt_ova.ovf.environment import not_in_xml
from virt_ova.text import printable, quoted

_TYPE = re.compile(r"\s*(?P<word>\w*)\s*(?:\((?P<least>[^()]*?)\.\.(?P<most>[^()]*)\))?(?:\[(?P<map>[^\]]*)\])?")
_QUALIFIER = re.compile(
    r'[\s,]*(?P<name>[A-Za-z]\w*)\s*(?:\((?P<limit>[^()]*)\)|\{(?P<map>(?:"[^"]*"|[^"{}])*)\})?',
)
_MAPPED = re.compile(r'"([^"]*)"|([^",\s]+)')
_INTEGER = re.compile(r"\s*[+-]?[0-9]{1,20}\s*")
_PREFIX_LENGTH = re.compile(r"[0-9]{1,3}")
_REAL = re.compile(r"\s*[+-]?(?:[0-9]{1,40}(?:\.[0-9]{0,40})?|\.[0-9]{1,40})(?:[eE][+-]?[0-9]{1,3})?\s*")

_INTEGERS: Final = re.compile(r"(?P<sign>u|s|)int(?P<bits>8|16|32|64|)")
_REALS: Final = frozenset({"real", "real32", "real64"})


@dataclass(frozen=True, kw_only=True, slots=True)
class _Rule:
    """What a value must be, for people, and whether a text is."""

    expected: str
    is_met: Callable[[str], bool]


def check_value(prop: Property, text: str) -> None:
    """Refuse a text that cannot be the property's value. That of a password is not in the message.

    Raises:
        PlanError: it cannot (``E_PROPERTY``).
    """
    if problem := problem_of(prop, text):
        raise PlanError(problem, code="E_PROPERTY")


def problem_of(prop: Property, text: str) -> str:
    """Why `text` cannot be the property's value, as a sentence; empty when it can."""
    found = "one that is not shown" if prop.password else quoted(text)
    if char := not_in_xml(text):
        return f"the value of {quoted(prop.key)} has the character U+{ord(char):04X}, which XML cannot hold"
    for rule in _rules(prop):
        if not rule.is_met(text):
            return f"the value of {quoted(prop.key)} does not fit: expected {rule.expected}, found {found}"
    return ""


def describe_type(prop: Property) -> str:
    """What a value must be, in words: ``a whole number from 0 to 255, 10 or more``; empty for any text."""
    return ", ".join(rule.expected for rule in _rules(prop))


def _rules(prop: Property) -> Iterator[_Rule]:
    found = _TYPE.match(prop.type)
    word = found["word"].lower() if found else ""
    is_number = bool(_INTEGERS.fullmatch(word)) or word in _REALS
    yield from _type_rules(word)
    if found and found["least"] is not None:
        yield from _limits("Min", found["least"], is_number=is_number)
        yield from _limits("Max", found["most"], is_number=is_number)
    if found and found["map"] is not None:
        yield _one_of(found["map"])
    end = 0
    while qualifier := _QUALIFIER.match(prop.qualifiers, end):
        yield from _qualifier_rules(qualifier)
        end = qualifier.end()


def _type_rules(word: str) -> Iterator[_Rule]:
    if integer := _INTEGERS.fullmatch(word):
        bits = int(integer["bits"] or 64)
        least, most = (0, 2**bits - 1) if integer["sign"] == "u" else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
        yield _Rule(
            expected=f"a whole number from {least} to {most}",
            is_met=lambda text: bool(_INTEGER.fullmatch(text)) and least <= int(text) <= most,
        )
    elif word in _REALS:
        yield _Rule(expected="a number", is_met=lambda text: bool(_REAL.fullmatch(text)))
    elif word == "boolean":
        yield _Rule(expected="'true' or 'false'", is_met=lambda text: text.strip().lower() in {"true", "false"})
    elif word == "ip":
        yield _ADDRESS


def _limits(end: str, limit: str, *, is_number: bool) -> Iterator[_Rule]:
    """The ``(1..64)`` of vSphere: of a number's value, or of a text's length; either end may be missing."""
    if limit.strip():
        yield from _limit_rules(f"{end}{'Value' if is_number else 'Len'}", limit)


def _qualifier_rules(qualifier: re.Match[str]) -> Iterator[_Rule]:
    name = qualifier["name"]
    if qualifier["map"] is not None:
        if name == "ValueMap":
            yield _one_of(qualifier["map"])
    elif name in _ADDRESSES:
        yield _ADDRESSES[name]
    elif qualifier["limit"] is not None:
        yield from _limit_rules(name, qualifier["limit"])


def _limit_rules(name: str, limit: str) -> Iterator[_Rule]:
    if not _REAL.fullmatch(limit):
        return
    bound = Decimal(limit.strip())
    unit = "character" if bound == 1 else "characters"
    tests: dict[str, _Rule] = {
        "MinLen": _Rule(expected=f"at least {bound} {unit}", is_met=lambda text: len(text) >= bound),
        "MaxLen": _Rule(expected=f"at most {bound} {unit}", is_met=lambda text: len(text) <= bound),
        "MinValue": _Rule(
            expected=f"{bound} or more", is_met=lambda text: _is_real(text) and Decimal(text.strip()) >= bound
        ),
        "MaxValue": _Rule(
            expected=f"{bound} or less", is_met=lambda text: _is_real(text) and Decimal(text.strip()) <= bound
        ),
    }
    if name in tests:
        yield tests[name]


def _is_real(text: str) -> bool:
    return _REAL.fullmatch(text) is not None


def _one_of(listed: str) -> _Rule:
    values = [quoted_text or plain for quoted_text, plain in _MAPPED.findall(listed)]
    shown = printable(", ".join(f"'{value}'" for value in values))
    return _Rule(expected=f"one of {shown}", is_met=lambda text: text in values)


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def _is_netmask(text: str) -> bool:
    """``255.255.255.0``, ``24``, or IPv6's prefix length."""
    if _PREFIX_LENGTH.fullmatch(text):
        return int(text) <= 128  # noqa: PLR2004 - bits of an IPv6 address
    try:
        network = ip_network(f"0.0.0.0/{text}")
    except ValueError:
        return False
    return str(network.netmask) == text


def _are_addresses(text: str) -> bool:
    return all(_is_address(part) for part in re.split(r"[,;\s]+", text.strip()))


def _or_empty(expected: str, is_met: Callable[[str], bool]) -> _Rule:
    """An address that is not given is the guest's to find (DHCP)."""
    return _Rule(expected=f"{expected} or nothing", is_met=lambda text: not text or is_met(text))


_ADDRESS: Final = _or_empty("an IP address", _is_address)
_ADDRESSES: Final = {
    "Ip": _ADDRESS,
    "VimIp": _ADDRESS,
    "Gateway": _ADDRESS,
    "Netmask": _or_empty("a netmask", _is_netmask),
    "Dns": _or_empty("IP addresses", _are_addresses),
}
"""VMware's qualifiers whose form is certain. Others are free, or for vCenter to fill in (``Net``, ``Subnet``)."""
