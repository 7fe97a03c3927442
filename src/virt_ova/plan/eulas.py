"""Licences that whoever installs a package has to accept (DSP0243 9.10)."""

from __future__ import annotations

from virt_ova.errors import PlanError
from virt_ova.ovf.envelope import Envelope
from virt_ova.ovf.references import walk


def eula_texts(envelope: Envelope) -> tuple[str, ...]:
    """The texts of all licences, each once, in document order."""
    texts = (text.strip() for entity in walk(envelope.content) for text in entity.eulas)
    return tuple(dict.fromkeys(text for text in texts if text))


def check_eulas(envelope: Envelope, *, accepted: bool) -> None:
    """Refuse to go on while a licence is not accepted.

    Raises:
        PlanError: it is not (``E_EULA``).
    """
    texts = eula_texts(envelope)
    if texts and not accepted:
        raise PlanError(
            f"the package has {len(texts)} licence {'texts' if len(texts) > 1 else 'text'}, and nobody accepted "
            f"{'them' if len(texts) > 1 else 'it'}",
            code="E_EULA",
            hint="Read with 'virt-ova inspect --eulas', then install with --accept-eulas.",
        )
