"""A vSphere of the tests' own: govmomi's simulator, with the program of ``tests/build/vcsim`` around it.

with started(tmp_path, is_vcenter=True) as vsphere:
    vsphere.set_faults(Action="cut", At=50)
    ...
    vsphere.seen()["Uploads"]

The program is built once, into ``build``. The simulator takes any bytes for a disk: it proves what was sent, and how,
not that a real ESXi would have liked it.
"""

from __future__ import annotations

import base64
import fcntl
import hashlib
import json
import os
import shutil
import ssl
import subprocess
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

USER: Final = "root"
PASSWORD: Final = "p&ss <w>ord@esx:1"  # noqa: S105 - of the simulator alone

_ROOT: Final = Path(__file__).parents[2]
_SOURCE: Final = Path(__file__).parent / "vcsim"
_PROGRAM: Final = _ROOT / "build" / "vcsim"
_GO: Final = {"GO111MODULE": "off", "GOPATH": "/usr/share/gocode", "GOCACHE": str(_ROOT / "build" / "go")}


@dataclass(frozen=True, kw_only=True)
class VSphere:
    """A running simulator.

    Attributes:
        address: ``127.0.0.1:PORT``.
        is_vcenter: whether it is a vCenter.
        certificate: the authority's, in PEM.
        auth_file: with the password, as libvirt reads it.
        thumbprint: SHA-256 of its certificate.
    """

    address: str
    is_vcenter: bool
    certificate: Path
    auth_file: Path
    thumbprint: str

    def uri(self, query: str = "") -> str:
        """Its connection URI; the certificate is pinned unless `query` says otherwise."""
        query = query or f"thumbprint={self.thumbprint}"
        if self.is_vcenter:
            return f"vpx://{USER}@{self.address}/DC0/DC0_C0?{query}"
        return f"esx://{USER}@{self.address}/?{query}"

    def set_faults(self, **faults: object) -> None:
        """What goes wrong from now on (``Faults`` in the program); forget what was seen."""
        self._request("/test/faults", json.dumps(faults).encode())

    def seen(self) -> dict[str, Any]:
        """What came since `set_faults` (``Seen`` in the program)."""
        seen: dict[str, Any] = json.loads(self._request("/test/seen"))
        return {name: [] if value is None else value for name, value in seen.items()}

    def _request(self, path: str, data: bytes | None = None) -> bytes:
        request = urllib.request.Request(f"https://{self.address}{path}", data=data)
        context = ssl._create_unverified_context()  # noqa: S323
        with urllib.request.urlopen(request, timeout=10, context=context) as answer:  # noqa: S310
            content: bytes = answer.read()
        return content


def program() -> Path:
    """The simulator, built when it is not there or older than its source."""
    newest = max(source.stat().st_mtime for source in _SOURCE.glob("*.go"))
    _PROGRAM.parent.mkdir(exist_ok=True)
    with (_PROGRAM.parent / "vcsim.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not _PROGRAM.exists() or _PROGRAM.stat().st_mtime < newest:
            go = shutil.which("go")
            assert go, "go is missing; scripts/setup installs it"
            subprocess.run([go, "build", "-o", _PROGRAM, "."], cwd=_SOURCE, env={**os.environ, **_GO}, check=True)
    return _PROGRAM


@contextmanager
def started(
    folder: Path, *, is_vcenter: bool = False, is_kept: bool = True, api_version: str = ""
) -> Iterator[VSphere]:
    """A running simulator, whose files are in `folder`.

    Args:
        folder: exists.
        is_vcenter: whether it is a vCenter.
        is_kept: whether what is uploaded is among the files.
        api_version: what it says to speak; 6.5 when empty.
    """
    certificate = _make_certificate(folder)
    auth_file = folder / "auth.conf"
    auth_file.write_text(
        f"[credentials-lab]\nusername={USER}\npassword={PASSWORD}\n\n"
        "[auth-esx-127.0.0.1]\ncredentials=lab\n[auth-vpx-127.0.0.1]\ncredentials=lab\n"
    )
    auth_file.chmod(0o600)
    words = [program(), "-cert", folder / "server.pem", "-user", USER, *(["-store", folder] if is_kept else [])]
    words += ["-api", api_version] if api_version else []
    with (
        (folder / "vcsim.log").open("w") as log,
        subprocess.Popen(
            [*map(str, words), *(["-vcenter"] if is_vcenter else [])],
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            env={**os.environ, "VCSIM_PASSWORD": PASSWORD, "TMPDIR": str(folder)},
        ) as process,
    ):
        try:
            assert process.stdout
            address = process.stdout.readline().strip()
            assert address, (folder / "vcsim.log").read_text()
            yield VSphere(
                address=address,
                is_vcenter=is_vcenter,
                certificate=certificate,
                auth_file=auth_file,
                thumbprint=thumbprint(certificate),
            )
        finally:
            process.kill()


def _make_certificate(folder: Path) -> Path:
    """A certificate for 127.0.0.1, which vouches for itself."""
    key, certificate = folder / "server.key", folder / "server.crt"
    subprocess.run(
        [
            *(
                "openssl",
                "req",
                "-x509",
                "-newkey",
                "ec",
                "-pkeyopt",
                "ec_paramgen_curve:P-256",
                "-noenc",
                "-days",
                "2",
            ),
            *("-subj", "/CN=vsphere", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", certificate),
        ],
        check=True,
        capture_output=True,
    )
    (folder / "server.pem").write_bytes(certificate.read_bytes() + key.read_bytes())
    return certificate


def thumbprint(certificate: Path, algorithm: str = "sha256") -> str:
    """Of the certificate in a PEM file, in hex."""
    body = "".join(line for line in certificate.read_text().splitlines() if not line.startswith("-"))
    return hashlib.new(algorithm, base64.b64decode(body)).hexdigest()
