"""The corpus of real descriptors beside this project, and its index.

The corpus belongs to others and is never copied here. `INDEX.tsv` was made by another program with its own counting;
these are its columns that the tests use:

* ``local``: path in the corpus; ``kind``: what the file is; ``wf``: whether it is well-formed XML; ``label``: whether
  its authors meant it to be good.
* ``systems``, ``collections``: at any depth; ``files``, ``disks``, ``networks``: elements, wherever they stand.
* ``nics_def``: network interfaces of all systems under the default deployment option.
* ``cpus``, ``mem_mib``: one value for each system under the default deployment option, joined by ``;``, ``-`` where
  there is none and ``?`` where it could not be read.
* ``capacity``: bytes of all disks together, ``?`` where one could not be read.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass

from tests.build.beside import beside

CORPUS = beside("corpus")
COLUMNS = ("systems", "collections", "files", "disks", "networks", "nics_def", "cpus", "mem_mib", "capacity")


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One descriptor of the corpus, and what the index says of it."""

    local: str
    is_well_formed: bool
    label: str
    counts: dict[str, str]

    def read(self) -> bytes:
        return (CORPUS / self.local).read_bytes()


def descriptors() -> tuple[Row, ...]:
    """All descriptors of the index."""
    with (CORPUS / "INDEX.tsv").open(encoding="utf-8", newline="") as lines:
        return tuple(
            Row(
                local=row["local"],
                is_well_formed=row["wf"] == "yes",
                label=row["label"],
                counts={column: row[column] for column in COLUMNS},
            )
            for row in csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE)
            if row["kind"] == "ovf"
        )
