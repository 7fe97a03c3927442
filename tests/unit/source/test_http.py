import logging
import random
import socket
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from http import HTTPStatus
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.build.ova import build_ova
from tests.build.webserver import MODIFIED, Answer, Asked, Fault, WebServer, make_certificate, serve
from virt_ova.errors import SourceError
from virt_ova.source.base import ByteSource
from virt_ova.source.http import BLOCK_BYTES, HttpSource
from virt_ova.source.httprange import Patience, may_redirect
from virt_ova.source.opener import open_archive

MIB = 1 << 20
QUICK = Patience(connect_seconds=1, silence_seconds=1, least_bytes_per_second=4 * MIB, retries=3, backoff_seconds=0.01)
PATIENT = replace(QUICK, connect_seconds=10, silence_seconds=10)
"""For what is not about time: the machine may be busy."""

PROXY_HINT = "The proxy wants credentials: give them in HTTPS_PROXY or HTTP_PROXY."
DATA = random.Random(0).randbytes(3 * MIB + 12345)  # noqa: S311 - test data


@pytest.fixture(autouse=True)
def _no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "SSL_CERT_FILE", "SSL_CERT_DIR"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "a.ova"
    path.write_bytes(DATA)
    return path


@pytest.fixture
def server(path: Path) -> Iterator[WebServer]:
    with serve({"/a.ova": path}) as server:
        yield server


def opened(server: WebServer, patience: Patience = PATIENT) -> closing[HttpSource]:
    return closing(HttpSource(server.url("/a.ova"), patience=patience))


def refused_opening(server: WebServer, fault: Fault | None = None, *, patience: Patience = PATIENT) -> SourceError:
    server.fault = fault or server.fault
    with pytest.raises(SourceError) as caught, opened(server, patience):
        pass
    return caught.value


def refused_reading(source: HttpSource, offset: int = 2 * MIB, size: int = 1000) -> SourceError:
    with pytest.raises(SourceError) as caught:
        source.read_at(offset, size)
    return caught.value


def answer_headers(**headers: str | None) -> Fault:
    """Sent so, or left out when None; ``_`` stands for a dash."""

    def fault(_: Asked, answer: Answer) -> None:
        answer.headers.update({name.replace("_", "-"): value for name, value in headers.items()})

    return fault


def answer_status(status: int) -> Fault:
    def fault(_: Asked, answer: Answer) -> None:
        answer.status = status

    return fault


def cut_after(sent: int, times: int) -> Fault:
    left = [times]

    def fault(_: Asked, answer: Answer) -> None:
        if left[0]:
            left[0] -= 1
            answer.cut_after = sent

    return fault


def redirect_to(*locations: str) -> Fault:
    """The first requests are sent elsewhere, in turn."""
    left = list(locations)

    def fault(_: Asked, answer: Answer) -> None:
        if left:
            answer.status, answer.headers, answer.path, answer.size = 302, {"Location": left.pop(0)}, None, 0

    return fault


def test_every_read_has_the_files_bytes(server: WebServer) -> None:
    rng = random.Random(1)  # noqa: S311 - test data
    with opened(server) as source:
        without_file: ByteSource = source
        assert source.size == len(DATA)
        assert without_file.fileno() is None
        position = 0
        for _ in range(150):
            if rng.random() < 0.3:
                position = rng.randrange(len(DATA))
            size = min(rng.choice([0, 1, 512, 16 << 10, 100_000, 600_000]), len(DATA) - position)
            assert source.read_at(position, size) == DATA[position : position + size]
            position += size
        assert len(source._blocks) <= 17


def test_small_reads_come_from_few_blocks(server: WebServer) -> None:
    with opened(server) as source:
        for offset in (0, 512, 30_000, 100, MIB, MIB + 5000, MIB - MIB % BLOCK_BYTES, len(DATA) - 10):
            assert source.read_at(offset, 10) == DATA[offset : offset + 10]
        assert source.read_at(MIB + BLOCK_BYTES - 5, 10) == DATA[MIB + BLOCK_BYTES - 5 : MIB + BLOCK_BYTES + 5]
    assert len(server.asked) == 4
    assert server.sent_bytes == 3 * BLOCK_BYTES + len(DATA) % BLOCK_BYTES


