"""The OVF environment, judged by DMTF's schema and by how cloud-init reads it."""

from __future__ import annotations

from functools import cache

import pytest
from lxml import etree

from tests.build.beside import beside
from virt_ova.ovf.environment import NAMESPACE, EntityProperties, Platform, environment_xml, not_in_xml

PLATFORM = Platform(kind="virt-ova", version="1.0", vendor="virt-ova")


@cache
def schema() -> etree.XMLSchema:
    schemas = beside("schemas")
    text = etree.parse(str(schemas / "DSP8027.xsd"))
    (imported,) = text.getroot().findall("{http://www.w3.org/2001/XMLSchema}import")
    imported.set("schemaLocation", str(schemas / "common.xsd"))
    return etree.XMLSchema(text)


def document(own: dict[str, str], **siblings: dict[str, str]) -> bytes:
    others = [EntityProperties(id=name, values=values) for name, values in siblings.items()]
    return environment_xml(EntityProperties(id="vm", values=own), others, PLATFORM)


def values(section: etree._Element) -> dict[str, str]:
    """The properties directly in `section`, by the qualified names that the schema asks for."""
    found = section.findall(f"{{{NAMESPACE}}}PropertySection/{{{NAMESPACE}}}Property")
    return {each.get(f"{{{NAMESPACE}}}key", ""): each.get(f"{{{NAMESPACE}}}value", "") for each in found}


@pytest.mark.parametrize(
    ("own", "siblings"),
    [
        ({}, {}),
        ({"hostname": "web"}, {}),
        ({"a.b.1": "<&>\"'\n\r\t  é 😀 ]]>"}, {"db": {"hostname": "db"}, "cache": {}}),
    ],
)
def test_the_schema_takes_it_and_every_value_comes_back(
    own: dict[str, str], siblings: dict[str, dict[str, str]]
) -> None:
    text = document(own, **siblings)
    root = etree.fromstring(text)
    assert schema().validate(root), schema().error_log
    assert (root.tag, root.attrib[f"{{{NAMESPACE}}}id"]) == (f"{{{NAMESPACE}}}Environment", "vm")
    assert values(root) == own
    entities = root.findall(f"{{{NAMESPACE}}}Entity")
    assert {each.get(f"{{{NAMESPACE}}}id"): values(each) for each in entities} == siblings
    assert document(own, **siblings) == text


def test_it_looks_as_vmware_writes_it() -> None:
    assert (
        document({"hostname": "a"}, db={"x": "y"}).decode()
        == f"""<?xml version='1.0' encoding='UTF-8'?>
<Environment xmlns="{NAMESPACE}" xmlns:oe="{NAMESPACE}" oe:id="vm">
  <PlatformSection>
    <Kind>virt-ova</Kind>
    <Version>1.0</Version>
    <Vendor>virt-ova</Vendor>
    <Locale>en</Locale>
  </PlatformSection>
  <PropertySection>
    <Property oe:key="hostname" oe:value="a" />
  </PropertySection>
  <Entity oe:id="db">
    <PropertySection>
      <Property oe:key="x" oe:value="y" />
    </PropertySection>
  </Entity>
</Environment>
"""
    )


def test_values_are_not_in_the_repr() -> None:
    assert repr(EntityProperties(id="vm", values={"k": "secret"})) == "EntityProperties(id='vm')"


@pytest.mark.parametrize("char", ["\0", "\x0b", "\ud800", "\ufffe"])
def test_what_xml_cannot_hold(char: str) -> None:
    assert not_in_xml(f"a\n\t{char}b\0") == char
    assert not_in_xml("a\r\n\tö\U0001f600") == ""
