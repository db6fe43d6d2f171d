"""The document of the API is true: answers are as it says, and what it does not allow is refused in one form."""

from __future__ import annotations

import json
import random
import re
from typing import Any

import httpx
import pytest
from fastapi.openapi.models import OpenAPI
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from tests.serve.running import Served, nifti_scan

METHODS = ("get", "post", "put", "delete", "patch")


@pytest.fixture(scope="module")
def document(served: Served) -> dict[str, Any]:
    found: dict[str, Any] = served.client.get("/openapi.json").json()
    return found


def schema_of(document: dict[str, Any], method: str, route: str, status: int) -> dict[str, Any]:
    answer = document["paths"][route][method]["responses"][str(status)]
    return {"components": document["components"], **answer["content"]["application/json"]["schema"]}


def assert_as_told(document: dict[str, Any], answer: httpx.Response, method: str, route: str) -> None:
    Draft202012Validator(schema_of(document, method, route, answer.status_code)).validate(answer.json())


def test_the_document_is_openapi(document: dict[str, Any]) -> None:
    assert document["openapi"].startswith("3.1")
    OpenAPI.model_validate(document)
    for schema in document["components"]["schemas"].values():
        Draft202012Validator.check_schema(schema)
    referred = set(re.findall(r'"#/components/schemas/([^"]+)"', json.dumps(document)))
    assert referred <= set(document["components"]["schemas"])


def test_everything_is_described(document: dict[str, Any]) -> None:
    for route, operations in document["paths"].items():
        if route.startswith(("/api/", "/healthz", "/readyz", "/metrics")):
            for told in operations.values():
                assert told["summary"], route
                assert told["description"], route


def test_answers_are_as_the_document_says(served: Served, document: dict[str, Any]) -> None:
    client = served.client
    scan = served.upload(nifti_scan(70))
    job = served.submit(scan)
    served.ended(job)
    asked = [
        ("get", "/healthz", {}),
        ("get", "/readyz", {}),
        ("get", "/api/models", {}),
        ("get", "/api/jobs", {}),
        ("get", "/api/jobs/{job}", {}),
        ("delete", "/api/jobs/{job}", {}),
        ("get", "/api/scans/{scan}", {}),
        ("post", "/api/jobs", {"json": {"scan": scan, "model": "hippocampus"}}),
        ("post", "/api/jobs", {"json": {"scan": scan, "model": "no such"}}),
        ("post", "/api/jobs", {"json": {"scan": "0" * 32, "model": "hippocampus"}}),
        ("post", "/api/scans", {"content": nifti_scan(70)}),
        ("post", "/api/scans", {"content": b"x" * 3_000_000}),
    ]
    for method, route, more in asked:
        answer = client.request(method, route.format(job=job, scan=scan), **more)  # type: ignore[arg-type]
        assert_as_told(document, answer, method, route)
    for route in ("/api/jobs/{job}", "/api/scans/{scan}", "/api/jobs/{job}/results/labels"):
        answer = client.get(route.format(job="0" * 32, scan="0" * 32))
        assert answer.status_code == 404
        assert answer.json()["error"]["kind"] == "NotFoundError"


@pytest.mark.parametrize(
    ("method", "address", "status"),
    [
        ("GET", "/nothing", 404),
        ("GET", "/api/jobs/../../etc/passwd", 404),
        ("GET", "/..%2f..%2fetc%2fpasswd", 404),
        ("GET", "/api/jobs/%2e%2e/results/labels", 422),
        ("GET", "/api/jobs/" + "F" * 32, 422),
        ("GET", f"/api/jobs/{'0' * 32}/results/../../../jobs.sqlite3", 404),
        ("GET", f"/api/jobs/{'0' * 32}/results/jobs.sqlite3", 422),
        ("GET", f"/api/jobs/{'0' * 32}/corrections/0/labels", 422),
        ("PUT", "/api/jobs", 405),
        ("GET", "/docs", 404),
        ("GET", "/api/jobs?limit=1000000", 422),
        ("GET", "/api/jobs?state=nothing", 422),
    ],
)
def test_addresses_that_lead_nowhere(served: Served, method: str, address: str, status: int) -> None:
    answer = served.client.request(method, address)
    assert (answer.status_code, set(answer.json()["error"])) == (status, {"kind", "message", "hint"})