@pytest.mark.parametrize("piece", [1000, 70_000, 300_000, 2 * MIB])
def test_reads_that_follow_each_other_share_one_answer(server: WebServer, piece: int) -> None:
    with opened(server) as source:
        for offset in range(0, len(DATA), piece):
            size = min(piece, len(DATA) - offset)
            assert source.read_at(offset, size) == DATA[offset : offset + size]
    assert len(server.asked) <= 10
    assert server.sent_bytes <= len(DATA) + BLOCK_BYTES


def test_reading_on_after_a_jump_and_over_a_small_gap(server: WebServer) -> None:
    with opened(server) as source:
        for offset in (0, 300_000, 620_000, 2 * MIB, 2 * MIB + 300_000, 100, 2 * MIB + 600_000):
            assert source.read_at(offset, 300_000) == DATA[offset : offset + 300_000]
    starts = [asked.start for asked in server.asked]
    assert starts == [0, 0, 300_000, 2 * MIB, 2 * MIB + 300_000, 100]


def test_threads_share_it(server: WebServer) -> None:
    offsets = [random.Random(2).randrange(len(DATA) - 400_000) for _ in range(40)]  # noqa: S311 - test data
    with opened(server) as source, ThreadPoolExecutor(4) as threads:
        for offset, data in zip(
            offsets, threads.map(lambda each: source.read_at(each, each % 400_000), offsets), strict=True
        ):
            assert data == DATA[offset : offset + offset % 400_000]


def test_a_connection_serves_many_requests(server: WebServer) -> None:
    with opened(server) as source:
        for number in range(20):
            source.read_at(number * 100_000, 10)
        assert len(source._file._sockets) == 1


def test_a_read_behind_the_end(server: WebServer) -> None:
    with opened(server) as source:
        error = refused_reading(source, len(DATA) - 5, 10)
        assert refused_reading(source, -1, 1).code == "E_SOURCE_TRUNCATED"
    assert error.code == "E_SOURCE_TRUNCATED"
    assert error.message == (
        f"'{server.url('/a.ova')}' ends at byte {len(DATA)}, expected at least {len(DATA) + 5} bytes"
    )


@pytest.mark.parametrize(
    ("status", "described", "hint"),
    [
        (401, "401 (Unauthorized)", "Give user and password in the URL, as in https://user:password@host/."),
        (403, "403 (Forbidden)", "The server does not let you read it; check the address and the credentials."),
        (404, "404 (Not Found)", "Check the address."),
        (407, "407 (Proxy Authentication Required)", PROXY_HINT),
        (503, "503 (Service Unavailable)", "Try again later."),
        (299, "299", ""),
        (302, "302 (Found)", ""),
    ],
)  # fmt: skip
def test_other_statuses(server: WebServer, status: int, described: str, hint: str) -> None:
    error = refused_opening(server, answer_status(status))
    assert error.code == "E_HTTP_STATUS"
    assert str(error) == (f"{server.url('/a.ova')}: the server answered {described}, expected 206 (Partial Content)")
    assert error.hint == hint


def test_a_server_that_sends_no_parts(server: WebServer) -> None:
    error = refused_opening(server, answer_status(200))
    assert error.code == "E_HTTP_RANGE"
    assert error.message == "the server sent the whole file, expected the part that was asked for (HTTP Range)"
    assert error.hint == "Pipe it ('curl -fsS URL | virt-ova install -'), or download it first."
    assert server.sent_bytes < len(DATA)


@pytest.mark.parametrize(
    ("headers", "message"),
    [
        ({"Content_Range": None}, "the range '', expected 'bytes FIRST-LAST/LENGTH'"),
        ({"Content_Range": "bytes 0-32767/*"}, "the range 'bytes 0-32767/*', expected 'bytes FIRST-LAST/LENGTH'"),
        ({"Content_Range": "bytes 1-32768/99999"}, "the bytes 1 to 32768, expected 0 to 32767"),
        ({"Content_Range": "bytes 0-32767/1000"}, "the bytes 0 to 32767, expected 0 to 999"),
        ({"Content_Range": "bytes 0-32766/99999"}, "the bytes 0 to 32766, expected 0 to 32767"),
        ({"Content_Length": "5"}, "'5' as length of a range of 32768 bytes"),
        ({"Content_Length": "99999999"}, "'99999999' as length of a range of 32768 bytes"),
    ],
)
def test_a_wrong_range(server: WebServer, headers: dict[str, str | None], message: str) -> None:
    error = refused_opening(server, answer_headers(**headers))
    assert error.code == "E_HTTP_RANGE"
    assert error.message == f"the server answered with {message}"


