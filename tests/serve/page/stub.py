"""The page in a real browser, without a server: what it asks for is answered here, from made-up or shipped scans."""

from __future__ import annotations

import gzip
import json
import mimetypes
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from playwright.sync_api import Route

from unetr.serve.page import STATIC

ORIGIN = "http://page.invalid"
POLICY = (
    "default-src 'self'; img-src 'self' data:; object-src 'none'; base-uri 'none'; form-action 'self'; "
    "frame-ancestors 'none'"
)
SCAN = "5" * 32
JOB = "a" * 32
MODEL: dict[str, Any] = {
    "name": "hippocampus",
    "title": "Task04_Hippocampus",
    "sha256": "0" * 64,
    "labels": {"anterior": 1, "posterior": 2},
    "colours": {"anterior": [230, 159, 0], "posterior": [86, 180, 233]},
    "regions": {},
    "channels": ["MRI"],
    "spacing_mm": [1.0, 1.0, 1.0],
    "licence": "CC-BY-SA-4.0",
    "metrics": {"mean_dice": 0.8845},
}
SUMMARY: dict[str, Any] = {
    "volumes_ml": {"anterior": 1.52, "posterior": 1.41},
    "confidence": {"anterior": 0.94, "posterior": 0.91},
    "verdict": {"state": "ok", "warnings": [], "notes": []},
}


@dataclass
class Stub:
    """Answers of a server. Change what it says before the page asks.

    view, labels: bytes of NIfTI. events: of the job, as server-sent events. refuse: such as
    "POST api/jobs" -> (status, headers, body). hang: paths that are never answered, cut: to which no connection is
    made. listened: how often events were asked for.
    """

    view: bytes = b""
    labels: bytes = b""
    uncertainty: bytes | None = None
    preview: bytes | None = None
    kind: str = "nifti"
    modality: str | None = None
    series: list[dict[str, Any]] = field(default_factory=list)
    needs: list[str] = field(default_factory=list)
    models: list[dict[str, Any]] = field(default_factory=lambda: [MODEL])
    summary: dict[str, Any] = field(default_factory=lambda: dict(SUMMARY))
    state: str = "written"
    settings: dict[str, Any] = field(default_factory=dict)
    progress: dict[str, int] | None = None
    error: dict[str, Any] | None = None
    events: str | None = None
    jobs: list[dict[str, Any]] = field(default_factory=list)
    refuse: dict[str, tuple[int, dict[str, str], str]] = field(default_factory=dict)
    hang: set[str] = field(default_factory=set)
    cut: set[str] = field(default_factory=set)
    asked: list[tuple[str, str, bytes]] = field(default_factory=list)
    listened: int = 0
    corrections: list[bytes] = field(default_factory=list)

    def job(self, **changed: Any) -> dict[str, Any]:
        """The job as the server tells it."""
        forms = ["labels", "stats"] + [form for form in ("preview", "uncertainty") if getattr(self, form) is not None]
        told = {
            "id": JOB,
            "scan": SCAN,
            "model": "hippocampus",
            "model_sha256": MODEL["sha256"],
            "settings": self.settings,
            "state": self.state,
            "progress": self.progress,
            "created_s": 1_790_000_000.0,
            "results": [{"form": form, "bytes": 1} for form in forms] if self.state == "written" else [],
            "summary": self.summary if self.state == "written" else {},
            "error": self.error,
        }
        return told | changed

    def answer(self, route: Route) -> None:
        """Answers one request; anything to another origin is refused."""
        request = route.request
        address = request.url.split("?")[0]
        if not address.startswith(f"{ORIGIN}/"):
            route.abort()
            return
        path = address.removeprefix(f"{ORIGIN}/")
        self.asked.append((request.method, request.url.removeprefix(ORIGIN), request.post_data_buffer or b""))
        if path.endswith("/events"):
            self.listened += 1
        if path in self.hang:
            return  # never answered
        if path in self.cut:
            route.abort("connectionreset")
            return
        if f"{request.method} {path}" in self.refuse:
            status, headers, body = self.refuse[f"{request.method} {path}"]
            route.fulfill(status=status, headers={"Content-Type": "application/json"} | headers, body=body)
        elif path == "session" or path.startswith("api/"):
            self._api(route, path, request.method)
        else:
            self._file(route, path)

    def _file(self, route: Route, path: str) -> None:
        if path == "login":
            route.fulfill(status=200, headers={"Content-Type": "text/html"}, body="<h1>Log in</h1>")
            return
        file = STATIC / (path or "index.html")
        if not file.is_file():
            route.fulfill(status=404, body="")
            return
        kind = mimetypes.guess_type(file.name)[0] or "application/octet-stream"
        headers = {"Content-Type": kind, "Content-Security-Policy": POLICY}
        route.fulfill(status=200, headers=headers, body=file.read_bytes())

    def _api(self, route: Route, path: str, method: str) -> None:
        told = self._json(route, path, method)
        if told is not None:
            route.fulfill(status=200, headers={"Content-Type": "application/json"}, body=json.dumps(told))
            return
        body = self._bytes(path)
        kind = "text/event-stream" if path.endswith("/events") else "application/octet-stream"
        route.fulfill(status=404 if body is None else 200, headers={"Content-Type": kind}, body=body or b"{}")

    def _json(self, route: Route, path: str, method: str) -> dict[str, Any] | None:
        facts = {"kind": self.kind, "modality": self.modality, "series": self.series, "needs": self.needs}
        scan = {"id": SCAN, "facts": facts}
        if path.endswith("/corrections"):
            if method == "GET":
                return {"numbers": list(range(1, len(self.corrections) + 1))}
            self.corrections.append(route.request.post_data_buffer or b"")
            return {"number": len(self.corrections)}
        if path == "api/jobs" and method == "GET":
            return {"jobs": self.jobs}
        known: dict[str, Any] = {
            "session": {"actor": "local", "csrf": None, "logged_in": False},
            "api/models": {"models": self.models},
            "api/scans": scan,
            f"api/scans/{SCAN}": scan,
            "api/jobs": self.job(),
            f"api/jobs/{JOB}": self.job(),
            f"api/jobs/{JOB}/cancel": self.job(state="cancelled"),
        }
        return known.get(path)

    def _bytes(self, path: str) -> bytes | None:
        if path.endswith("/events"):
            return (self.events or "").encode()
        correction = re.search(r"/corrections/(\d+)/labels$", path)
        if correction:
            return self.corrections[int(correction[1]) - 1]
        name = path.rpartition("/")[2].removesuffix(".nii").replace("-", "_")
        return getattr(self, name, None) if name in {"view", "labels", "uncertainty", "preview"} else b"DICM"


def demo_stub(**changed: Any) -> Stub:
    """With the scan of `unetr demo` and its labels by hand."""
    import unetr

    folder = Path(unetr.__file__).parent / "jobs" / "demo" / "scan"
    view = gzip.decompress((folder / "scan.nii.gz").read_bytes())
    return Stub(view=view, labels=(folder / "truth.nii.gz").read_bytes(), **changed)