def test_what_was_sent_is_not_repeated(served: Served) -> None:
    body = {"scan": "Mueller^Anna", "model": "hippocampus", "Mueller": 1}
    assert "Mueller^Anna" not in served.client.post("/api/jobs", json=body).text


def received_bytes(served: Served) -> float:
    found = re.search(r"^unetr_http_received_bytes_total (\S+)$", served.client.get("/metrics").text, re.M)
    assert found is not None
    return float(found[1])


def test_a_large_body_is_not_read(served: Served) -> None:
    before = received_bytes(served)
    pieces = (b" " * 1_000_000 for _ in range(50))
    answer = served.client.post("/api/jobs", content=pieces, headers={"Content-Type": "application/json"})
    assert (answer.status_code, set(answer.json()["error"])) == (413, {"kind", "message", "hint"})
    assert received_bytes(served) - before < 2_000_000


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=6,
)
BODIES = JSON | st.fixed_dictionaries(
    {"scan": st.sampled_from(["0" * 32, "", "../.."]) | JSON, "model": JSON},
    optional={"settings": JSON | st.fixed_dictionaries({"series": JSON, "forms": JSON, "tta": JSON})},
)


@settings(max_examples=60, deadline=None)
@given(body=BODIES)
def test_no_body_of_a_job_is_a_defect(served: Served, body: object) -> None:
    text = json.dumps(body)  # also of what is no JSON: NaN and Infinity
    answer = served.client.post("/api/jobs", content=text, headers={"Content-Type": "application/json"})
    assert answer.status_code in (404, 422), (body, answer.text)
    assert set(answer.json()) == {"error"}


def test_no_request_that_the_document_suggests_is_a_defect(served: Served, document: dict[str, Any]) -> None:
    """Each operation with odd values in its address, query and body."""
    chosen = random.Random(0)
    odd = ["0" * 32, "a", "%00", "é", "-1", "99999999999999999999", "%2e%2e%2f", "x" * 500, "1e400", ""]
    for route, operations in document["paths"].items():
        for method in operations:
            for _ in range(6):
                address = re.sub(r"\{[^}]*\}", lambda _found: chosen.choice(odd) or "-", route)
                query = {chosen.choice(["limit", "skip", "state", "series"]): chosen.choice(odd)}
                headers = {"Last-Event-ID": chosen.choice(["x", "-1", "1" * 30])}
                content = chosen.choice([b"", b"{", b"\xff\xfe", b"[" * 5000]) if method == "post" else None
                answer = served.client.request(method, address, params=query, headers=headers, content=content)
                assert answer.status_code < 500, (method, address, query, answer.text)


def test_metrics_are_prometheus_text_without_anything_of_clients(served: Served) -> None:
    served.client.get("/Mueller^Anna?name=Mueller^Anna")
    served.client.request("MUELLER", "/healthz")
    text = served.client.get("/metrics").text
    assert "Mueller" not in text
    assert "MUELLER" not in text
    names = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
    label = rf'{names}="(?:[^"\\\n]|\\["\\n])*"'
    line = re.compile(rf"(# (HELP|TYPE) {names} .+)|({names}(\{{{label}(,{label})*\}})? [-+0-9.eInfa]+)")
    assert all(line.fullmatch(one) for one in text.splitlines())
    assert 'unetr_jobs{state="running"}' in text
    kinds = dict(re.findall(rf"# TYPE ({names}) (\w+)", text))
    samples = {re.sub(r"_(bucket|sum|count)$", "", one) for one in re.findall(rf"^({names})[ {{]", text, re.M)}
    assert samples - set(kinds) == set()
