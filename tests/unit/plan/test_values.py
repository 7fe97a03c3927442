import time

import pytest

from virt_ova.errors import PlanError
from virt_ova.ovf.envelope import Property
from virt_ova.plan.values import check_value, describe_type, problem_of


def prop(type: str = "string", qualifiers: str = "", *, password: bool = False) -> Property:  # noqa: A002 - OVF's word
    return Property(key="k", type=type, qualifiers=qualifiers, password=password)


WHOLE = "a whole number from"
FITS = [
    ("string", "", "", True),
    ("string", "", "any <text>\n", True),
    ("", "", "any", True),
    ("nosuchtype", "", "any", True),
    ("String", "MaxLen(3)", "four", False),
    ("uint8", "", "0", True),
    ("uint8", "", "255", True),
    ("uint8", "", "256", False),
    ("uint8", "", "-1", False),
    ("uint8", "", "", False),
    ("sint8", "", "-128", True),
    ("int8", "", "-129", False),
    ("uint64", "", str(2**64 - 1), True),
    ("uint64", "", str(2**64), False),
    ("int", "", "  42  ", True),
    ("int", "", "4.0", False),
    ("int", "", "0x10", False),
    ("int", "", "\u0661", False),  # an Arabic digit
    ("int", "", "9" * 30, False),
    ("real", "", "1.5e3", True),
    ("real32", "", ".5", True),
    ("Real64", "", "nan", False),
    ("boolean", "", "true", True),
    ("Boolean", "", "FALSE", True),
    ("boolean", "", "yes", False),
    ("ip", "", "192.0.2.1", True),
    ("ip", "", "2001:db8::1", True),
    ("ip:VM Network", "", "192.0.2", False),
    ("ip", "", "", True),
    ("string(2..3)", "", "abc", True),
    ("string(2..3)", "", "a", False),
    ("string(..3)", "", "abcd", False),
    ("string(2..)", "", "a" * 99, True),
    ("int(1..10)", "", "11", False),
    ("real(1.0..2.5)", "", "2.5", True),
    ("real(1.0..2.5)", "", "2.51", False),
    ("password(8..)", "", "short", False),
    ('string["dhcp","static"]', "", "static", True),
    ("string[dhcp,static]", "", "other", False),
    ("string", "MinLen(1),MaxLen(3)", "", False),
    ("string", "MinLen(1) MaxLen(3)", "abc", True),
    ("string", "MinLen(1) MaxLen(3)", "abcd", False),
    ("uint16", "MinValue(10) MaxValue(1000)", "9", False),
    ("uint16", "MinValue(10),MaxValue(1000)", "1000", True),
    ("real", "MinValue(1.0) MaxValue(10.67)", "10.68", False),
    ("string", "MinValue(1)", "none", False),
    ("string", 'ValueMap{"low","medium, or so","high"}', "medium, or so", True),
    ("string", 'ValueMap{"low", "a {brace}"}', "a {brace}", True),
    ("string", 'ValueMap{"low"}', "LOW", False),
    ("int", "ValueMap{1,2 3}", "3", True),
    ("int", "ValueMap{1,2 3}", "4", False),
    ("string", "Ip('Network 1')", "192.0.2.256", False),
    ("string", "VimIp", "192.0.2.1", True),
    ("string", "Gateway(Management)", "router", False),
    ("string", "Netmask", "255.255.240.0", True),
    ("string", "Netmask", "255.0.255.0", False),
    ("string", "Netmask", "20", True),
    ("string", "Netmask", "129", False),
    ("string", "Netmask", "0.0.0.255", False),  # a host mask
    ("string", "Dns", "192.0.2.1, 2001:db8::1", True),
    ("string", "Dns", "192.0.2.1 ns.example", False),
    ("string", "Net(Management) SearchPath HttpProxy", "anything", True),
    ("string", "MaxLen(3) Unknown(1) MinLen(2)", "a", False),
    ("string", "MaxLen(many)", "a" * 99, True),
    ("string", "Enum{a}", "b", True),
]


@pytest.mark.parametrize(("type_", "qualifiers", "text", "fits"), FITS)
def test_values(type_: str, qualifiers: str, text: str, *, fits: bool) -> None:
    assert (problem_of(prop(type_, qualifiers), text) == "") is fits


@pytest.mark.parametrize(
    ("type_", "qualifiers", "text", "expected"),
    [
        ("uint8", "", "x", "a whole number from 0 to 255"),
        ("sint16", "", "x", "a whole number from -32768 to 32767"),
        ("real", "", "x", "a number"),
        ("boolean", "", "1", "'true' or 'false'"),
        ("ip", "", "x", "an IP address or nothing"),
        ("string", "MinLen(1)", "", "at least 1 character"),
        ("string", "MaxLen(2)", "abc", "at most 2 characters"),
        ("int", "MinValue(5)", "4", "5 or more"),
        ("int", "MaxValue(5)", "6", "5 or less"),
        ("string", 'ValueMap{"a","\x1b"}', "b", r"one of 'a', '\x1b'"),
        ("string", "Netmask", "x", "a netmask or nothing"),
        ("string", "Dns", "x", "IP addresses or nothing"),
    ],
)
def test_messages(type_: str, qualifiers: str, text: str, expected: str) -> None:
    with pytest.raises(PlanError) as caught:
        check_value(prop(type_, qualifiers), text)
    assert caught.value.code == "E_PROPERTY"
    assert caught.value.message == f"the value of 'k' does not fit: expected {expected}, found '{text}'"
    with pytest.raises(PlanError) as caught:
        check_value(prop(type_, qualifiers, password=True), text)
    assert caught.value.message == f"the value of 'k' does not fit: expected {expected}, found one that is not shown"


@pytest.mark.parametrize(("char", "name"), [("\0", "0000"), ("\x1b", "001B"), ("\udc80", "DC80"), ("\uffff", "FFFF")])
def test_what_xml_cannot_hold_is_refused(char: str, name: str) -> None:
    message = f"the value of 'k' has the character U+{name}, which XML cannot hold"
    assert problem_of(prop(password=True), f"secret{char}") == message


def test_a_type_in_words() -> None:
    assert describe_type(prop("uint16", "MinValue(10), MaxValue(20)")) == (
        "a whole number from 0 to 65535, 10 or more, 20 or less"
    )
    assert describe_type(prop()) == ""


@pytest.mark.parametrize(
    "qualifiers",
    ['a{"{' * 300_000, "a(" * 500_000, "a" * 1_000_000, "a " * 500_000, 'ValueMap{"' + '"a' * 400_000 + "}"],
)
def test_hostile_qualifiers_take_no_time(qualifiers: str) -> None:
    began = time.process_time()
    problem_of(prop("string", qualifiers), "x")
    problem_of(prop(qualifiers), "x")
    assert time.process_time() - began < 2