def test_encoded_content(server: WebServer) -> None:
    assert refused_opening(server, answer_headers(Content_Encoding="gzip")).message == (
        "found the content encoding 'gzip', expected the file's own bytes"
    )
    assert refused_opening(server).code == "E_HTTP_ENCODING"
    assert {asked.headers["accept-encoding"] for asked in server.asked} == {"identity"}


def test_an_empty_file(server: WebServer, path: Path) -> None:
    path.write_bytes(b"")
    for fault in (answer_headers(), answer_status(200)):
        error = refused_opening(server, fault)
        assert error.code == "E_NOT_OVA"
        assert error.message == f"'{server.url('/a.ova')}' is empty, expected an OVA (a tar)"


def test_a_file_that_was_replaced(server: WebServer, path: Path) -> None:
    with opened(server) as source:
        source.check_unchanged()
        path.write_bytes(DATA[::-1])
        error = refused_reading(source)
        with pytest.raises(SourceError, match="changed while it was in use"):
            source.check_unchanged()
    assert error.code == "E_CHANGED"
    assert error.message == (
        f"'{server.url('/a.ova')}' changed while it was in use: the server answered 412 (Precondition Failed)"
    )
    assert error.hint == "Somebody replaced the file on the server: start again."


@pytest.mark.parametrize(
    ("headers", "found"),
    [
        ({"ETag": '"new"'}, f"{len(DATA)} bytes, ETag '\"new\"', of '{MODIFIED}'"),
        ({"ETag": "W/1", "Last_Modified": "now"}, f"{len(DATA)} bytes, ETag 'W/1', of 'now'"),
        ({"Last_Modified": None}, f"{len(DATA)} bytes, ETag 'W/1', of ''"),
        ({"Content_Range": "bytes 2097152-2129919/9999999"}, f"9999999 bytes, ETag 'W/1', of '{MODIFIED}'"),
    ],
)
def test_a_validator_that_changed(server: WebServer, headers: dict[str, str | None], found: str) -> None:
    server.fault = answer_headers(ETag="W/1")
    with opened(server) as source:
        server.fault = answer_headers(**{"ETag": "W/1", **headers})
        error = refused_reading(source)
    assert error.code == "E_CHANGED"
    assert error.message == (
        f"'{server.url('/a.ova')}' changed while it was in use: "
        f"found {found}, expected {len(DATA)} bytes, ETag 'W/1', of '{MODIFIED}'"
    )
    assert all("if-match" not in asked.headers for asked in server.asked), "a weak ETag matches nothing"


def test_a_file_that_shrank(server: WebServer, path: Path) -> None:
    server.fault = answer_headers(ETag=None)
    with opened(server) as source:
        path.write_bytes(DATA[:MIB])
        error = refused_reading(source)
    answer = f"416 ({HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE.phrase})"
    assert error.message.endswith(f"changed while it was in use: the server answered {answer}")
    assert error.code == "E_CHANGED"


@pytest.mark.parametrize("times", [1, 3])
def test_a_cut_connection_is_taken_up_where_it_broke(server: WebServer, times: int) -> None:
    with opened(server) as source:
        server.fault = cut_after(300_000, times)
        assert source.read_at(1000, 2 * MIB) == DATA[1000 : 1000 + 2 * MIB]
    assert [asked.start for asked in server.asked] == [0, *(1000 + 300_000 * n for n in range(times + 1))]
    assert server.sent_bytes == BLOCK_BYTES + 2 * MIB, "nothing is sent twice"


def test_a_connection_that_is_always_cut(server: WebServer) -> None:
    with opened(server) as source:
        server.fault = cut_after(1000, 99)
        error = refused_reading(source, MIB, 300_000)
    assert error.code == "E_HTTP_READ"
    assert error.message.startswith(f"'{server.url('/a.ova')}' cannot be read: peer closed connection without sending")
    assert error.hint == "Check the address and the network, and try again."
    assert len(server.asked) == 5


def test_a_body_that_just_ends(server: WebServer) -> None:
    with opened(server) as source:

        def fault(_: Asked, answer: Answer) -> None:
            answer.headers["Content-Length"], answer.cut_after = None, 1000

        server.fault = fault
        error = refused_reading(source, MIB, 300_000)
    assert error.code == "E_HTTP_READ"
    assert error.message == f"'{server.url('/a.ova')}' broke off at byte {MIB + 4000}, expected {MIB + 300_000} bytes"


