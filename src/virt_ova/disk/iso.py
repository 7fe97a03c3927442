"""A small ISO 9660 image, made in memory.

Its files have their real names by Rock Ridge and Joliet, which Linux and Windows read; by ISO 9660 itself they have
those that DSP0243 lets a guest fall back to (``OVF_ENV.XML`` for ``ovf-env.xml``).
"""

from __future__ import annotations

import io
from typing import Final

_UNIX_1991: Final = "1.09"
_JOLIET_LEVEL: Final = 3


def iso_image(label: str, name: str, content: bytes) -> bytes:
    """An image with the volume label `label` that holds one file.

    Args:
        label: upper-case letters, digits and blanks, 32 at most.
        name: of the file: eight characters, a dot and three.
        content: of the file.
    """
    from pycdlib import PyCdlib  # noqa: PLC0415 - slow to load, and seldom needed

    iso, image = PyCdlib(), io.BytesIO()
    iso.new(vol_ident=label, joliet=_JOLIET_LEVEL, rock_ridge=_UNIX_1991)
    plain = name.upper().replace("-", "_")
    iso.add_fp(io.BytesIO(content), len(content), f"/{plain};1", rr_name=name, joliet_path=f"/{name}")
    iso.write_fp(image)
    iso.close()
    return image.getvalue()
