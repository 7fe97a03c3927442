"""A plan as JSON and back.

A plan may come back edited, or from somebody else, so reading is strict: an unknown key is an error (a misspelt one
would be lost silently), and what it says is checked as if it came from a package (`virt_ova.plan.checking`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import msgspec

from virt_ova.plan.checking import bad_plan, check_plan
from virt_ova.plan.plan import FORMAT_VERSION, InstallPlan
from virt_ova.text import printable, quoted

MAX_PLAN_BYTES = 16 << 20
"""Longest plan that is read; one of a package with a hundred machines has less than 1 MiB."""


def to_json(plan: InstallPlan) -> str:
    """`plan` as an indented JSON document with a line feed at its end."""
    return msgspec.json.format(msgspec.json.encode(plan), indent=2).decode() + "\n"


def from_json(text: str | bytes) -> InstallPlan:
    """The plan that `text` holds.

    Raises:
        PlanError: it is no plan of this version (``E_PLAN_JSON``), or as `check_plan` raises.
    """
    if len(text) > MAX_PLAN_BYTES:
        raise bad_plan(f"the plan is longer than {MAX_PLAN_BYTES} bytes")
    try:
        _check_version(msgspec.json.decode(text, type=_Version).version)
        plan = msgspec.json.decode(text, type=InstallPlan)
        unknown = next(_unknown_keys(msgspec.json.decode(text), msgspec.to_builtins(plan), "$"), None)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as exc:
        raise bad_plan(f"the plan cannot be read: {printable(str(exc))}") from exc
    if unknown is not None:
        raise bad_plan(f"the plan holds {quoted(unknown)}, which is not known")
    check_plan(plan)
    return plan


@dataclass(frozen=True, kw_only=True, slots=True)
class _Version:
    version: int


def _check_version(version: int) -> None:
    if version != FORMAT_VERSION:
        raise bad_plan(f"the plan has version {version}, expected {FORMAT_VERSION}")


def _unknown_keys(given: object, understood: object, path: str) -> Iterator[str]:
    """Paths of object keys that decoding passed over."""
    if isinstance(given, dict) and isinstance(understood, dict):
        for key, value in given.items():
            if key in understood:
                yield from _unknown_keys(value, understood[key], f"{path}.{key}")
            else:
                yield f"{path}.{key}"
    elif isinstance(given, list) and isinstance(understood, list | tuple):
        for number, (value, counterpart) in enumerate(zip(given, understood, strict=True)):
            yield from _unknown_keys(value, counterpart, f"{path}[{number}]")
