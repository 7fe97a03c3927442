"""Whom to trust and what to demand, from options and from the files of an organisation and of a user.

::

    # /etc/virt-ova/config.toml, then $XDG_CONFIG_HOME/virt-ova/config.toml
    trust_anchors = ["anchors/example.pem"]     # beside this file
    require_signature = true

What a file demands, no option takes back. And where the system's file demands signatures and says whom to trust, nobody
else is trusted: a demand that users can meet with certificates of their own would be none.
"""

from __future__ import annotations

import argparse
import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from virt_ova.cli.given import read_given
from virt_ova.cli.parser import UsageError
from virt_ova.errors import VirtOvaError
from virt_ova.paths import PATH_ERRORS, path_problem
from virt_ova.policy import MAX_ANCHOR_BYTES, TrustAnchor, TrustPolicy
from virt_ova.text import printable, quoted

SYSTEM_FILE: Final = Path("/etc/virt-ova/config.toml")
MAX_FILE_BYTES: Final = 64 << 10

_OPTION: Final = "--require-signature"
_OF_EVERYBODY: Final = "everybody may write to it, expected a file that its owner alone, or a group, may change"


@dataclass(frozen=True, kw_only=True, slots=True)
class PolicyFile:
    """What one file says; nothing, when there is no such file.

    Attributes:
        path: of the file.
        anchors: paths of the files with certificates to trust.
        require_signature: whether packages must be signed by one of them.
    """

    path: Path
    anchors: tuple[Path, ...] = ()
    require_signature: bool = False


def add_trust_options(parser: argparse.ArgumentParser) -> None:
    """Whom to trust, and whether that is demanded."""
    parser.add_argument(
        "--trust-anchor",
        metavar="PEM",
        dest="trust_anchors",
        action="append",
        default=[],
        help="file with certificates to trust, of authorities or of signers",
    )
    parser.add_argument(_OPTION, action="store_true", help="refuse a package that is not signed by one of them")


def trust_policy(args: argparse.Namespace) -> TrustPolicy:
    """What the files and the options that `add_trust_options` read say together.

    Raises:
        UsageError: an option's file cannot be read.
        VirtOvaError: a policy's file cannot be read, or an anchor does not count (``E_POLICY``).
    """
    system, user = read_policy_file(SYSTEM_FILE), read_policy_file(user_file())
    return join_policies(system, user, args.trust_anchors, require_signature=args.require_signature)


def user_file() -> Path:
    """The file of the user; a relative XDG_CONFIG_HOME counts for nothing (XDG Base Directory Specification)."""
    folder = Path(os.environ.get("XDG_CONFIG_HOME", ""))
    if not folder.is_absolute():
        try:
            folder = Path.home() / ".config"
        except RuntimeError:  # there is no home
            return Path(os.devnull)
    return folder / "virt-ova" / "config.toml"


def read_policy_file(path: Path) -> PolicyFile:
    """What the file at `path` says.

    Raises:
        VirtOvaError: it is there, and cannot be read or is not understood (``E_POLICY``).
    """
    try:
        data = _content(path)
    except (FileNotFoundError, NotADirectoryError) as exc:
        if _is_broken_link(path) or _is_broken_link(path.parent):
            raise _wrong(path, "is a link to a place that is not there") from exc
        return PolicyFile(path=path)
    except PATH_ERRORS as exc:
        raise _wrong(path, path_problem(exc)) from exc
    import tomllib  # noqa: PLC0415 - few have such a file

    try:
        document = tomllib.loads(data.decode())
    except ValueError as exc:
        raise _wrong(path, printable(str(exc))) from exc
    return _policy_file(path, document)


def _content(path: Path) -> bytes:
    """The bytes of a policy's file, if they are those of somebody who may say so. Raises `VirtOvaError`, `OSError`."""
    with open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK)) as file:
        mode = os.fstat(file.fileno()).st_mode
        if stat.S_ISFIFO(mode):
            raise _wrong(path, "is a pipe, expected a regular file")
        if _is_of_everybody(mode):
            raise _wrong(path, _OF_EVERYBODY)
        data = file.read(MAX_FILE_BYTES + 1)
    if len(data) > MAX_FILE_BYTES:
        raise _wrong(path, f"is longer than {MAX_FILE_BYTES} bytes")
    return data


def _is_of_everybody(mode: int) -> bool:
    return stat.S_ISREG(mode) and bool(mode & stat.S_IWOTH)


def _is_broken_link(path: Path) -> bool:
    """Whether a demand could stand where `path` leads, if only that place were there: a share that is not mounted."""
    return path.is_symlink() and not path.exists()


def join_policies(
    system: PolicyFile, user: PolicyFile, options: Sequence[str], *, require_signature: bool
) -> TrustPolicy:
    """One policy of two files, the trust anchors that were given as `options`, and the option that demands signatures.

    Raises:
        UsageError: an option's file cannot be read.
        VirtOvaError: a file of anchors cannot be read, or does not count (``E_POLICY``).
    """
    if system.require_signature and system.anchors:
        others = [f"--trust-anchor {quoted(option)}" for option in options]
        others += [f"{quoted(str(path))}, named in {printable(str(user.path))}," for path in user.anchors]
        if others:
            raise _does_not_count(others[0], system)
    anchors = [_anchor(file, path) for file in (system, user) for path in file.anchors]
    for option in options:
        given = read_given(option, "--trust-anchor", most_bytes=MAX_ANCHOR_BYTES)
        anchors.append(TrustAnchor(name=option, pem=given.data))
    demanding = [printable(str(file.path)) for file in (system, user) if file.require_signature]
    return TrustPolicy(
        anchors=tuple(anchors),
        require_signature=require_signature or bool(demanding),
        demanded_by=next(iter(demanding), _OPTION),
    )


def _policy_file(path: Path, document: dict[str, Any]) -> PolicyFile:
    """What `document` says; a word that is not understood could be a demand, and is an error."""
    anchors = document.pop("trust_anchors", [])
    demand = document.pop("require_signature", False)
    if document:
        known = "'trust_anchors' and 'require_signature'"
        raise _wrong(path, f"found the key {quoted(next(iter(document)))}, expected none but {known}")
    if not isinstance(anchors, list) or not all(isinstance(each, str) and each for each in anchors):
        raise _wrong(path, "trust_anchors: expected a list of paths")
    if not isinstance(demand, bool):
        raise _wrong(path, "require_signature: expected true or false")
    return PolicyFile(path=path, anchors=tuple(path.parent / each for each in anchors), require_signature=demand)


def _anchor(file: PolicyFile, path: Path) -> TrustAnchor:
    try:
        given = read_given(str(path), "trust_anchors:", most_bytes=MAX_ANCHOR_BYTES)
    except UsageError as exc:
        raise _wrong(file.path, exc.message) from exc
    if _is_of_everybody(given.mode):
        raise _wrong(file.path, f"trust_anchors: {quoted(str(path))}: {_OF_EVERYBODY}")
    return TrustAnchor(name=str(path), pem=given.data)


def _wrong(path: Path, problem: str) -> VirtOvaError:
    return VirtOvaError(
        problem,
        code="E_POLICY",
        where=printable(str(path)),
        hint="Correct the file; nothing is done as long as it is not understood.",
    )


def _does_not_count(what: str, system: PolicyFile) -> VirtOvaError:
    return VirtOvaError(
        f"{what} does not count: {printable(str(system.path))} demands signatures, and says who alone is trusted",
        code="E_POLICY",
        hint="Leave it out, or ask whoever keeps that file.",
    )
