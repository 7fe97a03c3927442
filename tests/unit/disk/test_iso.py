import io

import pytest
from pycdlib import PyCdlib

from virt_ova.disk.iso import iso_image

XML = b'<Environment xmlns="http://schemas.dmtf.org/ovf/environment/1"/>'


@pytest.mark.parametrize("content", [XML, b"", bytes(range(256)) * 4000])
@pytest.mark.parametrize(
    "names", [{"iso_path": "/OVF_ENV.XML;1"}, {"rr_path": "/ovf-env.xml"}, {"joliet_path": "/ovf-env.xml"}]
)
def test_the_file_is_there_by_every_name(content: bytes, names: dict[str, str]) -> None:
    found = io.BytesIO()
    iso = PyCdlib()
    iso.open_fp(io.BytesIO(iso_image("OVF ENV", "ovf-env.xml", content)))
    iso.get_file_from_iso_fp(found, **names)
    iso.close()
    assert found.getvalue() == content


def test_cloud_inits_first_look_finds_it() -> None:
    """As its ds-identify does: by the label, the size, and the namespace somewhere in the image."""
    image = iso_image("OVF ENV", "ovf-env.xml", XML)
    assert image[32769:32774] == b"CD001"
    assert image[32808:32840] == b"OVF ENV".ljust(32)
    assert len(image) < 10 << 20
    assert b"http://schemas.dmtf.org/ovf/environment/1" in image
