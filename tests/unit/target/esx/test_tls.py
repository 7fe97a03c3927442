"""What is taken for an answer of HTTP."""

import socket
from contextlib import closing
from http.client import HTTPException

import pytest

from virt_ova.target.esx.tls import WholeAnswer

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


def body(answer: bytes) -> bytes:
    """What is read of an answer."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(answer)
        theirs.shutdown(socket.SHUT_WR)
        with closing(WholeAnswer(ours)) as reading:
            reading.begin()
            return reading.read(100)


def test_pieces_are_joined() -> None:
    assert body(CHUNKED + b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n") == b"abcde"


def test_a_piece_of_less_than_nothing_is_a_broken_line() -> None:
    with pytest.raises(HTTPException, match=r"^its answer makes no sense$"):
        body(CHUNKED + b"-5\r\nabc\r\n0\r\n\r\n")
