"""`/ohif/`: a built OHIF from a folder, told to find its images and its MONAI Label server here.

Nothing of it is loaded from elsewhere: links to other hosts are left out of its page, and the policy forbids them. Its
service worker is left out as well, since it would keep images in the browser.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from fastapi.responses import Response

from unetr.core.text.reading import read_text
from unetr.errors import InputError
from unetr.serve.web.downloads import SentFile
from unetr.serve.web.errors import NotFoundError
from unetr.serve.web.static import KINDS

_ELSEWHERE = re.compile(r"<link\b[^>]*https?://[^>]*>")
_INLINE = re.compile(r"<script>(.*?)</script>", re.DOTALL)
_LEFT_OUT = ("init-service-worker.js", "sw.js")
_WADO, _QIDO = "/proxy/dicom/wado", "/proxy/dicom/qido"
_SCRIPT = "text/javascript; charset=utf-8"
_SOURCE = {
    "namespace": "@ohif/extension-default.dataSourcesModule.dicomweb",
    "sourceName": "dicomweb",
    "configuration": {
        "friendlyName": "PACS",
        "name": "PACS",
        "wadoUriRoot": _WADO,
        "qidoRoot": _QIDO,
        "wadoRoot": _WADO,
        "qidoSupportsIncludeField": True,
        "supportsReject": False,
        "imageRendering": "wadors",
        "thumbnailRendering": "wadors",
        "enableStudyLazyLoad": False,
        "supportsFuzzyMatching": True,
        "supportsWildcard": True,
        "dicomUploadEnabled": False,
        "bulkDataURI": {"enabled": True},
    },
}
_CONFIG = {
    "routerBasename": "/ohif/",
    "showStudyList": True,
    "extensions": [],
    "modes": [],
    "showWarningMessageForCrossOrigin": True,
    "showCPUFallbackMessage": True,
    "showLoadingIndicator": True,
    "strictZSpacingForVolumeViewport": True,
    "defaultDataSourceName": "dicomweb",
    "useSharedArrayBuffer": "FALSE",
    "dataSources": [_SOURCE],
}
# The plugin takes its server's address from a cookie. Its requests bear the token of the session of whoever is logged
# in, as those of the page do. The PACS gives addresses of its own for large values; here they are asked for as well.
_SCRIPT_TEXT = """window.config = %s;
window.config.dataSources[0].configuration.bulkDataURI.transform =
  (url) => url.replace(/^.*?[/]studies[/]/, "%s/studies/");
document.cookie = "MONAILABEL_SERVER_URL=" + escape(location.origin + "/") + "; path=/ohif; samesite=strict";
(() => {
  let csrf = null;
  fetch("/session").then((answer) => answer.json()).then((told) => { csrf = told.csrf; }).catch(() => {});
  const send = XMLHttpRequest.prototype.send;
  XMLHttpRequest.prototype.send = function (body) {
    const own = !this.unetrAddress || new URL(this.unetrAddress, location.href).origin === location.origin;
    if (csrf && own) this.setRequestHeader("X-CSRF-Token", csrf);
    return send.call(this, body);
  };
  const open = XMLHttpRequest.prototype.open;
  XMLHttpRequest.prototype.open = function (method, url, ...more) {
    this.unetrAddress = String(url);
    return open.call(this, method, url, ...more);
  };
})();
"""


@dataclass(frozen=True, slots=True)
class Viewer:
    """A built OHIF. files: by their addresses, found once, so that no address leads anywhere else. index: its page,
    without what it would load from elsewhere. policy: what the page may do."""

    files: Mapping[str, Path]
    index: str
    policy: str

    async def file(self, path: str = "") -> Response:
        """A file of the viewer; its page for its own addresses. Raises NotFoundError."""
        headers = {"Content-Security-Policy": self.policy}
        if path == "app-config.js":
            return Response(_SCRIPT_TEXT % (json.dumps(_CONFIG), _WADO), media_type=_SCRIPT, headers=headers)
        if path in _LEFT_OUT:
            return Response("", media_type=_SCRIPT, headers=headers)
        found = self.files.get(path)
        if found is not None:
            return SentFile(found, KINDS.get(found.suffix, "application/octet-stream"), headers=headers)
        if "." in path.rpartition("/")[2] and path != "index.html":
            raise NotFoundError("the viewer has no such file")
        return Response(self.index, media_type="text/html; charset=utf-8", headers=headers)


def open_viewer(folder: Path) -> Viewer:
    """The OHIF that was built for `/ohif/` in this folder. Raises InputError where there is none."""
    index = _ELSEWHERE.sub("", read_text(folder / "index.html", "the page of a built OHIF"))
    if "/ohif/" not in index:
        raise InputError(f"{folder}: holds no OHIF that was built for /ohif/; expected the one of MONAI Label")
    hashes = [base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in _INLINE.findall(index)]
    scripts = " ".join(f"'sha256-{each}'" for each in hashes)
    policy = (
        "default-src 'self'",
        f"script-src 'self' 'unsafe-eval' {scripts}",
        "worker-src 'self' blob:",
        "style-src 'self' 'unsafe-inline'",
        "img-src 'self' blob: data:",
        "font-src 'self' data:",
        "connect-src 'self' blob: data:",
        "object-src 'none'",
        "base-uri 'none'",
        "form-action 'self'",
        "frame-ancestors 'none'",
    )
    return Viewer(_files(folder.resolve()), index, "; ".join(policy))


def _files(folder: Path) -> Mapping[str, Path]:
    """All but the page itself, and no link that leads out of the folder."""
    found = ((path.relative_to(folder).as_posix(), path) for path in folder.rglob("*"))
    return {
        name: path
        for name, path in found
        if name != "index.html" and path.is_file() and path.resolve().is_relative_to(folder)
    }