def test_a_cut_connection_is_not_taken_up_without_a_validator(server: WebServer) -> None:
    server.fault = answer_headers(ETag=None, Last_Modified=None)
    with opened(server) as source:
        (finding,) = source.findings
        assert finding.code == "HTTP_NO_VALIDATOR"
        assert finding.message == (
            "the server sends neither ETag nor Last-Modified: a file that changes meanwhile may not be noticed"
        )

        def fault(_: Asked, answer: Answer) -> None:
            answer.headers.update({"ETag": None, "Last-Modified": None})
            answer.cut_after = 1000

        server.fault = fault
        assert refused_reading(source).code == "E_HTTP_READ"
    assert len(server.asked) == 2


def test_a_file_that_is_replaced_while_its_connection_is_cut(server: WebServer, path: Path) -> None:
    with opened(server) as source:

        def fault(_: Asked, answer: Answer) -> None:
            answer.cut_after = 1000
            path.write_bytes(DATA[::-1])

        server.fault = fault
        assert refused_reading(source).code == "E_CHANGED"


def test_a_server_that_goes_away(path: Path) -> None:
    with serve({"/a.ova": path}) as server:
        source = HttpSource(server.url("/a.ova"), patience=QUICK)
    source.close()
    error = refused_opening(server)
    assert error.code == "E_HTTP_READ"
    assert error.message == f"'{server.url('/a.ova')}' cannot be read: [Errno 111] Connection refused"


def test_a_server_that_does_not_accept() -> None:
    with socket.socket() as listener, socket.socket() as first:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        first.connect(listener.getsockname())
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/a.ova"
        with pytest.raises(SourceError) as caught:
            HttpSource(url, patience=QUICK)
    assert caught.value.code == "E_HTTP_TIMEOUT"
    assert str(caught.value) == f"{url}: the server did not accept a connection for 1 s"
    assert caught.value.hint == "Try again later, or download it first."


def test_a_silent_server(server: WebServer) -> None:
    release = threading.Event()

    def fault(_: Asked, __: Answer) -> None:
        release.wait(10)

    with opened(server, replace(QUICK, least_bytes_per_second=4096)) as source:
        server.fault = fault
        error = refused_reading(source)
        release.set()
    assert error.code == "E_HTTP_TIMEOUT"
    assert error.message == "the server sent nothing for 1 s"


@pytest.mark.parametrize("where", ["headers_pause", "body_pause"])
def test_a_server_that_sends_a_byte_now_and_then(server: WebServer, where: str) -> None:
    with opened(server, QUICK) as source:
        server.fault = lambda _, answer: setattr(answer, where, 0.1)
        started = time.monotonic()
        error = refused_reading(source)
        assert time.monotonic() - started < 5
    assert error.code == "E_HTTP_TIMEOUT"
    assert error.message == f"the server did not send {BLOCK_BYTES} bytes in 1.0 s"


def test_a_first_answer_that_comes_byte_by_byte(server: WebServer) -> None:
    def fault(_: Asked, answer: Answer) -> None:
        answer.headers_pause = 0.1

    error = refused_opening(server, fault, patience=QUICK)
    assert error.code == "E_HTTP_TIMEOUT"
    assert error.message == "the server did not send 0 bytes in 1.0 s"


def test_redirects_on_the_same_host_are_followed_once(server: WebServer, path: Path) -> None:
    server.files["/b/c.ova"] = path
    server.fault = redirect_to("/b/x.ova", server.url("/b/c.ova?key=1"))
    with opened(server) as source:
        assert source.read_at(MIB, 10) == DATA[MIB : MIB + 10]
        assert source.name == server.url("/a.ova")
    assert [asked.target for asked in server.asked] == ["/a.ova", "/b/x.ova", "/b/c.ova?key=1", "/b/c.ova?key=1"]


def test_too_many_redirects(server: WebServer) -> None:
    error = refused_opening(server, redirect_to(*["/a.ova"] * 9))
    assert error.code == "E_HTTP_REDIRECT"
    assert error.message == "the server redirects more than 5 times"
    assert len(server.asked) == 6


