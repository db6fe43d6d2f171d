"""The page: static files that a browser runs as they are. Nothing in them is built, and nothing comes from a network.

`static/index.html` names its files relative to itself, and the API by `api/` and `session`. It needs of a
Content-Security-Policy no more than `default-src 'self'; img-src 'self' data:`: niivue carries its letters and its
light as images in `data:` addresses. No script or style stands in the HTML, nothing is evaluated, no worker and no
WebAssembly is started.
"""

from __future__ import annotations

from pathlib import Path

STATIC = Path(__file__).parent / "static"
