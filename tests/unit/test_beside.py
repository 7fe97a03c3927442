"""What the tests say where something that lies beside the project is not there."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.build.beside import beside

MESSAGE = "there is no {}: it belongs to others, is no part of this project, and these tests need it"


def test_what_is_there_is_taken(tmp_path: Path) -> None:
    (tmp_path / "corpus").mkdir()
    assert beside("corpus", shared=tmp_path) == tmp_path / "corpus"


@pytest.mark.parametrize(("ci", "raised"), [(None, pytest.skip.Exception), ("true", pytest.fail.Exception)])
def test_what_is_not_there_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ci: str | None, raised: type[BaseException]
) -> None:
    monkeypatch.delenv("CI", raising=False)
    if ci:
        monkeypatch.setenv("CI", ci)
    with pytest.raises(raised) as caught:
        beside("corpus", shared=tmp_path)
    assert str(caught.value) == MESSAGE.format(tmp_path / "corpus")
