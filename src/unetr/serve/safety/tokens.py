"""Tokens that open the server: made here, shown once, and kept as a SHA-256.

A token is 256 random bits, so that its plain SHA-256 cannot be searched back, and nobody guesses one. The name of a
token is who is told in the audit log; removing it from the file ends it at once.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import secrets
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from unetr.core.files.atomic import write_text
from unetr.core.files.lock import locked_files
from unetr.errors import InputError

# The name of who asks where no token is needed.
LOCAL = "local"

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,39}")
_MOST_BYTES = 1 << 20
# Failures of one address that are answered at once, and the longest that it waits after more of them.
_FREE_FAILURES = 5
_LONGEST_WAIT_S = 30.0
_MOST_ADDRESSES = 4096
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class KnownToken:
    """What is kept of a token. sha256: of its text, as hexadecimal. created_s: seconds since 1970."""

    name: str
    sha256: str
    created_s: float


class WrongTokenError(InputError):
    """The token is not known here."""


class SlowDownError(InputError):
    """Too many wrong tokens came from one address. retry_after_s: when the next one is looked at."""

    def __init__(self, retry_after_s: float) -> None:
        super().__init__(f"too many wrong tokens; try again in {retry_after_s:.0f} seconds")
        self.retry_after_s = retry_after_s


def known_tokens(path: Path) -> tuple[KnownToken, ...]:
    """The tokens of a file; none where there is no file. Raises InputError for a file of something else."""
    try:
        with path.open("rb") as file:
            text = file.read(_MOST_BYTES + 1)
    except FileNotFoundError:
        return ()
    except OSError as error:
        raise InputError(f"{path}: the tokens cannot be read: {error.strerror}") from error
    try:
        found = tuple(KnownToken(**each) for each in json.loads(text)["tokens"])
        sound = all(_NAME.fullmatch(one.name) and re.fullmatch("[0-9a-f]{64}", one.sha256) for one in found)
    except (ValueError, TypeError, KeyError, RecursionError):
        sound = False
    if not sound or len(text) > _MOST_BYTES:
        raise InputError(f"{path}: holds no tokens; expected what this program wrote: remove it and make new ones")
    return found


def new_token(path: Path, name: str) -> str:
    """Adds a token to the file and returns it; it is shown nowhere again. Raises InputError for a name that is taken,
    or is none; MachineError."""
    if not _NAME.fullmatch(name):
        raise InputError(f"{name!a}: is no name of a token; expected letters, digits, dots and dashes, at most 40")
    with _alone(path):
        known = known_tokens(path)
        if name == LOCAL or any(one.name == name for one in known):
            raise InputError(f"{name}: is the name of another token; remove that first, or choose another name")
        token = secrets.token_urlsafe(32)
        _keep(path, (*known, KnownToken(name, _digest(token), time.time())))
    return token


def remove_token(path: Path, name: str) -> None:
    """Ends a token. Raises InputError where there is none of this name; MachineError."""
    with _alone(path):
        known = known_tokens(path)
        left = tuple(one for one in known if one.name != name)
        if len(left) == len(known):
            names = ", ".join(one.name for one in known) or "none"
            raise InputError(f"{name!a}: is the name of no token; there are: {names}")
        _keep(path, left)


def _alone(path: Path) -> AbstractContextManager[None]:
    """From reading to writing: otherwise one that is made meanwhile is lost, or one that has ended is back."""
    return locked_files([path], mode=0o700)


@dataclass(slots=True)
class _Failures:
    count: int = 0
    until: float = 0.0


@dataclass(slots=True)
class TokenKeeper:
    """Says whose a token is, while the server runs. The file is read again when it has changed.

    required: whether nobody is let in without one, even should the file be emptied. clock: seconds that only grow.
    """

    path: Path | None
    required: bool = False
    clock: Callable[[], float] = time.monotonic
    _known: tuple[KnownToken, ...] = ()
    _seen: tuple[int, ...] | None = None
    _failures: dict[str, _Failures] = field(default_factory=dict)
    _welcome: dict[str, str] = field(default_factory=dict)

    def is_needed(self) -> bool:
        """Whether whoever asks needs a token. Once it is so, it stays so until the server ends."""
        found = bool(self._tokens())
        self.required = self.required or found
        return self.required

    def has(self, name: str, sha256: str) -> bool:
        """Whether a token that was used before is still there."""
        return any(one.name == name and one.sha256 == sha256 for one in self._tokens())

    def check(self, token: str, address: str, name: str | None = None) -> KnownToken:
        """The known token of this text. Raises WrongTokenError, and SlowDownError after too many wrong ones.

        address: of the client; others are not slowed by it, nor is a token that was right there before. name: the
        token's, where the client has to give one.
        """
        digest = _digest(token)
        failures = self._failures.get(address)
        if failures is not None and self._welcome.get(digest) != address:
            left = failures.until - self.clock()
            if left > 0:
                raise SlowDownError(left)
        found = None
        for one in self._tokens():  # every one, so that the time tells nothing
            if hmac.compare_digest(one.sha256, digest):
                found = one
        if found is None or (name is not None and found.name != name):
            self._failed(address)
            raise WrongTokenError("this token is not known here")
        self._failures.pop(address, None)
        _bounded(self._welcome)[digest] = address
        return found

    def _failed(self, address: str) -> None:
        failures = _bounded(self._failures).setdefault(address, _Failures())
        failures.count += 1
        if failures.count > _FREE_FAILURES:
            wait_s = min(2.0 ** (failures.count - _FREE_FAILURES - 1), _LONGEST_WAIT_S)
            failures.until = self.clock() + wait_s

    def _tokens(self) -> tuple[KnownToken, ...]:
        if self.path is None:
            return ()
        try:
            found = self.path.stat()
            now: tuple[int, ...] = (found.st_mtime_ns, found.st_size, found.st_ino)
        except OSError:
            now = ()
        if now != self._seen:
            try:
                self._known = known_tokens(self.path)
            except InputError:  # nobody is let in by a file that cannot be read
                self._known, self.required = (), True
            self._seen = now
        return self._known


def _bounded(entries: dict[str, _T]) -> dict[str, _T]:
    """Room for one more: the oldest goes."""
    while len(entries) >= _MOST_ADDRESSES:
        del entries[next(iter(entries))]
    return entries


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).hexdigest()


def _keep(path: Path, tokens: tuple[KnownToken, ...]) -> None:
    told = [{"name": one.name, "sha256": one.sha256, "created_s": one.created_s} for one in tokens]
    write_text(path, json.dumps({"tokens": told}, indent=2) + "\n")
