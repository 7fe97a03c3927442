"""What answers in place of a vSphere: web servers, other documents, bombs. None of it is more than a broken line."""

from __future__ import annotations

import gzip
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Final

import pytest

from tests.build.vsphere import USER, VSphere
from virt_ova import TargetError
from virt_ova.target.esx import answers, session
from virt_ova.target.registry import open_target

CHECK: Final = "Check the host and the port of the URI: an ESXi or a vCenter must answer there."
_SOAP: Final = "http://schemas.xmlsoap.org/soap/envelope/"
_END: Final = b":Envelope>"
_DOCTYPE: Final = f'<!DOCTYPE a [<!ENTITY a "{"x" * 50000}"><!ENTITY f SYSTEM "file:///etc/passwd">]>'


def envelope(body: str, doctype: str = "") -> bytes:
    """An answer to RetrieveServiceContent."""
    return (
        f'{doctype}<s:Envelope xmlns:s="{_SOAP}" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"><s:Body>'
        f'<RetrieveServiceContentResponse xmlns="urn:vim25">{body}</RetrieveServiceContentResponse>'
        "</s:Body></s:Envelope>"
    ).encode()


@contextmanager
def answering(pem: Path, answer: bytes, *, pause: float) -> Iterator[int]:
    """A server that gives everybody this answer, byte by byte where there is a pause between two; its port."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=_answer, args=(listener, context, answer, pause))
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()


def _answer(listener: socket.socket, context: ssl.SSLContext, answer: bytes, pause: float) -> None:
    with suppress(OSError):
        while True:
            connection, _ = listener.accept()
            with connection, suppress(OSError), closing(context.wrap_socket(connection, server_side=True)) as line:
                asked = b""
                while _END not in asked and (more := line.recv(1 << 16)):
                    asked += more
                for piece in [answer[at : at + 1] for at in range(len(answer))] if pause else [answer]:
                    line.sendall(piece)
                    time.sleep(pause)


def failure(esx: VSphere, body: bytes, head: str = "HTTP/1.1 200 OK", *, pause: float = 0) -> TargetError:
    """What is said of this answer."""
    answer = head.encode() + b"\r\n\r\n" + body
    with answering(esx.certificate.parent / "server.pem", answer, pause=pause) as port:
        with pytest.raises(TargetError) as caught:
            open_target(f"esx://{USER}@127.0.0.1:{port}/?thumbprint={esx.thumbprint}")
        start = f"connecting to 'esx://{USER}@127.0.0.1:{port}/' failed: "
        assert caught.value.message.startswith(start)
        caught.value.message = caught.value.message.removeprefix(start)
        return caught.value


@pytest.mark.parametrize(
    ("body", "found"),
    [
        (b"", "ExpatError: no element found"),
        (b"<html><br></html>", "ExpatError: mismatched tag"),
        (b"<html/>", "RetrieveServiceContent is answered by NoneType"),
        (envelope(""), "RetrieveServiceContent is answered by NoneType"),
        (envelope("<returnval>&f;</returnval>", _DOCTYPE), "it does not tell what it is"),
        (envelope("<returnval/>"), "it does not tell what it is"),
        (envelope("<returnval><odd/></returnval>"), "AttributeError: odd"),
        (envelope('<returnval xsi:type="Odd"/>'), "KeyError: 'Odd'"),
        (envelope('<returnval xsi:type="AboutInfo"/>'), "RetrieveServiceContent is answered by "),
        (envelope("<returnval><rootFolder>f</rootFolder></returnval>"), "KeyError: 'type'"),
        (envelope("&a;" * 20000, _DOCTYPE), "ExpatError: limit on input amplification factor"),
        (envelope("<returnval>" * 2000), "AttributeError: returnval"),
    ],
)
def test_what_is_no_answer_of_vsphere(esx: VSphere, body: bytes, found: str) -> None:
    error = failure(esx, body)
    assert (error.code, error.hint) == ("E_CONNECT", CHECK)
    assert error.message.startswith(f"what came is no answer of vSphere ({found}")


def test_an_error_that_is_none(esx: VSphere) -> None:
    error = failure(esx, b"<html/>", "HTTP/1.1 500 Oops")
    assert (error.code, error.hint) == ("E_CONNECT", CHECK)
    assert "Raising a non-exception object" in error.message


def test_an_answer_that_would_be_inflated(esx: VSphere) -> None:
    error = failure(esx, gzip.compress(envelope("")), "HTTP/1.1 200 OK\r\nContent-Encoding: gzip")
    assert (error.code, error.message) == (
        "E_CONNECT",
        "what came is no answer of vSphere (it is compressed (gzip), which was not asked for)",
    )


@pytest.mark.parametrize("body", [envelope("<returnval/>" * 1000), b" " * (1 << 20)])
def test_an_answer_that_does_not_end(esx: VSphere, body: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answers.BoundedAnswer, "_left", 10_000)
    error = failure(esx, body)
    assert (error.code, error.message) == ("E_CONNECT", "what came is no answer of vSphere (it has more than 16.0 MiB)")


@pytest.mark.parametrize(
    "answer",
    ["HTTP/1.1 200 OK\r\nContent-Length: 0", "HTTP/1.1 100 Continue\r\n\r\n" * 4, f"HTTP/1.1 200 OK\r\n\r\n{' ' * 60}"],
    ids=["head", "continue", "body"],
)
def test_an_answer_that_comes_byte_by_byte(esx: VSphere, answer: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each byte comes in time, and the whole does not."""
    monkeypatch.setattr(session, "ANSWER_SECONDS", 0.4)
    error = failure(esx, b"", answer, pause=0.02)
    assert (error.code, error.message) == ("E_CONNECT", "no answer came in time")
    assert error.hint == "Check that the host is there and the network is up, then try again."
