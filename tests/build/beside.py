"""What lies beside this project and belongs to others: real descriptors, and DMTF's schemas."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

import pytest

SHARED: Final = Path(__file__).parents[3] / "shared"


def beside(name: str, *, shared: Path = SHARED) -> Path:
    """The folder `name` of `shared`. Tests that need one that is not there are skipped, and fail in CI."""
    folder = shared / name
    if folder.is_dir():
        return folder
    message = f"there is no {folder}: it belongs to others, is no part of this project, and these tests need it"
    if "CI" in os.environ:
        pytest.fail(message, pytrace=False)
    pytest.skip(message, allow_module_level=True)
