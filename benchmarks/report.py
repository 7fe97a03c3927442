"""Tables and a plot of what was measured."""

from __future__ import annotations

from collections.abc import Mapping
from xml.etree import ElementTree as ET

Results = Mapping[str, Mapping[str, object]]

_WIDTH, _ROW, _LABEL, _BAR = 860, 22, 430, 300


def as_table(case: str, results: Results) -> str:
    """One case in Markdown: medians, and ratios to the first row."""
    first = next(iter(results.values()))
    lines = [
        f"### {case}",
        "",
        "| command | wall s | CPU s | peak MiB | wall, first = 1 | CPU, first = 1 |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for name, result in results.items():
        wall, cpu = _number(result, "wall_seconds"), _number(result, "cpu_seconds")
        ratios = (_ratio(wall, _number(first, "wall_seconds")), _ratio(cpu, _number(first, "cpu_seconds")))
        peak = _number(result, "peak_bytes") / (1 << 20)
        lines.append(f"| `{name}` | {wall:.2f} | {cpu:.2f} | {peak:.0f} | {ratios[0]} | {ratios[1]} |")
    return "\n".join([*lines, ""])


def as_plot(cases: Mapping[str, Results]) -> str:
    """Wall times of all cases as bars, each case on a scale of its own."""
    rows = sum(len(results) + 2 for results in cases.values())
    svg = ET.Element("svg", xmlns="http://www.w3.org/2000/svg", width=str(_WIDTH), height=str(rows * _ROW))
    svg.set("font-family", "sans-serif")
    svg.set("font-size", "12")
    ET.SubElement(svg, "rect", width="100%", height="100%", fill="white")
    y = 0
    for case, results in cases.items():
        y += _ROW
        ET.SubElement(svg, "text", {"x": "8", "y": str(y), "font-weight": "bold"}).text = case
        longest = max(_number(result, "wall_seconds") for result in results.values())
        for name, result in results.items():
            y += _ROW
            wall = _number(result, "wall_seconds")
            fill = "#2a7f62" if result["ours"] else "#9aa5b1"
            ET.SubElement(svg, "text", {"x": str(_LABEL - 8), "y": str(y), "text-anchor": "end"}).text = name
            width = max(1.0, _BAR * wall / longest)
            bar = {"x": str(_LABEL), "y": str(y - 11), "width": f"{width:.1f}", "height": "14", "fill": fill}
            ET.SubElement(svg, "rect", bar)
            ET.SubElement(svg, "text", {"x": f"{_LABEL + width + 6:.1f}", "y": str(y)}).text = f"{wall:.2f} s"
        y += _ROW
    return ET.tostring(svg, encoding="unicode") + "\n"


def _number(result: Mapping[str, object], key: str) -> float:
    value = result[key]
    assert isinstance(value, int | float)  # noqa: S101 - as the runner made it
    return float(value)


def _ratio(value: float, first: float) -> str:
    return f"{value / first:.2f}" if first else "-"
