"""Who is let in, and what every answer says to the browser."""

from __future__ import annotations

import asyncio
import base64
import logging
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.serve.safety.asked import Server

from unetr.serve.options import ServeOptions
from unetr.serve.safety.tokens import new_token, remove_token

OWN = "http://127.0.0.1:8000"


def ask(
    server: Server, method: str, path: str, headers: dict[str, Any] | None = None, **more: object
) -> httpx.Response:
    return asyncio.run(server.ask(method, path, headers, **more))  # type: ignore[arg-type]


def with_token(folder: Path, **more: object) -> tuple[Server, str]:
    tokens = folder / "tokens.json"
    token = new_token(tokens, "workstation")
    return Server(ServeOptions(tokens=tokens, **more)), token  # type: ignore[arg-type]


@pytest.mark.parametrize("host", ["127.0.0.1:8000", "localhost", "LOCALHOST.:9000", "[::1]:8000", "scans.example.org"])
def test_its_own_names_are_answered(host: str) -> None:
    server = Server(ServeOptions(allowed_hosts=("scans.example.org",)))
    assert ask(server, "GET", "/api/jobs/1", {"host": host}).json() == {"actor": "local"}


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("evil.example", 421),
        ("127.0.0.1.evil.example:8000", 421),
        ("localhost.evil.example", 421),
        ("192.168.0.7:8000", 421),
        ("[::2]:8000", 421),
        ("127.0.0.1:8000@evil.example", 400),
        ("localhost:99999", 400),
        ("localhost:", 400),
        ("local host", 400),
        ("", 400),
    ],
)
def test_other_names_are_not(host: str, status: int) -> None:
    answer = ask(Server(), "GET", "/api/jobs/1", {"host": host})
    assert answer.status_code == status
    assert answer.json()["error"]["message"]
    assert "evil" not in answer.text


@pytest.mark.parametrize("method", ["POST", "DELETE"])
@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"origin": "http://127.0.0.1:8001"},
        {"origin": "http://127.0.0.1"},
        {"origin": "http://localhost:8000"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
        {"origin": OWN, "sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate", "sec-fetch-dest": "document"},
    ],
)
def test_pages_of_other_sites_change_nothing(method: str, headers: dict[str, str]) -> None:
    path = "/api/jobs" if method == "POST" else "/api/jobs/1"
    assert ask(Server(), method, path, headers).status_code == 403


@pytest.mark.parametrize("headers", [{}, {"origin": OWN}, {"origin": OWN, "sec-fetch-site": "same-origin"}])
def test_its_own_page_and_programs_may(headers: dict[str, str]) -> None:
    assert ask(Server(), "POST", "/api/jobs", headers, content=b"abc").json() == {"actor": "local", "bytes": 3}


def test_another_site_may_only_lead_to_the_page() -> None:
    followed = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate", "sec-fetch-dest": "document"}
    assert ask(Server(), "GET", "/", followed).status_code == 200
    assert ask(Server(), "GET", "/api/jobs/1", followed).status_code == 403
    for how in ({"sec-fetch-dest": "iframe"}, {"sec-fetch-mode": "no-cors", "sec-fetch-dest": "image"}):
        assert ask(Server(), "GET", "/", followed | how).status_code == 403


def test_a_viewer_that_is_named_may_ask_and_no_other() -> None:
    viewer = "https://ohif.example.org"
    server = Server(ServeOptions(allowed_origins=(viewer,)))
    headers = {"origin": viewer, "sec-fetch-site": "cross-site"}
    preflight = {"access-control-request-method": "POST", "access-control-request-headers": "authorization"}
    asked = ask(server, "OPTIONS", "/api/jobs", headers | preflight)
    assert (asked.status_code, asked.headers["access-control-allow-origin"]) == (204, viewer)
    assert "access-control-allow-credentials" not in asked.headers
    answer = ask(server, "POST", "/api/jobs", headers)
    assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (200, viewer)
    assert answer.headers["vary"] == "Origin"
    other = {"origin": "https://evil.example"}
    assert ask(server, "OPTIONS", "/api/jobs", other | preflight).status_code == 403
    assert "access-control-allow-origin" not in ask(server, "GET", "/api/jobs/1").headers


