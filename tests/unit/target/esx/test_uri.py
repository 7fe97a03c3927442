from __future__ import annotations

import pytest

from virt_ova.errors import TargetError
from virt_ova.target.esx.uri import parse_address

SHA256 = "ab" * 32
HINT = (
    "Write esx://USER@HOST/ or vpx://USER@VCENTER/DATACENTER/CLUSTER; the password is asked for, or read from "
    "libvirt's auth.conf or VIRT_OVA_VSPHERE_PASSWORD."
)


def test_a_host() -> None:
    address = parse_address("esx://root@esx1.example/")
    assert (address.scheme, address.host, address.port, address.user) == ("esx", "esx1.example", 443, "root")
    assert (address.is_vcenter, address.is_verified, address.thumbprint, address.path) == (False, True, "", ())


def test_a_vcenter() -> None:
    uri = "vpx://LAB%5Cjo@vc:8443/dc%20one/folder/cluster?folder=/Prod/web&resource_pool=low&authfile=/a%20b"
    address = parse_address(uri)
    assert (address.is_vcenter, address.host, address.port, address.user) == (True, "vc", 8443, "LAB\\jo")
    assert address.path == ("dc one", "folder", "cluster")
    assert (address.folder, address.resource_pool, address.auth_file) == (("Prod", "web"), ("low",), "/a b")
    assert address.uri == "vpx://LAB%5Cjo@vc:8443/dc%20one/folder/cluster"


def test_a_plus_is_no_blank() -> None:
    address = parse_address("vpx://vc/dc/c++?folder=/C++/web&authfile=/a+b")
    assert (address.path, address.folder, address.auth_file) == (("dc", "c++"), ("C++", "web"), "/a+b")


def test_an_ipv6_address() -> None:
    assert parse_address("esx://[2001:db8::1]:444/").host == "2001:db8::1"


@pytest.mark.parametrize(("query", "is_verified"), [("", True), ("no_verify=0", True), ("no_verify=1", False)])
def test_whether_the_certificate_is_verified(query: str, is_verified: bool) -> None:  # noqa: FBT001
    assert parse_address(f"esx://h/?{query}").is_verified is is_verified


@pytest.mark.parametrize(
    "text",
    [SHA256, SHA256.upper(), ":".join(["AB"] * 32), f"SHA256:{SHA256}", f"sha-256={SHA256}", f"sha1:{'ab' * 20}"],
)
def test_a_thumbprint(text: str) -> None:
    assert parse_address(f"esx://h/?thumbprint={text}").thumbprint in {SHA256, "ab" * 20}


def test_parameters_of_libvirt_that_mean_nothing_here_are_taken() -> None:
    parse_address("esx://h/?transport=https&auto_answer=1&proxy=a&vcenter=b")


@pytest.mark.parametrize(
    ("uri", "found", "expected"),
    [
        ("esx:///", "no host", "esx://HOST/"),
        ("vpx://vc/", "the path '/'", "vpx://VCENTER/DATACENTER/CLUSTER"),
        ("esx://h/dc/cluster", "the path '/dc/cluster'", "esx://HOST/"),
        (
            "esx://h/?verify=0",
            "the parameter 'verify'",
            "no_verify or thumbprint or folder or resource_pool or authfile",
        ),
        ("esx://h/?no_verify=false", "no_verify=false", "no_verify=0 or no_verify=1"),
        ("esx://h/?no_verify=", "no_verify=", "no_verify=0 or no_verify=1"),
        ("esx://h/?thumbprint=12", "the thumbprint '12'", "the SHA-256 or SHA-1 of a certificate, in hex"),
        ("esx://h:99999/", "no host and port that can be read", "a host, and perhaps a port"),
    ],
)
def test_what_makes_no_sense(uri: str, found: str, expected: str) -> None:
    with pytest.raises(TargetError) as caught:
        parse_address(uri)
    assert (caught.value.code, caught.value.hint) == ("E_URI", HINT)
    assert caught.value.message == f"'{uri}' cannot be used: found {found}, expected {expected}"


@pytest.mark.parametrize("user", ["root", "jo@vsphere.local"])
def test_a_password_has_no_place_in_it_and_is_not_shown(user: str) -> None:
    with pytest.raises(TargetError) as caught:
        parse_address(f"esx://{user}:hunter2@h/")
    assert caught.value.message == (
        f"'esx://{user}@h/' cannot be used: found a password, expected none, because everyone on this host can read it"
    )


@pytest.mark.parametrize("password", ["hun/ter2", "hun[ter2", "hun\u2100ter2"])
def test_a_password_that_spoils_the_uri_is_not_shown(password: str) -> None:
    with pytest.raises(TargetError) as caught:
        parse_address(f"esx://root:{password}@h/")
    assert caught.value.code == "E_URI"
    assert "hun" not in caught.value.message
    assert caught.value.__cause__ is None