def test_redirects_elsewhere_are_refused(server: WebServer, path: Path) -> None:
    with serve({"/a.ova": path}) as other:
        port = other.server_port
        for location, shown in (
            (f"http://u:secret@127.0.0.1:{port}/a.ova?sig=secret#x", f"http://127.0.0.1:{port}/a.ova"),
            (f"http://localhost:{server.server_port}/a.ova", f"http://localhost:{server.server_port}/a.ova"),
            (f"//127.0.0.1:{port}/a.ova", f"http://127.0.0.1:{port}/a.ova"),
            ("http://169.254.169.254/latest/meta-data", "http://169.254.169.254/latest/meta-data"),
            (f"https://127.0.0.1:{port}/a.ova", f"https://127.0.0.1:{port}/a.ova"),
            ("file:///etc/shadow", "file:/etc/shadow"),
        ):
            error = refused_opening(server, redirect_to(location))
            assert error.code == "E_HTTP_REDIRECT"
            assert str(error) == (
                f"{server.url('/a.ova')}: the server redirects to '{shown}', "
                "expected an address on the same host and port"
            )
            assert error.hint == ("If you trust that host, give the address there yourself; 'curl -I URL' shows it.")
    assert other.asked == []


def test_a_redirect_to_what_is_no_url(server: WebServer) -> None:
    error = refused_opening(server, redirect_to("http://h:x/"))
    assert refused_opening(server, redirect_to("http://xn--/")).code == "E_HTTP_READ"
    assert error.code == "E_HTTP_READ"
    assert error.message == (
        f"'{server.url('/a.ova')}' cannot be read: Invalid URL in location header: Invalid port: 'x'."
    )


@pytest.mark.parametrize(
    ("source", "target", "expected"),
    [
        ("http://h/a", "https://h/b", True),
        ("http://h/a", "https://h:443/b", True),
        ("http://h/a", "http://H:80/b", True),
        ("https://h/a", "http://h/b", False),
        ("https://h:8443/a", "http://h:8443/a", False),
        ("http://h:8080/a", "https://h/b", False),
        ("http://h:8080/a", "https://h:8080/b", False),
        ("http://h/a", "https://h:8443/b", False),
        ("http://h/a", "https://h.example/b", False),
        ("https://h/a", "https://h/b", True),
    ],
)
def test_which_redirects_are_followed(source: str, target: str, expected: bool) -> None:  # noqa: FBT001 - a table
    assert may_redirect(httpx.URL(source), httpx.URL(target)) is expected