def test_every_answer_tells_the_browser_to_run_and_keep_nothing() -> None:
    for status, path, headers in [
        (200, "/api/jobs/1", {}),
        (404, "/nothing", {}),
        (421, "/", {"host": "evil.example"}),
        (500, "/api/broken/1", {}),
    ]:
        answer = ask(Server(), "GET", path, headers)
        assert answer.status_code == status
        told = answer.headers
        assert told["x-content-type-options"] == "nosniff"
        assert told["cross-origin-resource-policy"] == "same-origin"
        assert told["cross-origin-opener-policy"] == "same-origin"
        assert told["referrer-policy"] == "no-referrer"
        assert told["cache-control"] == "no-store"
        assert "default-src 'self'" in told["content-security-policy"]
        assert "frame-ancestors 'none'" in told["content-security-policy"]
        assert "unsafe" not in told["content-security-policy"]
        assert not [name for name in told if name.startswith("access-control-")]


def test_with_tokens_nobody_is_let_in_without(tmp_path: Path) -> None:
    server, token = with_token(tmp_path)
    basic = base64.b64encode(f"workstation:{token}".encode()).decode()
    for headers in ({"authorization": f"Bearer {token}"}, {"authorization": f"Basic {basic}"}):
        assert ask(server, "POST", "/api/jobs", headers).json()["actor"] == "workstation"
    other_name = base64.b64encode(f"other:{token}".encode()).decode()
    wrong = ("", "Bearer", f"Bearer {token}x", "Bearer é", "Basic !!", f"Basic {other_name}", f"Digest {token}")
    for number, header in enumerate(wrong):
        answer = ask(
            server,
            "GET",
            "/api/jobs/1",
            {"authorization": header.encode()},
            client=f"10.0.0.{number}",
        )
        assert (answer.status_code, answer.headers["www-authenticate"]) == (401, 'Bearer realm="unetr"')
    assert ask(server, "GET", f"/api/jobs/1?token={token}").status_code == 401
    assert ask(server, "GET", "/healthz").status_code == 200
    assert ask(server, "GET", "/", {"accept": "text/html"}).headers["location"] == "/login"


def test_a_removed_token_ends_at_once_and_opens_nothing(tmp_path: Path) -> None:
    server, token = with_token(tmp_path)
    headers = {"authorization": f"Bearer {token}"}
    assert ask(server, "GET", "/api/jobs/1", headers).status_code == 200
    remove_token(tmp_path / "tokens.json", "workstation")
    assert ask(server, "GET", "/api/jobs/1", headers).status_code == 401
    assert ask(server, "GET", "/api/jobs/1").status_code == 401
    (tmp_path / "tokens.json").write_text("{}")
    assert ask(server, "GET", "/api/jobs/1", headers).status_code == 401


def test_a_browser_logs_in_with_a_form_and_out_again(tmp_path: Path) -> None:
    server, token = with_token(tmp_path)
    form = {"origin": OWN, "sec-fetch-site": "same-origin"}
    assert ask(server, "POST", "/login", {"origin": "https://evil.example"}, data={"token": token}).status_code == 403
    assert ask(server, "POST", "/login", form, data={"token": "wrong"}).status_code == 401
    entered = ask(server, "POST", "/login", form, data={"token": token})
    assert (entered.status_code, entered.headers["location"]) == (303, "/")
    told = entered.headers["set-cookie"].lower()
    assert "httponly" in told
    assert "samesite=strict" in told
    assert token not in entered.headers["set-cookie"]
    cookie = {"cookie": entered.headers["set-cookie"].partition(";")[0]}
    seen = ask(server, "GET", "/session", cookie).json()
    assert seen["actor"] == "workstation"
    assert ask(server, "POST", "/api/jobs", form | cookie).status_code == 403
    assert ask(server, "POST", "/api/jobs", form | cookie | {"x-csrf-token": "x"}).status_code == 403
    right = form | cookie | {"x-csrf-token": seen["csrf"]}
    assert ask(server, "POST", "/api/jobs", right).json()["actor"] == "workstation"
    ask(server, "POST", "/logout", form | cookie)
    assert ask(server, "POST", "/api/jobs", right).status_code == 401


