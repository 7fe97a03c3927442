"""``python -m benchmarks``: measure virt-ova beside its peers, and print ratios.

python -m benchmarks --small              one disk of 256 MiB, for a quick look
python -m benchmarks --json out.json --plot out.svg
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from compileall import compile_dir
from pathlib import Path

import virt_ova
from benchmarks.cases import expand_cases, instant_case, mounted, transplant_case, v2v_case, vsphere_case
from benchmarks.report import as_plot, as_table
from benchmarks.runner import Case, run_case
from benchmarks.samples import Sample, build

GIB = 1 << 30


def main() -> None:
    """Build what is missing, run the cases, report."""
    args = _arguments()
    args.folder.mkdir(parents=True, exist_ok=True)
    compile_dir(Path(virt_ova.__file__).parent, quiet=1)  # as pip does, so that no run pays for it
    results = {}
    for case in _cases(args):
        if args.only and not any(text in case.name for text in args.only):
            continue
        timings = run_case(case, rounds=args.rounds, say=lambda line: print(line, file=sys.stderr, flush=True))
        results[case.name] = {
            contestant.name: {"ours": contestant.is_ours, **timings[contestant.name].document()}
            for contestant in case.contestants
        }
        print(as_table(case.name, results[case.name]), flush=True)
    if args.json:
        args.json.write_text(json.dumps(results, indent=2) + "\n")
    if args.plot:
        args.plot.write_text(as_plot(results))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure virt-ova beside its peers.")
    parser.add_argument("--folder", type=Path, default=Path("build/benchmarks"), help="where packages and outputs go")
    parser.add_argument("--content", type=Path, default=Path("/usr"), help="files that fill the disks")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--small", action="store_true", help="one small disk only")
    parser.add_argument("--only", action="append", metavar="TEXT", help="only cases whose name holds TEXT")
    parser.add_argument("--linear", action="store_true", help="also disks of 1, 2 and 4 times 512 MiB")
    parser.add_argument("--v2v", action="store_true", help="also virt-v2v, which takes minutes")
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="an SVG")
    return parser.parse_args()


def _cases(args: argparse.Namespace) -> Iterator[Case]:
    small = build(args.folder, "small", capacity_bytes=GIB // 4, content=args.content, content_bytes=GIB // 5)
    yield from _all_ways("256 MiB", small, args.folder)
    if args.linear:
        for factor in (1, 2, 4):
            size = factor * GIB // 2
            name = f"{factor} x 512 MiB"
            sample = build(args.folder, name, capacity_bytes=size, content=args.content, content_bytes=size)
            yield from expand_cases(name, sample, args.folder)
    if args.small:
        return
    large = build(args.folder, "large", capacity_bytes=8 * GIB, content=args.content / "lib")
    yield from _all_ways("4 GiB in 8 GiB", large, args.folder)
    if args.v2v:
        yield v2v_case("4 GiB in 8 GiB", large, args.folder)
    yield from _shared("4 GiB in 8 GiB", large, args.folder)
    sparse = build(args.folder, "sparse", capacity_bytes=1024 * GIB, content=args.content, content_bytes=GIB // 5)
    yield from _all_ways("200 MiB in 1 TiB", sparse, args.folder)


def _all_ways(name: str, sample: Sample, folder: Path) -> Iterator[Case]:
    yield from expand_cases(name, sample, folder)
    yield transplant_case(name, sample, folder)
    yield instant_case(name, sample, folder)
    with vsphere_case(name, sample, folder) as case:
        yield case


def _shared(name: str, sample: Sample, folder: Path) -> Iterator[Case]:
    """Transplants where the file system can share blocks."""
    for kind in ("xfs", "btrfs"):
        with mounted(kind, folder, 4 * sample.package.stat().st_size + GIB) as place:
            if place is None:
                print(f"{kind}: left out, because a loop device cannot be mounted here")
                continue
            package = place / sample.package.name
            package.write_bytes(b"")
            with sample.package.open("rb") as source, package.open("wb") as target:
                while data := source.read(1 << 20):
                    target.write(data)
            moved = Sample(package=package, member_offset=sample.member_offset, member_size=sample.member_size)
            yield transplant_case(f"{name} on {kind}", moved, place)


main()
