"""All ways to write where a server answers: what it listens at, what a person is told, and which names are its own."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from tests.serve.safety.asked import small_app

from unetr.errors import InputError
from unetr.serve.options import ServeOptions
from unetr.serve.run import address_of, listen
from unetr.serve.safety.exposure import is_loopback
from unetr.serve.safety.guard import guarded
from unetr.serve.safety.server import uvicorn_config
from unetr.serve.safety.tokens import new_token


@contextmanager
def answering(host: str, **more: Any) -> Iterator[tuple[socket.socket, str]]:
    """A server with these options: its socket, and the address that a person is told."""
    options = ServeOptions(host=host, port=0, **more)
    with listen(options) as at:
        server = uvicorn.Server(uvicorn_config(guarded(small_app(), options), options))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [at]})
        thread.start()
        try:
            yield at, address_of(options, at)
        finally:
            server.should_exit = True
            thread.join(20)
            assert not thread.is_alive()


def asked(address: str, host: str | None = None) -> int:
    headers = {} if host is None else {"Host": host}
    with httpx.Client(transport=httpx.HTTPTransport(retries=0), timeout=10, trust_env=False) as client:
        return client.get(f"{address}healthz", headers=headers).status_code


@pytest.fixture
def open_to_others(tmp_path: Path) -> dict[str, Any]:
    new_token(tmp_path / "tokens.json", "ward")
    return {"tokens": tmp_path / "tokens.json", "insecure": True}


@pytest.fixture
def six() -> None:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        pytest.skip("this machine has no IPv6")


@pytest.mark.usefixtures("six")
@pytest.mark.parametrize(
    ("host", "at", "told"),
    [
        ("127.0.0.1", "127.0.0.1", "http://127.0.0.1:"),
        ("localhost", "127.0.0.1", "http://127.0.0.1:"),
        ("LocalHost", "127.0.0.1", "http://127.0.0.1:"),
        ("::1", "::1", "http://[::1]:"),
        ("[::1]", "::1", "http://[::1]:"),
        ("0:0:0:0:0:0:0:1", "::1", "http://[::1]:"),
        ("::ffff:127.0.0.1", "::ffff:127.0.0.1", "http://[::ffff:127.0.0.1]:"),
    ],
)
def test_this_machine_alone_however_it_is_written(host: str, at: str, told: str) -> None:
    with answering(host) as (found, address):
        assert (found.getsockname()[0], address.startswith(told)) == (at, True)
        assert asked(address) == 200
        assert asked(address, "evil.example") == 421


@pytest.mark.usefixtures("six")
@pytest.mark.parametrize("host", ["0.0.0.0", "::", "[::]"])
def test_every_address_at_once(host: str, open_to_others: dict[str, Any]) -> None:
    with answering(host, **open_to_others) as (found, address):
        port = found.getsockname()[1]
        assert address == f"http://localhost:{port}/"
        assert asked(address) == 200
        assert asked(f"http://127.0.0.1:{port}/") == 200
        assert asked(f"http://127.0.0.1:{port}/", "evil.example") == 421


def leads_to(monkeypatch: pytest.MonkeyPatch, *addresses: str) -> None:
    """Every name does, in this order."""
    families = [socket.AF_INET6 if ":" in one else socket.AF_INET for one in addresses]

    real = socket.getaddrinfo

    def told(host: str, port: int, *more: Any, **named: Any) -> list[Any]:
        if is_loopback(host) and host != "localhost":  # the client's
            return real(host, port, *more, **named)
        places = [(one, port, 0, 0) if ":" in one else (one, port) for one in addresses]
        return [(kind, socket.SOCK_STREAM, 6, "", place) for kind, place in zip(families, places, strict=True)]

    monkeypatch.setattr(socket, "getaddrinfo", told)


def test_of_a_name_with_two_addresses_every_client_reaches_one(
    monkeypatch: pytest.MonkeyPatch, open_to_others: dict[str, Any]
) -> None:
    leads_to(monkeypatch, "::1", "127.0.0.1")
    with listen(ServeOptions(host="localhost", port=0)) as at:
        assert at.getsockname()[0] == "127.0.0.1"
    with answering("Scans.Example.org.", **open_to_others) as (at, _):
        port = at.getsockname()[1]
        assert asked(f"http://127.0.0.1:{port}/", "scans.example.org") == 200
        assert asked(f"http://127.0.0.1:{port}/", "other.example.org") == 421


def test_localhost_never_means_another_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    leads_to(monkeypatch, "192.168.0.7")
    with pytest.raises(InputError, match="leads to another machine"):
        listen(ServeOptions(host="localhost", port=0))
    leads_to(monkeypatch, "192.168.0.7", "127.0.0.1")
    with listen(ServeOptions(host="localhost", port=0)) as at:
        assert at.getsockname()[0] == "127.0.0.1"


@pytest.mark.parametrize("host", ["[::1]:8000", "localhost:8000", "http://localhost", "a b", "127.0.0.1/8", "*"])
def test_what_is_no_address_is_told(host: str) -> None:
    with pytest.raises(InputError, match="is no address to answer at"):
        listen(ServeOptions(host=host, port=0))