def test_a_token_that_ends_takes_its_sessions_with_it(tmp_path: Path) -> None:
    """Also where another token gets its name."""
    server, token = with_token(tmp_path)
    other = new_token(tmp_path / "tokens.json", "ward")
    cookies = []
    for each in (token, other):
        entered = ask(server, "POST", "/login", {"origin": OWN}, data={"token": each})
        cookies.append({"cookie": entered.headers["set-cookie"].partition(";")[0]})
    remove_token(tmp_path / "tokens.json", "workstation")
    assert [ask(server, "GET", "/api/jobs/1", cookie).status_code for cookie in cookies] == [401, 200]
    new_token(tmp_path / "tokens.json", "workstation")
    assert ask(server, "GET", "/api/jobs/1", cookies[0]).status_code == 401


def test_with_tls_the_cookie_is_never_sent_without(tmp_path: Path) -> None:
    server, token = with_token(tmp_path, tls_cert=tmp_path / "cert.pem", tls_key=tmp_path / "key.pem")
    answer = ask(server, "POST", "/login", data={"token": token}, base="https://localhost:8000")
    assert answer.headers["set-cookie"].startswith("__Host-")
    assert "secure" in answer.headers["set-cookie"].lower()
    plain = {"origin": "http://localhost:8000"}
    assert ask(server, "POST", "/login", plain, data={"token": token}, base="https://localhost:8000").status_code == 403


def test_behind_a_proxy_the_browsers_word_counts_and_never_the_proxys(tmp_path: Path) -> None:
    """A page that came over TLS has a cookie that is sent over TLS only, also where TLS ends before this server."""
    server, token = with_token(tmp_path, host="0.0.0.0", insecure=True, allowed_hosts=("scans.example.org",))
    base = "http://scans.example.org"
    page = {"origin": "https://scans.example.org", "sec-fetch-site": "same-origin"}
    answer = ask(server, "POST", "/login", page, data={"token": token}, base=base)
    told = answer.headers["set-cookie"].lower()
    assert (answer.status_code, "; secure" in told, "httponly" in told) == (303, True, True)
    cookie = {"cookie": answer.headers["set-cookie"].partition(";")[0]}
    ended = ask(server, "POST", "/logout", page | cookie, base=base).headers["set-cookie"].lower()
    assert "; secure" in ended and "max-age=0" in ended
    assert ask(server, "GET", "/api/jobs/1", cookie, base=base).status_code == 401
    forged = {"x-forwarded-proto": "https", "forwarded": "proto=https;host=evil.example;for=10.0.0.1"}
    forged |= {"x-forwarded-host": "evil.example", "x-forwarded-for": "10.0.0.1", "x-forwarded-prefix": "/evil"}
    forged |= {"x-real-ip": "10.0.0.1", "x-original-url": "/healthz", "x-http-method-override": "DELETE"}
    answer = ask(server, "POST", "/login", forged, data={"token": token}, base=base)
    assert "; secure" not in answer.headers["set-cookie"].lower()
    assert answer.headers["location"] == "/"
    assert ask(server, "GET", "/api/jobs/1", forged, base=base).status_code == 401
    assert ask(server, "GET", "/", forged | {"host": "evil.example"}, base=base).status_code == 421
    for number in range(8):  # another address each time, as far as the headers say
        wrong = {"authorization": "Bearer wrong", "x-forwarded-for": f"10.0.1.{number}"}
        answer = ask(server, "GET", "/api/jobs/1", wrong, base=base)
    assert answer.status_code == 429


def test_an_error_reveals_nothing_in_its_answer_or_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    server = Server()
    answer = ask(server, "GET", "/api/broken/DOE^JOHN?name=DOE^JOHN")
    assert answer.status_code == 500
    ask(server, "GET", "/DOE^JOHN")
    ours = [record for record in caplog.records if record.name == "unetr.serve"]
    assert [record.getMessage().rsplit(" ", 2)[0] for record in ours if record.levelno == logging.INFO] == [
        "GET /api/broken/{name} 500",
        "GET - 404",
    ]
    told = " ".join(logging.Formatter().format(record) for record in ours)
    assert "RuntimeError at asked.py" in told
    assert "DOE" not in told + answer.text
