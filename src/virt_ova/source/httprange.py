"""One file on an http(s) server, asked for by ranges of bytes (RFC 9110 section 14).

Every answer is checked: it is the range that was asked for, of the file that was opened first (same length, ETag and
Last-Modified), in the file's own bytes. A redirect may not leave the host that the user named (hostile.md N01, N03).

A user and a password in the URL are taken out before anything else sees it: they are in no name, message or log.
"""

from __future__ import annotations

import re
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final

import httpx

from virt_ova.errors import SourceError
from virt_ova.text import printable, quoted

MAX_REDIRECTS: Final = 5
_SCHEMES: Final = ("http", "https")
_CONTENT_RANGE: Final = re.compile(r"bytes ([0-9]{1,19})-([0-9]{1,19})/([0-9]{1,19})")
_EMPTY: Final = "bytes */0"
_INSTEAD: Final = "Pipe it ('curl -fsS URL | virt-ova install -'), or download it first."
_STATUS_HINTS: Final = {
    401: "Give user and password in the URL, as in https://user:password@host/.",
    403: "The server does not let you read it; check the address and the credentials.",
    404: "Check the address.",
    407: "The proxy wants credentials: give them in HTTPS_PROXY or HTTP_PROXY.",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Patience:
    """How long a server is waited for.

    Attributes:
        connect_seconds: until it accepts a connection.
        silence_seconds: between two bytes; also added to what `least_bytes_per_second` grants.
        least_bytes_per_second: a read that is slower on the whole is given up.
        retries: how often one read takes up a connection that was cut.
        backoff_seconds: before the first of them; twice as long before each further one.
    """

    connect_seconds: float = 10
    silence_seconds: float = 30
    least_bytes_per_second: int = 4096
    retries: int = 3
    backoff_seconds: float = 0.25


PATIENCE: Final = Patience()


class CutError(SourceError):
    """The connection failed in a way that asking again may cure."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Version:
    """What tells whether the file is still the same.

    Attributes:
        size: length in bytes.
        etag: the ETag; empty when there is none.
        modified: Last-Modified as it was sent; empty when there is none.
    """

    size: int
    etag: str
    modified: str

    @property
    def has_validator(self) -> bool:
        """Whether more than the length can be compared."""
        return bool(self.etag or self.modified)

    def __str__(self) -> str:
        return f"{self.size} bytes, ETag {quoted(self.etag)}, of {quoted(self.modified)}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """A checked answer, its bytes still to be read.

    Attributes:
        version: of the file.
        response: to close.
        chunks: the bytes.
    """

    version: Version
    response: httpx.Response
    chunks: Iterator[bytes]


class RemoteFile:
    """The file at a URL; `name` is the URL without what may be secret (credentials, query).

    Raises:
        SourceError: the URL makes no sense (``E_HTTP_URL``), or the proxy's (``E_HTTP_PROXY``).
    """

    def __init__(self, url: str, patience: Patience) -> None:
        whole = _parse(url)
        self._url = whole.copy_with(username=None, password=None, fragment=None)
        self.name = _shown(self._url)
        self.patience = patience
        self._client = _new_client((whole.username, whole.password) if whole.userinfo else None, patience)
        self._sockets: list[socket.socket] = []
        self.version: Version | None = None

    def open(self, start: int, end: int) -> Answer:
        """What carries the bytes from `start` to `end`, or to the end of a file that is shorter.

        The first answer sets `version`, with which later ones are compared.

        Raises:
            CutError: the connection failed (``E_HTTP_READ``).
            SourceError: the server refuses (``E_HTTP_STATUS``), cannot send a part (``E_HTTP_RANGE``), sends it encoded
                (``E_HTTP_ENCODING``), redirects elsewhere (``E_HTTP_REDIRECT``), is too slow (``E_HTTP_TIMEOUT``) or
                not trusted (``E_HTTP_TLS``); the file is empty (``E_NOT_OVA``), or not as before (``E_CHANGED``).
        """
        response = self._ask(start, end)
        try:
            self.version = self._check(response, start, end)
        except BaseException:
            response.close()
            raise
        return Answer(version=self.version, response=response, chunks=response.iter_raw())

    def close(self) -> None:
        """Close all connections."""
        self._client.close()

    @contextmanager
    def translated(self) -> Iterator[None]:
        """Turn the HTTP library's errors into ours."""
        try:
            yield
        except httpx.ConnectTimeout as exc:
            waited = f"did not accept a connection for {self.patience.connect_seconds:g} s"
            raise self.too_slow(waited) from exc
        except httpx.TimeoutException as exc:
            raise self.too_slow(f"sent nothing for {self.patience.silence_seconds:g} s") from exc
        except (httpx.TransportError, UnicodeError) as exc:  # the latter for a host that is no name (IDNA)
            reason = printable(str(exc)) or type(exc).__name__
            if _is_about_tls(exc):
                raise self._error(
                    f"the server's certificate is not trusted: {reason}",
                    code="E_HTTP_TLS",
                    hint="If its authority is your own, name its certificate in SSL_CERT_FILE.",
                ) from exc
            raise CutError(
                f"{quoted(self.name)} cannot be read: {reason}",
                code="E_HTTP_READ",
                hint="Check the address and the network, and try again.",
            ) from exc

    def cut(self) -> None:
        """Break all connections, so that whoever waits for one wakes up; for another thread than theirs."""
        for each in self._sockets:
            try:
                socket.socket.shutdown(each, socket.SHUT_RDWR)  # not SSLSocket's, which is for the thread that reads
            except OSError:
                continue  # closed already

    def too_slow(self, what: str) -> SourceError:
        """The error for a server that does `what`."""
        return self._error(f"the server {what}", code="E_HTTP_TIMEOUT", hint="Try again later, or download it first.")

    def _ask(self, start: int, end: int) -> httpx.Response:
        for _ in range(MAX_REDIRECTS + 1):
            request = self._client.build_request(
                "GET", self._url, headers=self._headers(start, end), extensions={"trace": self._note_socket}
            )
            with self.translated():
                response = self._client.send(request, stream=True)
            if not response.has_redirect_location:
                return response
            response.close()
            self._url = self._redirected(response.headers["location"])
        raise self._error(f"the server redirects more than {MAX_REDIRECTS} times", code="E_HTTP_REDIRECT")

    def _headers(self, start: int, end: int) -> dict[str, str]:
        headers = {"Range": f"bytes={start}-{end - 1}"}
        if self.version and self.version.etag.startswith('"'):
            headers["If-Match"] = self.version.etag  # a weak ETag never matches (RFC 9110 13.1.1)
        return headers

    def _redirected(self, location: str) -> httpx.URL:
        target = self._url.join(location).copy_with(username=None, password=None, fragment=None)
        if not may_redirect(self._url, target):
            raise self._error(
                f"the server redirects to {quoted(_shown(target))}, expected an address on the same host and port",
                code="E_HTTP_REDIRECT",
                hint="If you trust that host, give the address there yourself; 'curl -I URL' shows it.",
            )
        return target

    def _check(self, response: httpx.Response, start: int, end: int) -> Version:
        headers = response.headers
        self._check_status(response)
        if (encoding := headers.get("content-encoding", "identity")).lower() != "identity":
            raise self._error(
                f"found the content encoding {quoted(encoding)}, expected the file's own bytes", code="E_HTTP_ENCODING"
            )
        text = headers.get("content-range", "")
        if (match := _CONTENT_RANGE.fullmatch(text)) is None:
            raise self._bad_range(f"the range {quoted(text)}, expected 'bytes FIRST-LAST/LENGTH'")
        first, last, size = map(int, match.groups())
        found = Version(size=size, etag=headers.get("etag", ""), modified=headers.get("last-modified", ""))
        if self.version is not None and found != self.version:
            raise self._changed(f"found {found}, expected {self.version}")
        expected = (start, min(end, size) - 1)
        if (first, last) != expected:
            raise self._bad_range(f"the bytes {first} to {last}, expected {expected[0]} to {expected[1]}")
        length = last - first + 1
        if int(headers.get("content-length", length)) != length:
            raise self._bad_range(f"{quoted(headers['content-length'])} as length of a range of {length} bytes")
        return found

    def _check_status(self, response: httpx.Response) -> None:
        status, headers = response.status_code, response.headers
        if status == HTTPStatus.PARTIAL_CONTENT:
            return
        if self.version and status in {HTTPStatus.PRECONDITION_FAILED, HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE}:
            raise self._changed(f"the server answered {_described(status)}")
        if headers.get("content-range") == _EMPTY or (status == HTTPStatus.OK and headers.get("content-length") == "0"):
            raise SourceError(f"{quoted(self.name)} is empty, expected an OVA (a tar)", code="E_NOT_OVA")
        if status == HTTPStatus.OK:
            raise self._error(
                "the server sent the whole file, expected the part that was asked for (HTTP Range)",
                code="E_HTTP_RANGE",
                hint=_INSTEAD,
            )
        hint = _STATUS_HINTS.get(status, "Try again later." if status >= HTTPStatus.INTERNAL_SERVER_ERROR else "")
        expected = _described(HTTPStatus.PARTIAL_CONTENT)
        raise self._error(
            f"the server answered {_described(status)}, expected {expected}", code="E_HTTP_STATUS", hint=hint
        )

    def _note_socket(self, event: str, info: dict[str, Any]) -> None:
        """Called by the HTTP library at each of its steps; remembers the sockets, so that `cut` can reach them."""
        if event.endswith(("connect_tcp.complete", "start_tls.complete")):
            self._sockets = [each for each in self._sockets if each.fileno() >= 0]
            self._sockets.append(info["return_value"].get_extra_info("socket"))

    def _error(self, message: str, *, code: str, hint: str = "") -> SourceError:
        return SourceError(message, code=code, where=printable(self.name), hint=hint)

    def _bad_range(self, found: str) -> SourceError:
        return self._error(f"the server answered with {found}", code="E_HTTP_RANGE", hint=_INSTEAD)

    def _changed(self, how: str) -> SourceError:
        return SourceError(
            f"{quoted(self.name)} changed while it was in use: {how}",
            code="E_CHANGED",
            hint="Somebody replaced the file on the server: start again.",
        )


def may_redirect(source: httpx.URL, target: httpx.URL) -> bool:
    """Whether a redirect stays on the host and port that the user named; the one step allowed is from http to https."""
    here, there = ((url.scheme, url.host, _port(url)) for url in (source, target))
    upgrade = (("http", source.host, 80), ("https", source.host, 443))
    return there == here or (here, there) == upgrade


def _port(url: httpx.URL) -> int | None:
    return url.port or {"http": 80, "https": 443}.get(url.scheme)


def _parse(url: str) -> httpx.URL:
    """The URL; the error does not repeat it, as it may hold a password."""
    with suppress(httpx.InvalidURL, UnicodeError):
        parsed = httpx.URL(url)
        if parsed.scheme in _SCHEMES and parsed.host:
            return parsed
    raise SourceError("the URL makes no sense, expected https://HOST/PATH or http://HOST/PATH", code="E_HTTP_URL")


def _shown(url: httpx.URL) -> str:
    """A URL for people: credentials were taken out before, and a query often holds a signature."""
    return str(url.copy_with(query=None))


def _new_client(auth: tuple[str, str] | None, patience: Patience) -> httpx.Client:
    """A client that trusts the system's authorities and SSL_CERT_FILE, and uses the proxies of the environment."""
    try:
        return httpx.Client(
            auth=auth,
            headers={"User-Agent": "virt-ova", "Accept-Encoding": "identity"},
            verify=ssl.create_default_context(),
            timeout=httpx.Timeout(patience.silence_seconds, connect=patience.connect_seconds),
        )
    except (ImportError, ValueError, httpx.InvalidURL):
        raise SourceError(
            "HTTP_PROXY, HTTPS_PROXY or ALL_PROXY names no proxy that can be used, expected http://HOST:PORT",
            code="E_HTTP_PROXY",
            hint="Unset it, or except the server by NO_PROXY.",
        ) from None


def _is_about_tls(error: BaseException) -> bool:
    """Whether a certificate was refused, as far as the chain of causes tells."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return True
        cause = cause.__cause__ or cause.__context__
    return False


def _described(status: int) -> str:
    known = {each.value: each.phrase for each in HTTPStatus}
    return f"{status} ({known[status]})" if status in known else str(status)
