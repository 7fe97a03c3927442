import pytest

from virt_ova.text import LIMIT, printable, quoted, without_secrets


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain, Ünïcode 漢", "plain, Ünïcode 漢"),
        ("a\nb\tc\r", r"a\nb\tc\r"),
        ("\x1b[2J\x00\x07\x9b1m", r"\x1b[2J\x00\x07\x9b1m"),
        ("a\u202egpj.exe\u2066", r"a\u202egpj.exe\u2066"),
        ("a\u2028b\u2029c", r"a\u2028b\u2029c"),
        ("\ufeff\u200b\ue000", r"\ufeff\u200b\ue000"),
        ("\udc80", r"\udc80"),
        ("\U000e0041", r"\U000e0041"),
    ],
)
def test_what_hides_or_moves_text_is_shown(text: str, shown: str) -> None:
    assert printable(text) == shown
    assert quoted(text) == f"'{shown}'"


def test_long_text_is_cut() -> None:
    assert printable("x" * LIMIT) == "x" * LIMIT
    assert printable("x" * (LIMIT + 1)) == "x" * (LIMIT - 1) + "…"
    assert printable("abcdef", limit=3) == "ab…"


@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        ("esx://root:secret@host/", "esx://root@host/"),
        ("qemu+ssh://root:sec@ret@host/system", "qemu+ssh://root@host/system"),
        ("vpx://root:se/cret@host/dc?no_verify=1", "vpx://root@host/dc?no_verify=1"),
        ("esx://:secret@host/", "esx://@host/"),
        ("qemu+ssh://root@host:22/system", "qemu+ssh://root@host:22/system"),
        ("qemu:///system", "qemu:///system"),
        ("qemu+ssh://host:22/system?keyfile=/a@b", "qemu+ssh://host:22/system?keyfile=/a@b"),
        ("qemu+ssh://root@host:22/system?keyfile=/k", "qemu+ssh://root@host:22/system?keyfile=/k"),
        ("qemu+tcp://u:p@q@host/system", "qemu+tcp://u@host/system"),
        ("esx://root:se?cret@host/", "esx://root@host/"),
        ("qemu:///system?password=x&socket=/a/b&authToken=y", "qemu:///system?socket=/a/b"),
        ("qemu:///system?a=secret", "qemu:///system?a=secret"),
        ("qemu:///system?MyPasswd=x", "qemu:///system"),
        ("vpx://jo@vsphere.local:secret@vc/dc", "vpx://jo@vsphere.local@vc/dc"),
        ("vpx://jo@vsphere.local@vc:443/dc?folder=a:b@c", "vpx://jo@vsphere.local@vc:443/dc?folder=a:b@c"),
        ("esx://jo@[::1]/?folder=a@b", "esx://jo@[::1]/?folder=a@b"),
        ("esx://[fe80::1]:443/?folder=a@b", "esx://[fe80::1]:443/?folder=a@b"),
        ("dir:///srv/a:b@c", "dir:///srv/a:b@c"),
        ("dir:a:b@c", "dir:a:b@c"),
    ],
)
def test_secrets_are_taken_out_of_a_uri(uri: str, shown: str) -> None:
    assert without_secrets(uri) == shown
