"""The page's files are served as they are, each with its type, and nothing else of the disk is."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from tests.serve.running import Served

from unetr.serve.page import STATIC
from unetr.serve.web.static import files_below


def test_every_file_of_the_page_is_served_as_it_is(served: Served) -> None:
    files = [path for path in STATIC.rglob("*") if path.is_file()]
    assert files
    for path in files:
        answer = served.client.get(f"/{path.relative_to(STATIC).as_posix()}")
        assert (answer.status_code, answer.content) == (200, path.read_bytes()), path
        again = served.client.get(str(answer.url), headers={"If-None-Match": answer.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")


def test_scripts_and_styles_have_their_types(served: Served) -> None:
    """A browser runs no module, and applies no style, of another type: the guard tells it not to guess."""
    page = served.client.get("/")
    assert page.headers["content-type"].startswith("text/html")
    named = re.findall(r'(?:src|href)="([^":]+\.(?:js|css))"', page.text)
    assert named
    for name in named:
        kind = served.client.get(f"/{name}").headers["content-type"]
        assert kind.startswith("text/javascript" if name.endswith(".js") else "text/css"), name


@pytest.mark.parametrize(
    "address", ["../app.py", "..%2fapp.py", "%2e%2e/app.py", "/etc/passwd", "js", "js/", "index.html/", "__init__.py"]
)
def test_nothing_else_is(served: Served, address: str) -> None:
    assert served.client.get(f"/{address}").status_code in (400, 404)


@pytest.mark.parametrize(
    ("method", "address", "expected"),
    [
        ("POST", "/nowhere", 404),
        ("PUT", "/api/nowhere", 404),
        ("DELETE", "/api/jobs/1/nowhere", 404),
        ("OPTIONS", "/nowhere", 404),
        ("GET", "/api/jobs/", 404),
        ("POST", "/api/scans/", 404),
        ("GET", "/info", 404),
        ("POST", "/api/models", 405),
        ("PATCH", "/api/jobs", 405),
        ("POST", "/", 405),
        ("DELETE", "/index.html", 405),
        ("HEAD", "/", 200),
        ("HEAD", "/nowhere", 404),
    ],
)
def test_what_is_nowhere_is_not_found_whatever_the_method(
    served: Served, method: str, address: str, expected: int
) -> None:
    answer = served.client.request(method, address)
    assert answer.status_code == expected
    assert "location" not in answer.headers
    if expected == 405:
        assert method not in answer.headers["allow"]


def test_a_file_of_another_kind_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text("page")
    (tmp_path / "secret.key").write_text("key")
    (tmp_path / "folder.js").mkdir()
    assert set(files_below(tmp_path)) == {"", "index.html"}
