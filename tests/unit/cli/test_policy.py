"""The policy of an organisation: files, options, and who may take back what."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

import pytest

from virt_ova.cli.parser import UsageError
from virt_ova.cli.policy import PolicyFile, join_policies, read_policy_file, user_file
from virt_ova.errors import VirtOvaError
from virt_ova.policy import TrustAnchor, TrustPolicy

CORRECT: Final = "Correct the file; nothing is done as long as it is not understood."
OF_EVERYBODY: Final = "everybody may write to it, expected a file that its owner alone, or a group, may change"


def written(path: Path, text: str) -> PolicyFile:
    path.write_text(text)
    return read_policy_file(path)


def refusal(path: Path, data: bytes) -> str:
    path.write_bytes(data)
    return wrong(path)


def wrong(path: Path) -> str:
    with pytest.raises(VirtOvaError) as caught:
        read_policy_file(path)
    assert (caught.value.code, caught.value.hint, caught.value.where) == ("E_POLICY", CORRECT, str(path))
    return caught.value.message


def joined(system: PolicyFile, user: PolicyFile, *options: str, require_signature: bool = False) -> TrustPolicy:
    return join_policies(system, user, options, require_signature=require_signature)


@pytest.fixture
def nothing(tmp_path: Path) -> PolicyFile:
    return PolicyFile(path=tmp_path / "nothing")


@pytest.fixture
def pem(tmp_path: Path) -> Path:
    path = tmp_path / "a.pem"
    path.write_bytes(b"pem")
    return path


def test_a_file_that_is_not_there_says_nothing(tmp_path: Path) -> None:
    for path in (tmp_path / "config.toml", tmp_path / "no" / "config.toml", Path("/dev/null/config.toml")):
        assert read_policy_file(path) == PolicyFile(path=path)


def test_what_a_file_says(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    assert written(path, "") == PolicyFile(path=path)
    assert written(path, 'trust_anchors = ["a.pem", "/b.pem"]\nrequire_signature = true # all\n') == PolicyFile(
        path=path, anchors=(tmp_path / "a.pem", Path("/b.pem")), require_signature=True
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("require_signature true", "Expected '=' after a key in a key/value pair (at line 1, column 19)"),
        ("a = 1\na = 2\n", "Cannot overwrite a value (at line 2, column 6)"),
        (
            "[trust]\nrequire_signature = true",
            "found the key 'trust', expected none but 'trust_anchors' and 'require_signature'",
        ),
        (
            '"require\\nsignature" = true',
            "found the key 'require\\nsignature', expected none but 'trust_anchors' and 'require_signature'",
        ),
        ('require_signature = "yes"', "require_signature: expected true or false"),
        ("require_signature = 1", "require_signature: expected true or false"),
        ('trust_anchors = "a.pem"', "trust_anchors: expected a list of paths"),
        ("trust_anchors = [1]", "trust_anchors: expected a list of paths"),
        ('trust_anchors = [""]', "trust_anchors: expected a list of paths"),
        ("#" * 65537, "is longer than 65536 bytes"),
    ],
)
def test_what_is_not_understood_could_be_a_demand(tmp_path: Path, text: str, message: str) -> None:
    assert refusal(tmp_path / "config.toml", text.encode()) == message


def test_a_file_that_cannot_be_read_could_be_a_demand_too(tmp_path: Path) -> None:
    assert refusal(tmp_path / "config.toml", b"\xff").startswith("'utf-8' codec can't decode byte")
    (tmp_path / "folder").mkdir()
    with pytest.raises(VirtOvaError, match=r"folder: Is a directory$") as caught:
        read_policy_file(tmp_path / "folder")
    assert caught.value.code == "E_POLICY"


def test_a_file_of_everybody_is_refused_and_a_pipe_not_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text("require_signature = true")
    path.chmod(0o666)
    assert wrong(path) == OF_EVERYBODY
    path.chmod(0o664)
    assert read_policy_file(path).require_signature
    path.unlink()
    os.mkfifo(path)
    assert wrong(path) == "is a pipe, expected a regular file"


def test_a_link_to_a_place_that_is_not_there_could_be_a_demand(tmp_path: Path) -> None:
    share, folder = tmp_path / "share", tmp_path / "virt-ova"
    folder.mkdir()
    (folder / "config.toml").symlink_to(share / "config.toml")
    (tmp_path / "linked").symlink_to(share)
    message = "is a link to a place that is not there"
    assert wrong(folder / "config.toml") == wrong(tmp_path / "linked" / "config.toml") == message
    share.mkdir()
    assert read_policy_file(tmp_path / "linked" / "config.toml").require_signature is False
    (share / "config.toml").write_text("require_signature = true")
    assert read_policy_file(folder / "config.toml").require_signature is True


def test_nothing_is_trusted_or_demanded_unasked(nothing: PolicyFile) -> None:
    policy = joined(nothing, nothing)
    assert (policy.anchors, policy.require_signature) == ((), False)


def test_anchors_add_up(tmp_path: Path, nothing: PolicyFile, pem: Path) -> None:
    user = PolicyFile(path=tmp_path / "config.toml", anchors=(pem,))
    policy = joined(nothing, user, str(pem))
    assert policy.anchors == (TrustAnchor(name=str(pem), pem=b"pem"),) * 2
    assert not policy.require_signature


def test_who_demands_is_named(tmp_path: Path, nothing: PolicyFile) -> None:
    system, user = (PolicyFile(path=tmp_path / name, require_signature=True) for name in ("system", "user"))
    assert joined(nothing, nothing, require_signature=True).demanded_by == "--require-signature"
    assert joined(nothing, user, require_signature=True).demanded_by == str(tmp_path / "user")
    policy = joined(system, user)
    assert (policy.require_signature, policy.demanded_by) == (True, str(tmp_path / "system"))


def test_a_demand_that_says_whom_to_trust_lets_nobody_add(tmp_path: Path, nothing: PolicyFile, pem: Path) -> None:
    system = PolicyFile(path=tmp_path / "system", anchors=(pem,), require_signature=True)
    user = PolicyFile(path=tmp_path / "user", anchors=(pem,), require_signature=False)
    assert joined(system, nothing).require_signature
    assert joined(system, PolicyFile(path=tmp_path / "user")).require_signature
    rest = f"does not count: {tmp_path}/system demands signatures, and says who alone is trusted"
    for options, other, what in (
        ((str(pem),), nothing, f"--trust-anchor '{pem}'"),
        ((), user, f"'{pem}', named in {tmp_path}/user,"),
    ):
        with pytest.raises(VirtOvaError) as caught:
            joined(system, other, *options)
        assert (caught.value.code, caught.value.message) == ("E_POLICY", f"{what} {rest}")
        assert caught.value.hint == "Leave it out, or ask whoever keeps that file."


def test_a_demand_that_leaves_open_whom_to_trust_lets_users_say(tmp_path: Path, nothing: PolicyFile, pem: Path) -> None:
    demands = PolicyFile(path=tmp_path / "system", require_signature=True)
    trusts = PolicyFile(path=tmp_path / "system", anchors=(pem,))
    for system, count in ((demands, 1), (trusts, 2)):
        assert len(joined(system, nothing, str(pem)).anchors) == count


def test_anchors_that_cannot_be_read(tmp_path: Path, nothing: PolicyFile) -> None:
    file = PolicyFile(path=tmp_path / "config.toml", anchors=(tmp_path / "no.pem",))
    with pytest.raises(VirtOvaError) as caught:
        joined(file, nothing)
    assert (caught.value.code, str(caught.value)) == (
        "E_POLICY",
        f"{tmp_path}/config.toml: trust_anchors: '{tmp_path}/no.pem': No such file or directory",
    )
    with pytest.raises(UsageError, match=r"^--trust-anchor 'no\.pem': No such file or directory$"):
        joined(nothing, nothing, "no.pem")


def test_anchors_that_everybody_may_replace(tmp_path: Path, nothing: PolicyFile, pem: Path) -> None:
    pem.chmod(0o666)
    file = PolicyFile(path=tmp_path / "c", anchors=(pem,))
    for system, user in ((file, nothing), (nothing, file)):
        with pytest.raises(VirtOvaError) as caught:
            joined(system, user)
        assert (caught.value.code, caught.value.hint) == ("E_POLICY", CORRECT)
        assert str(caught.value) == f"{tmp_path}/c: trust_anchors: '{pem}': {OF_EVERYBODY}"


def test_where_the_users_file_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    for given, folder in (("/x", "/x"), ("relative", "/home/me/.config"), ("", "/home/me/.config")):
        monkeypatch.setenv("XDG_CONFIG_HOME", given)
        assert user_file() == Path(folder) / "virt-ova" / "config.toml"
    monkeypatch.delenv("XDG_CONFIG_HOME")
    assert user_file() == Path("/home/me/.config/virt-ova/config.toml")