def test_credentials_are_used_and_never_shown(server: WebServer, path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    url = server.url("/a.ova?token=hunter3", userinfo="joe:hunter%322")
    path.write_bytes(build_ova(path, [("a.ovf", b"<Envelope/>")]).read_bytes())
    archive = open_archive(url)
    with closing(archive):
        server.fault = answer_status(403)
        with pytest.raises(SourceError) as caught:
            archive.sources[0].check_unchanged()
        shown = "".join(traceback.format_exception(caught.value)) + repr(archive) + repr(archive.sources) + archive.name
        shown += str(caught.value.document()) + repr(vars(archive.sources[0]))
    assert {asked.headers["authorization"] for asked in server.asked} == {"Basic am9lOmh1bnRlcjIy"}
    assert {asked.target for asked in server.asked} == {"/a.ova?token=hunter3"}
    assert archive.name == server.url("/a.ova")
    assert "hunter" not in shown
    assert caplog.text
    assert "hunter2" not in caplog.text
    assert "am9lOmh1bnRlcjIy" not in caplog.text


@pytest.mark.parametrize(
    "url",
    [
        "http://",
        "http:///a.ova",
        "https://joe:hunter2@h:80x/",
        "http://joe:hunter2/@h/",
        "http://joe:hunter2@h/\0",
        "http://xn--/",
    ],
)
def test_urls_that_make_no_sense(url: str) -> None:
    with pytest.raises(SourceError) as caught:
        open_archive(url)
    assert caught.value.code == "E_HTTP_URL"
    assert caught.value.message == "the URL makes no sense, expected https://HOST/PATH or http://HOST/PATH"
    assert "hunter2" not in "".join(traceback.format_exception(caught.value))


def test_a_host_that_is_no_name() -> None:
    with pytest.raises(SourceError) as caught:
        open_archive("http://a..b/a.ova")
    assert caught.value.code == "E_HTTP_READ"
    assert caught.value.message.startswith("'http://a..b/a.ova' cannot be read: ")


@pytest.mark.parametrize("name", ["a.OVF", "a.vmx"])
def test_a_lone_descriptor_is_refused(server: WebServer, name: str) -> None:
    with pytest.raises(SourceError) as caught:
        open_archive(server.url(f"/{name}?x=1"))
    assert caught.value.code == "E_SOURCE_KIND"
    assert caught.value.message == "the source is the URL of a lone descriptor, expected that of an OVA"
    assert caught.value.hint == "Download the descriptor and its files into a folder, and give the folder's path."
    assert server.asked == []


def test_certificates_are_checked(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    certificate, context = make_certificate(tmp_path)
    trusted = tmp_path / "trusted"
    trusted.mkdir()
    (trusted / "own.pem").write_bytes(certificate.read_bytes())
    subprocess.run(["openssl", "rehash", trusted], check=True)
    with serve({"/a.ova": path}, tls=context) as server:
        error = refused_opening(server)
        assert error.code == "E_HTTP_TLS"
        assert error.message.startswith("the server's certificate is not trusted: [SSL: CERTIFICATE_VERIFY_FAILED]")
        assert error.hint == "If its authority is your own, name its certificate in SSL_CERT_FILE."
        for name, value in (("SSL_CERT_FILE", certificate), ("SSL_CERT_DIR", trusted)):
            with monkeypatch.context() as patch:
                patch.setenv(name, str(value))
                with opened(server) as source:
                    assert source.read_at(MIB, MIB) == DATA[MIB : 2 * MIB]
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        named = server.url("/a.ova").replace("127.0.0.1", "localhost")
        with pytest.raises(SourceError, match="Hostname mismatch"):
            HttpSource(named, patience=QUICK)


def test_a_server_that_speaks_tls_byte_by_byte(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    certificate, context = make_certificate(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    with serve({"/a.ova": path}, tls=context) as server, opened(server, QUICK) as source:
        server.fault = lambda _, answer: setattr(answer, "body_pause", 0.02)
        assert refused_reading(source).message == f"the server did not send {BLOCK_BYTES} bytes in 1.0 s"


def test_the_environments_proxies(server: WebServer, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server.files["http://appliances.invalid/a.ova"] = path
    monkeypatch.setenv("HTTP_PROXY", f"http://joe:hunter2@127.0.0.1:{server.server_port}")
    with closing(HttpSource("http://appliances.invalid/a.ova", patience=QUICK)) as source:
        assert source.read_at(MIB, 10) == DATA[MIB : MIB + 10]
    assert [asked.target for asked in server.asked] == ["http://appliances.invalid/a.ova"] * 2
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with opened(server):
        assert server.asked[-1].target == "/a.ova"


def test_a_proxy_that_makes_no_sense(server: WebServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "gopher://joe:hunter2@h")
    error = refused_opening(server)
    assert error.code == "E_HTTP_PROXY"
    assert error.message == (
        "HTTP_PROXY, HTTPS_PROXY or ALL_PROXY names no proxy that can be used, expected http://HOST:PORT"
    )
    assert error.hint == "Unset it, or except the server by NO_PROXY."
    assert "hunter2" not in "".join(traceback.format_exception(error))


def test_all_is_closed_again(server: WebServer, monkeypatch: pytest.MonkeyPatch) -> None:
    sockets: list[socket.socket] = []
    connect = socket.create_connection

    def noted_connect(*args: Any, **kwargs: Any) -> socket.socket:  # noqa: ANN401 - passed on
        sockets.append(connect(*args, **kwargs))
        return sockets[-1]

    monkeypatch.setattr(socket, "create_connection", noted_connect)
    refused_opening(server, answer_status(404))
    server.fault = answer_headers()
    with pytest.raises(SourceError, match="is of no known format"):
        open_archive(server.url("/a.ova"))
    with opened(server) as source:
        for offset in range(0, 2 * MIB, MIB):
            source.read_at(offset, MIB)
        assert sockets[-1].fileno() >= 0
        source.close()
    assert len(sockets) >= 3
    assert {each.fileno() for each in sockets} == {-1}


def test_the_library_is_loaded_only_for_a_url() -> None:
    code = "import sys, virt_ova.source.opener; sys.exit(not {'httpx', 'ssl'}.isdisjoint(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
