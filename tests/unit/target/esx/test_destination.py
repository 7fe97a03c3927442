"""What is asked for at a lease's URL."""

import pytest

from virt_ova.target.esx.tls import Trust
from virt_ova.target.esx.upload import Destination


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("https://h/nfc/52-1/disk-0.vmdk", "/nfc/52-1/disk-0.vmdk"),
        ("https://h/nfc/a%20b%2Fc.vmdk?x=1&y=%41", "/nfc/a%20b%2Fc.vmdk?x=1&y=%41"),
        ("https://h/nfc/d\u00e4 isk.vmdk?n=\u65e5", "/nfc/d%C3%A4%20isk.vmdk?n=%E6%97%A5"),
        ("https://h/nfc/a\r\nX: y", "/nfc/aX:%20y"),
        ("https://h/nfc/a\x00\x7fb", "/nfc/a%00%7Fb"),
    ],
)
def test_the_path_is_one_of_a_url(url: str, path: str) -> None:
    assert Destination(url=url, trust=Trust(), is_disk=True).path == path
