"""Names and identities."""

from __future__ import annotations

import uuid
from xml.etree import ElementTree as ET

import pytest

from virt_ova.errors import TargetError
from virt_ova.target.identity import identified, new_uuid
from virt_ova.target.names import check_file_name


@pytest.mark.parametrize("name", ["box", "My box-disk1.ab12.qcow2", "9", "a" * 200])
def test_plain_names_pass(name: str) -> None:
    assert check_file_name(name, "the image name") == name


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "-a", ".a", "a\n", "a\0", "é", "a" * 201, "*", "\u202ea"])
def test_names_that_are_paths_or_options_do_not(name: str) -> None:
    with pytest.raises(
        TargetError, match=r"^the image name '.*' cannot be used, expected at most 200 of A-Z"
    ) as caught:
        check_file_name(name, "the image name")
    assert caught.value.code == "E_NAME"
    assert str(caught.value).isprintable()


def test_uuids_are_new_and_valid() -> None:
    assert new_uuid() != new_uuid()
    assert uuid.UUID(new_uuid()).version == 4


def test_a_definition_gets_its_uuid_behind_its_name() -> None:
    one = new_uuid()
    xml = identified("<domain type='qemu'><name>a &amp; b</name><vcpu>1</vcpu></domain>", one)
    domain = ET.fromstring(xml)  # noqa: S314 - our own
    assert [element.tag for element in domain] == ["name", "uuid", "vcpu"]
    assert (domain.findtext("name"), domain.findtext("uuid")) == ("a & b", one)
