"""Fuzzes one target with atheris: ``python -m tests.fuzz NAME FOLDER [OPTION OF LIBFUZZER]...``.

Inputs that are worth keeping go to FOLDER, where the seeds are put first; one that fails is written beside them.
"""

from __future__ import annotations

import sys
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["virt_ova"]):
    from tests.fuzz.targets import TARGETS


def main() -> None:
    """Fuzz; ends the process."""
    name, folder, *options = sys.argv[1:]
    inputs = Path(folder, name)
    inputs.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(TARGETS[name].seeds):
        (inputs / f"seed-{number}").write_bytes(seed)
    atheris.Setup([sys.argv[0], str(inputs), f"-artifact_prefix={folder}/{name}.failed-", *options], TARGETS[name])
    atheris.Fuzz()


if __name__ == "__main__":
    main()
