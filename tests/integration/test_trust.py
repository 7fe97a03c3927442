"""Signed packages by the command line: what is told, what is refused, and that a refusal leaves nothing."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from tests.build.command import environment, error_lines, json_of, piped, virt_ova
from tests.build.ova import build_ova, manifest_for, with_manifest
from tests.build.signing import (
    Identity,
    authority,
    certificate_file,
    identity,
    rsa_key,
    signed_members,
    usage,
)
from tests.build.small import is_installed, listing, small_members, small_ova

HINT: Final = "Get a package whose signer is trusted here, or name the signer's authority as a trust anchor."
SIGNED: Final = "  info: a.cert: the manifest is signed by 'CN=Signer', issued by 'CN=Root', valid until 2095-01-01"
TRUSTED: Final = "  info: a.cert: the signer is trusted because of the trust anchor 'CN=Root' [CERT_ANCHOR]"
UNKNOWN: Final = "the signer's authority is not known: no trust anchor was given"

WITH_SYSTEM_FILE: Final = """
import sys
from pathlib import Path
from virt_ova.cli import main, policy
policy.SYSTEM_FILE = Path(sys.argv[1])
sys.exit(main(sys.argv[2:]))
"""


@pytest.fixture(scope="module")
def root() -> Identity:
    return authority("Root")


@pytest.fixture(scope="module")
def signer(root: Identity) -> Identity:
    return identity("Signer", usage("digital_signature"), by=root, key=rsa_key())


@pytest.fixture
def folder(tmp_path: Path, root: Identity, signer: Identity) -> Path:
    """Holds `a.ova`, which is signed; `root.pem`; and `other.pem`, of nobody who matters."""
    build_ova(tmp_path / "a.ova", signed_members(small_members(), signer))
    (tmp_path / "root.pem").write_bytes(root.pem)
    (tmp_path / "other.pem").write_bytes(authority("Other").pem)
    return tmp_path


def untrusted(why: str, trust: str = "signed-untrusted", who: str = "--require-signature") -> tuple[str, str, str]:
    """Code, message and hint."""
    return "E_UNTRUSTED", f"a.ova: the package's trust is {trust} ({why}), and {who} demands signed-trusted", HINT


def refused(done: subprocess.CompletedProcess[str], *error: str, status: int = 1) -> bool:
    assert (done.stdout, done.stderr, done.returncode) == ("", error_lines(*error), status)
    return True


class TestVerify:
    def test_tells_who_signed_and_why_that_is_trusted(self, folder: Path) -> None:
        done = virt_ova("verify", "a.ova", "--trust-anchor", "root.pem", "--require-signature", cwd=folder)
        assert done.returncode == 0
        assert done.stdout.splitlines()[-3:] == [
            "trust: signed-trusted (signed by someone who is trusted here)",
            f"{SIGNED} [CERT_SIGNER]",
            TRUSTED,
        ]

    def test_tells_why_it_is_not(self, folder: Path) -> None:
        done = virt_ova("verify", "a.ova", cwd=folder)
        assert done.returncode == 0
        assert done.stdout.splitlines()[-3:] == [
            "trust: signed-untrusted (signed, but the signature is not trusted here)",
            f"  warning: a.cert: {UNKNOWN} [CERT_UNKNOWN_ISSUER]",
            f"{SIGNED} [CERT_SIGNER]",
        ]

    def test_fails_where_more_is_demanded(self, folder: Path) -> None:
        done = virt_ova("verify", "a.ova", "--require-signature", cwd=folder)
        assert done.returncode == 1
        trust, error = done.stdout.splitlines()[2:4]
        assert trust == "trust: signed-untrusted (signed, but the signature is not trusted here)"
        shortfall = (
            f"the package's trust is signed-untrusted ({UNKNOWN}), and --require-signature demands signed-trusted"
        )
        assert error == f"  error: {shortfall} [CERT_REQUIRED]"

    def test_of_a_package_that_was_signed_as_the_guide_says(self, tmp_path: Path) -> None:
        descriptor, disk = small_members()
        for name, data in (("appliance.ovf", descriptor[1]), ("a1.vmdk", disk[1])):
            (tmp_path / name).write_bytes(data)
        (tmp_path / "appliance.mf").write_bytes(manifest_for([("appliance.ovf", descriptor[1]), disk]))
        guide = (Path(__file__).parents[2] / "docs/howto/trust-your-packages.md").read_text()
        script = "set -e\n" + "".join(re.findall(r"^```sh\n(.*?)^```$", guide, re.MULTILINE | re.DOTALL))
        shell = ["bash", "-c", script.replace("appliance-disk1.vmdk", "a1.vmdk")]
        subprocess.run(shell, cwd=tmp_path, check=True, capture_output=True)
        (words,) = re.findall(r"^\$ virt-ova (.*)$", guide, re.MULTILINE)
        done = virt_ova(*words.split(), cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        assert "signed by 'CN=Example builds,O=Example', issued by 'CN=Example packages CA,O=Example'" in done.stdout


class TestInstall:
    WORDS: Final = ("install", "a.ova", "-c", "dir:m", "--require-signature")

    def test_of_a_package_that_is_trusted(self, folder: Path) -> None:
        done = virt_ova(*self.WORDS, "--trust-anchor", "other.pem", "--trust-anchor", "root.pem", "--json", cwd=folder)
        document = json_of(done)
        assert (document["trust"], document["signer"]["issuer"]) == ("signed-trusted", "CN=Root")
        assert {"CERT_SIGNER", "CERT_ANCHOR"} <= {finding["code"] for finding in document["findings"]}
        assert is_installed(folder / "m", "vm")

    def test_says_who_signed(self, folder: Path) -> None:
        done = virt_ova("install", "a.ova", "-c", "dir:m", "--trust-anchor", "root.pem", cwd=folder)
        assert {f"{SIGNED} [CERT_SIGNER]", TRUSTED} <= set(done.stdout.splitlines())
        planned = virt_ova("plan", "a.ova", "-c", "dir:n", cwd=folder)
        assert SIGNED.strip() in planned.stderr
        tried = virt_ova("install", "a.ova", "-c", "dir:n", "--dry-run", cwd=folder)
        assert SIGNED.strip() in tried.stdout
        assert not (folder / "n").exists()

    @pytest.mark.parametrize("way", ["install", "dry run", "convert"])
    def test_refuses_before_anything_is_written(self, folder: Path, way: str) -> None:
        before = listing(folder)
        words = {
            "install": self.WORDS,
            "dry run": (*self.WORDS, "--dry-run"),
            "convert": ("convert", "a.ova", "a.qcow2", "--require-signature"),
        }[way]
        assert refused(virt_ova(*words, cwd=folder), *untrusted(UNKNOWN))
        assert listing(folder) == before

    def test_refuses_what_nobody_signed(self, folder: Path) -> None:
        small_ova(folder / "a.ova")
        assert refused(virt_ova(*self.WORDS, cwd=folder), *untrusted("it has no signature", "digests"))
        assert not (folder / "m").exists()

    def test_refuses_to_be_told_not_to_look(self, folder: Path) -> None:
        error = (
            "E_UNTRUSTED",
            "--require-signature demands a package that is signed-trusted, which it cannot be unverified",
            "Leave --no-verify out.",
        )
        assert refused(virt_ova(*self.WORDS, "--no-verify", cwd=folder), *error)

    def test_refuses_strangers_when_it_is_strict(self, folder: Path) -> None:
        done = virt_ova("install", "a.ova", "-c", "dir:m", "--strict", cwd=folder)
        assert (done.returncode, f"{UNKNOWN} [CERT_UNKNOWN_ISSUER] [E_STRICT]" in done.stderr) == (1, True)
        assert not (folder / "m").exists()

    def test_without_a_look_nobody_signed(self, folder: Path) -> None:
        document = json_of(virt_ova("install", "a.ova", "-c", "dir:m", "--no-verify", "--json", cwd=folder))
        assert (document["trust"], document["signer"]) == ("unverified", None)

    def test_convert_says_who_signed(self, folder: Path) -> None:
        words = ("convert", "a.ova", "a.qcow2", "--trust-anchor", "root.pem", "--require-signature", "--json")
        document = json_of(virt_ova(*words, cwd=folder))
        assert (document["trust"], document["signer"]["subject"]) == ("signed-trusted", "CN=Signer")

    def test_an_anchor_that_is_none(self, folder: Path) -> None:
        done = virt_ova(*self.WORDS, "--trust-anchor", "a.ova", cwd=folder)
        hint = "Give certificates in PEM, of authorities or of signers that you trust."
        assert refused(done, "E_TRUST_ANCHOR", "a.ova: found a file that is no text, expected PEM", hint)
        assert not (folder / "m").exists()


class TestPipe:
    @pytest.mark.parametrize("place", ["first", "last"])
    def test_a_package_that_is_trusted(self, folder: Path, signer: Identity, place: str) -> None:
        data = _piped_ova(folder, signer, place)
        words = ("install", "-", "-c", "dir:m", "--trust-anchor", "root.pem", "--require-signature", "--json")
        done = piped(data, *words, cwd=folder)
        assert json_of(done)["trust"] == "signed-trusted", done.stderr
        assert json_of(done)["signer"]["subject"] == "CN=Signer"
        assert is_installed(folder / "m", "vm")

    @pytest.mark.parametrize("place", ["first", "last", "nowhere"])
    def test_a_package_that_is_not(self, folder: Path, signer: Identity, place: str) -> None:
        """What comes last is known last: the machine is not defined, and what was written is taken back."""
        data, before = _piped_ova(folder, signer, place), listing(folder)
        done = piped(data, "install", "-", "-c", "dir:m", "--require-signature", cwd=folder)
        assert (done.returncode, done.stdout) == (1, "")
        assert "demands signed-trusted [E_UNTRUSTED]" in done.stderr
        assert ("Copying" in done.stderr) == (place != "first")
        assert listing(folder) == before

    def test_a_signature_that_does_not_fit_and_comes_last(self, folder: Path, signer: Identity) -> None:
        members = with_manifest(small_members())
        wrong = ("a.cert", certificate_file(signer, b"another manifest"))
        data, before = build_ova(folder / "a.ova", [*members, wrong]).read_bytes(), listing(folder)
        done = piped(data, "install", "-", "-c", "dir:m", cwd=folder)
        assert (done.returncode, "[E_CERT_SIGNATURE]" in done.stderr) == (1, True)
        assert listing(folder) == before


def _piped_ova(folder: Path, signer: Identity, place: str) -> bytes:
    descriptor, manifest, certificate, *disks = signed_members(small_members(), signer)
    orders = {
        "first": [descriptor, manifest, certificate, *disks],
        "last": [descriptor, *disks, manifest, certificate],
        "nowhere": [descriptor, manifest, *disks],
    }
    return build_ova(folder / "a.ova", orders[place]).read_bytes()


class TestPolicy:
    def test_the_users_file_is_read(self, folder: Path) -> None:
        home = folder / "config"
        (home / "virt-ova").mkdir(parents=True)
        file = home / "virt-ova" / "config.toml"
        file.write_text("require_signature = true\n")
        words = ("install", "a.ova", "-c", "dir:m")
        done = virt_ova(*words, cwd=folder, XDG_CONFIG_HOME=str(home))
        assert refused(done, *untrusted(UNKNOWN, who=str(file)))
        file.write_text('trust_anchors = ["../../root.pem"]\nrequire_signature = true\n')
        done = virt_ova(*words, "--json", cwd=folder, XDG_CONFIG_HOME=str(home))
        assert json_of(done)["trust"] == "signed-trusted"

    def test_what_the_systems_file_demands_nobody_takes_back(self, folder: Path) -> None:
        file = folder / "system.toml"
        file.write_text('trust_anchors = ["other.pem"]\nrequire_signature = true\n')

        def run(*words: str) -> subprocess.CompletedProcess[str]:
            start = [sys.executable, "-c", WITH_SYSTEM_FILE, str(file), *words]
            return subprocess.run(start, cwd=folder, env=environment(), capture_output=True, text=True, check=False)

        words = ("install", "a.ova", "-c", "dir:m")
        why = "the signer's authority is not known: none of the 1 trust anchors leads to it"
        assert refused(run(*words), *untrusted(why, who=str(file)))
        message = f"{file} demands a package that is signed-trusted, which it cannot be unverified"
        assert refused(run(*words, "--no-verify"), "E_UNTRUSTED", message, "Leave --no-verify out.")
        message = f"--trust-anchor 'root.pem' does not count: {file} demands signatures, and says who alone is trusted"
        hint = "Leave it out, or ask whoever keeps that file."
        assert refused(run(*words, "--trust-anchor", "root.pem"), "E_POLICY", message, hint)
        assert not (folder / "m").exists()
