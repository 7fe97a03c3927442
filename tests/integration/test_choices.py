"""Choices of language, strictness and networks on the command line, and what the largest descriptor costs."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.build.command import error_lines, json_of, virt_ova
from tests.build.ova import build_ova, with_manifest
from tests.build.peak import peak_bytes
from tests.build.small import edited, is_installed, listing, small_members
from tests.build.vapp import vapp_ova

STRICT_HINT = "'virt-ova plan' without --strict lists all findings; leave --strict out to accept them."
TWO_LANGUAGES = (
    '<Strings xml:lang="de-DE"><Msg ovf:msgid="name">rechner</Msg></Strings>'
    '<Strings xml:lang="en-US"><Msg ovf:msgid="name">machine</Msg></Strings></Envelope>'
)


@pytest.fixture
def named(tmp_path: Path) -> Path:
    """A package whose machine has its name in two languages."""
    members = edited(small_members(), "<Name>vm</Name>", '<Name ovf:msgid="name">vm</Name>')
    return build_ova(tmp_path / "named.ova", with_manifest(edited(members, "</Envelope>", TWO_LANGUAGES)))


@pytest.fixture
def surprising(tmp_path: Path) -> Path:
    """A package with a required section that nobody knows."""
    section = '<VirtualSystem ovf:id="vm"><x:Odd xmlns:x="urn:x"><Info/></x:Odd>'
    members = edited(small_members(), '<VirtualSystem ovf:id="vm">', section)
    return build_ova(tmp_path / "odd.ova", with_manifest(members))


def test_the_language_of_names(named: Path, tmp_path: Path) -> None:
    for words, name in (((), "machine"), (("--locale", "de"), "rechner"), (("--locale", "fr-FR"), "machine")):
        inspected = json_of(virt_ova("inspect", named, "--json", *words))
        assert (inspected["virtual_systems"][0]["name"], inspected["locales"]) == (name, ["de-DE", "en-US"])
    assert json_of(virt_ova("plan", named, "-c", "dir:m", "--locale", "de"))["machines"][0]["name"] == "rechner"
    done = virt_ova("install", named, "-c", f"dir:{tmp_path}/m", "--locale", "de-AT")
    assert done.returncode == 0
    assert is_installed(tmp_path / "m", "rechner")


@pytest.mark.parametrize("verb", ["inspect", "plan", "install"])
def test_what_is_strict_accepts_no_warning(surprising: Path, tmp_path: Path, verb: str) -> None:
    target = () if verb == "inspect" else ("-c", f"dir:{tmp_path}/m")
    done = virt_ova(verb, surprising, "--strict", *target)
    message = (
        "nothing that may surprise is accepted, and found: Envelope/VirtualSystem/Odd (line 10): the required 'Odd' of "
        "namespace 'urn:x' is not understood here: ignored [OVF_UNKNOWN_SECTION]"
    )
    assert (done.returncode, done.stdout, done.stderr) == (1, "", error_lines("E_STRICT", message, STRICT_HINT))
    assert listing(tmp_path) == ["odd.ova"]
    assert virt_ova(verb, surprising, *target).returncode == 0


def test_what_is_strict_takes_choices(named: Path, tmp_path: Path) -> None:
    assert virt_ova("install", named, "--strict", "-c", f"dir:{tmp_path}/m").returncode == 0
    assert is_installed(tmp_path / "m", "machine")


@pytest.mark.parametrize(("target", "name"), [("private", "shop-Internal"), ("shared:wan", "wan")])
def test_a_folder_makes_no_networks(tmp_path: Path, target: str, name: str) -> None:
    ova = vapp_ova(tmp_path / "shop.ova", ("db", "web"))
    done = virt_ova("install", ova, "-c", f"dir:{tmp_path}/m", "--network", f"Internal={target}")
    message = f"'Internal' goes to the network '{name}', and a folder has none"
    hint = "Use user, none or bridge:NAME, as in --network 'Internal=user'."
    assert (done.returncode, done.stderr) == (1, error_lines("E_NETWORK", message, hint))
    assert listing(tmp_path) == ["shop.ova"]


def test_a_network_whose_name_would_write_on_the_terminal(tmp_path: Path) -> None:
    named = edited(small_members(), "VM Network", "LAN\u202e\u009b31m")
    ova = build_ova(tmp_path / "a.ova", with_manifest(named))
    done = virt_ova("install", ova, "-c", f"dir:{tmp_path}/m", "--network", "LAN\u202e\u009b31m=network:lan")
    message = r"'LAN\u202e\x9b31m' goes to the network 'lan', and a folder has none"
    hint = r"Use user, none or bridge:NAME, as in --network 'LAN\u202e\x9b31m=user'."
    assert (done.returncode, done.stderr) == (1, error_lines("E_NETWORK", message, hint))


def test_the_largest_descriptor_costs_little(tmp_path: Path) -> None:
    value = "v" * 1150
    properties = "".join(
        f'<Property ovf:key="k{number}" ovf:type="string" ovf:userConfigurable="true" ovf:value="{value}"/>'
        for number in range(3_300)
    )
    product = f"<ProductSection><Info/>{properties}</ProductSection></VirtualSystem>"
    (_, data), *_ = edited(small_members(), "</VirtualSystem>", product)
    assert 4_000_000 < len(data) < 4 << 20
    file = tmp_path / "large.ovf"
    file.write_bytes(data)
    assert peak_bytes("inspect", file) < 100 << 20
