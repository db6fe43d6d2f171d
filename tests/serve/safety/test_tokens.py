"""Tokens, who is slowed by wrong ones, and what has to be given before others can reach the server."""

from __future__ import annotations

import hashlib
import stat
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from unetr.core.files.atomic import write_text
from unetr.errors import InputError
from unetr.serve.options import ServeOptions
from unetr.serve.safety import tokens as kept
from unetr.serve.safety.exposure import check_exposure, is_loopback
from unetr.serve.safety.sessions import IDLE_S, LONGEST_S, Sessions
from unetr.serve.safety.tokens import (
    KnownToken,
    SlowDownError,
    TokenKeeper,
    WrongTokenError,
    known_tokens,
    new_token,
    remove_token,
)


@dataclass
class Clock:
    now: float = 0.0

    def __call__(self) -> float:
        return self.now


def test_only_a_hash_of_a_token_is_kept_and_only_for_its_owner(tmp_path: Path) -> None:
    path = tmp_path / "queue" / "tokens.json"
    token = new_token(path, "ct-1")
    assert len(token) >= 43
    assert token not in path.read_text()
    assert hashlib.sha256(token.encode()).hexdigest() in path.read_text()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert new_token(path, "ct-2") != token
    assert [one.name for one in known_tokens(path)] == ["ct-1", "ct-2"]
    remove_token(path, "ct-1")
    assert [one.name for one in known_tokens(path)] == ["ct-2"]


@pytest.mark.parametrize("name", ["", "a b", "../x", "a" * 41, "é", "local", "taken", "-x", "a\n"])
def test_names_that_are_none_or_taken_are_refused(tmp_path: Path, name: str) -> None:
    new_token(tmp_path / "tokens.json", "taken")
    with pytest.raises(InputError, match="name"):
        new_token(tmp_path / "tokens.json", name)


@pytest.mark.parametrize("text", ["{}", "[]", "\0", '{"tokens": [{}]}', '{"tokens": [{"name": "a", "sha256": "0"}]}'])
def test_a_file_of_something_else_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "tokens.json").write_text(text)
    with pytest.raises(InputError, match="holds no tokens"):
        known_tokens(tmp_path / "tokens.json")
    keeper = TokenKeeper(tmp_path / "tokens.json")
    assert keeper.is_needed()
    with pytest.raises(WrongTokenError):
        keeper.check("x", "10.0.0.1")


def test_wrong_tokens_are_slowed_for_their_own_address_only(tmp_path: Path) -> None:
    token = new_token(tmp_path / "tokens.json", "ct")
    clock = Clock()
    keeper = TokenKeeper(tmp_path / "tokens.json", clock=clock)
    assert keeper.check(token, "10.0.0.9").name == "ct"
    waits, looked_at = [], 0
    for _ in range(24):
        try:
            keeper.check("wrong", "10.0.0.9")
        except SlowDownError as error:
            waits.append(error.retry_after_s)
            clock.now += error.retry_after_s
        except WrongTokenError:
            looked_at += 1
    assert looked_at == 24 - len(waits)
    assert waits[:3] == [1, 2, 4]
    assert max(waits) == waits[-1] == 30
    assert keeper.check(token, "10.0.0.1").name == "ct"


def test_a_token_that_was_right_before_is_not_slowed_by_its_neighbours(tmp_path: Path) -> None:
    """Behind a proxy, all clients have one address: one with an old token must not shut the others out."""
    right, other = new_token(tmp_path / "tokens.json", "ct"), new_token(tmp_path / "tokens.json", "other")
    keeper = TokenKeeper(tmp_path / "tokens.json", clock=Clock())
    keeper.check(right, "10.0.0.9")
    for _ in range(6):
        with pytest.raises(WrongTokenError):
            keeper.check("wrong", "10.0.0.9")
    with pytest.raises(SlowDownError):
        keeper.check(other, "10.0.0.9")
    assert keeper.check(right, "10.0.0.9").name == "ct"


@pytest.mark.parametrize("ended", [False, True])
def test_two_changes_at_once_are_both_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ended: bool) -> None:
    """A token that was shown is one, and one that was told to have ended does not come back."""
    path = tmp_path / "tokens.json"
    new_token(path, "old")
    other = threading.Thread(target=(lambda: remove_token(path, "old")) if ended else (lambda: new_token(path, "b")))

    def slow(*args: Any) -> None:
        monkeypatch.undo()
        other.start()
        other.join(0.3)
        write_text(*args)

    monkeypatch.setattr(kept, "write_text", slow)
    new_token(path, "a")
    other.join(10)
    assert {one.name for one in known_tokens(path)} == ({"a"} if ended else {"old", "a", "b"})
    assert [each.name for each in tmp_path.iterdir()] == ["tokens.json"]


def test_a_session_ends_when_unused_or_old() -> None:
    clock = Clock()
    sessions = Sessions(clock)
    token = KnownToken("ct", "0" * 64, 0)
    unused, used = sessions.begin(token), sessions.begin(token)
    while clock.now < LONGEST_S:
        assert sessions.find(used)
        clock.now += IDLE_S * 0.9
        assert not (clock.now > IDLE_S and sessions.find(unused))
    assert sessions.find(used) is None
    assert sessions.find("") is None


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "::1", "[::1]", "localhost", "::ffff:127.0.0.1"])
def test_this_machine_alone_needs_nothing(host: str) -> None:
    assert is_loopback(host)
    check_exposure(ServeOptions(host=host))


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.0.7", "scans.example.org", "", "127.0.0.1.example.org"])
def test_another_address_needs_a_token_and_tls(tmp_path: Path, host: str) -> None:
    tokens, pem = tmp_path / "tokens.json", tmp_path / "some.pem"
    pem.touch()

    def check(**more: object) -> None:
        check_exposure(ServeOptions(host=host, tokens=tokens, **more))  # type: ignore[arg-type]

    for more in ({}, {"insecure": True}, {"tls_cert": pem, "tls_key": pem}):
        with pytest.raises(InputError, match="make a token") as found:
            check(**more)
        assert found.value.hint == "new_token"
    new_token(tokens, "ct")
    with pytest.raises(InputError, match="give a certificate") as found:
        check()
    assert found.value.hint == "tls"
    check(insecure=True)
    check(tls_cert=pem, tls_key=pem)


def test_half_of_tls_and_what_is_no_host_or_origin_are_refused(tmp_path: Path) -> None:
    pem = tmp_path / "some.pem"
    pem.touch()
    for options in (
        ServeOptions(tls_cert=pem),
        ServeOptions(tls_key=pem),
        ServeOptions(tls_cert=pem, tls_key=tmp_path / "none.pem"),
        ServeOptions(allowed_hosts=("https://scans.example.org",)),
        ServeOptions(allowed_hosts=("*",)),
        ServeOptions(allowed_origins=("*",)),
        ServeOptions(allowed_origins=("null",)),
        ServeOptions(allowed_origins=("https://ohif.example.org/",)),
    ):
        with pytest.raises(InputError):
            check_exposure(options)
