"""What ``scripts`` say where they cannot work: without root, before ``scripts/setup``, with words they do not know."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NOBODY = ["unshare", "--user", "--map-user=1000"]
"""Runs a command as somebody who is not root, and whom sudo cannot make root."""


def refusal(*command: str | Path) -> str:
    """The last line that a script which fails says."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    return done.stderr.splitlines()[-1]


@pytest.mark.parametrize(
    ("script", "what", "instead"),
    [
        (
            "test",
            "running all tests",
            "run it as root, or, after scripts/setup, what needs no root by .venv/bin/pytest tests/unit",
        ),
        ("build-govc", "apt-get", "run it as root"),
    ],
)
def test_who_cannot_be_root_is_told_at_once(script: str, what: str, instead: str) -> None:
    assert refusal(*NOBODY, ROOT / "scripts" / script) == (
        f"{script}: {what} takes root, and there is no sudo that lets you be root: {instead}"
    )


@pytest.mark.parametrize("script", ["build-appliance", "fuzz"])
def test_what_needs_the_setup_says_so(tmp_path: Path, script: str) -> None:
    shutil.copytree(ROOT / "scripts", tmp_path / "scripts")
    assert refusal(tmp_path / "scripts" / script) == (
        f"{script}: run scripts/setup first: it makes {tmp_path}/.venv, which is not there"
    )


def test_the_setup_takes_one_word() -> None:
    assert refusal(ROOT / "scripts" / "setup", "demo") == "setup: found 'demo', expected --without-tests or nothing"
