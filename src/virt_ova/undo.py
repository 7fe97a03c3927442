"""Taking back what was made, when what it was made for has failed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from virt_ova.errors import RollbackError, TargetError, VirtOvaError


@dataclass(frozen=True, kw_only=True, slots=True)
class Made:
    """One thing that was made: what it is, for people (``volume web-disk1.qcow2``), and what removes it."""

    what: str
    discard: Callable[[], object]


@dataclass(frozen=True, kw_only=True, slots=True)
class Undone:
    """What was removed, and the error that tells of what was not; None when nothing is left."""

    removed: tuple[str, ...]
    failure: RollbackError | None


def undo(made: Sequence[Made], error: BaseException) -> Undone:
    """Remove all of `made`, the last first; what does not go keeps nothing else from going.

    Args:
        made: in the order it was made.
        error: why; one that tells already of something that is left is told on.
    """
    removed, left, hints = [], [], []
    for each in reversed(made):
        try:
            each.discard()
        except Exception as exc:  # noqa: BLE001 - whatever stops one from going, the others go, and it is told
            left.append(f"{each.what} ({str(exc) or type(exc).__name__})")
            hints += [exc.hint] if isinstance(exc, VirtOvaError) and exc.hint else []
        else:
            removed.append(each.what)
    return Undone(removed=tuple(removed), failure=_failure(left, hints, error) if left else None)


def take_back(made: Sequence[Made], error: BaseException) -> None:
    """As `undo`.

    Raises:
        RollbackError: something is left (``E_ROLLBACK``).
    """
    if failure := undo(made, error).failure:
        raise failure from error


def discard_all(*discards: Callable[[], object]) -> None:
    """Call each of `discards`, whatever becomes of the others.

    Raises:
        TargetError: something stays; the messages and hints of all that failed are joined.
    """
    errors = []
    for discard in discards:
        try:
            discard()
        except TargetError as exc:
            errors.append(exc)
    if errors:
        message, hint = ("; ".join(texts) for texts in zip(*((exc.message, exc.hint) for exc in errors), strict=True))
        raise TargetError(message, code=errors[0].code, hint=hint) from errors[0]


def _failure(left: Sequence[str], hints: Sequence[str], error: BaseException) -> RollbackError:
    by_hand = "Remove what is left by hand"
    if isinstance(error, RollbackError):
        begin, hints = f"{error.message}; ", [error.hint.removeprefix(f"{by_hand}: ").rstrip("."), *hints]
    else:
        begin = f"the run failed ({str(error) or type(error).__name__}), and undoing it left: "
    hints = [hint for hint in hints if hint and hint != by_hand]
    return RollbackError(
        begin + "; ".join(left),
        code="E_ROLLBACK",
        hint=f"{by_hand}: {'; '.join(hints)}" if hints else f"{by_hand}.",
    )
