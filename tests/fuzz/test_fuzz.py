"""A little fuzzing in every run, from the same start; ``scripts/fuzz SECONDS`` does more."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fuzz.targets import TARGETS, Target
from virt_ova.errors import PackageError

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("name", TARGETS)
def test_nothing_is_found(tmp_path: Path, name: str) -> None:
    options = [f"-runs={TARGETS[name].runs}", "-seed=1", "-timeout=10", "-rss_limit_mb=512", "-max_len=16384"]
    done = subprocess.run(
        [sys.executable, "-m", "tests.fuzz", name, tmp_path, *options],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    runs = re.search(r"^Done (\d+) runs", done.stderr, re.MULTILINE)
    assert runs
    assert int(runs[1]) >= TARGETS[name].runs


@pytest.mark.parametrize("name", TARGETS)
def test_a_seed_is_taken(name: str) -> None:
    for seed in TARGETS[name].seeds:
        TARGETS[name](seed)


def test_what_is_no_error_of_ours_is_found() -> None:
    with pytest.raises(ZeroDivisionError):
        Target(take=lambda _: 1 // 0, seeds=())(b"")


def test_an_error_that_cannot_be_shown_is_found() -> None:
    def refuse(data: bytes) -> None:
        raise PackageError(data.decode(), code="E_PKG_FILE")

    Target(take=refuse, seeds=())(b"plain")
    for text in (b"\x1b[2J", b"x" * 5000):
        with pytest.raises(AssertionError):
            Target(take=refuse, seeds=())(text)
