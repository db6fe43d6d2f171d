"""The application: all routes over one queue. Who may ask is decided around it, by `serve/safety/`."""

from __future__ import annotations

from pathlib import Path

from fastapi import APIRouter, FastAPI
from fastapi.routing import APIRoute

from unetr.core.version import __version__
from unetr.queue.service import Service
from unetr.serve.monai_label.routes import monai_label_router
from unetr.serve.options import ServeOptions
from unetr.serve.routes import events, health, jobs, models, results, scans
from unetr.serve.web.bodies import BoundedBodies
from unetr.serve.web.errors import tell_errors
from unetr.serve.web.serving import Serving
from unetr.serve.web.static import static_files
from unetr.serve.web.threads import Waits

_PAGE = Path(__file__).parent / "page" / "static"

_ABOUT = """Segment 3D medical scans. Upload a scan, ask for a job, follow its events, fetch its results.

Errors are `{"error": {"kind", "message", "hint"}}`. The same files are the same scan, and the same work is one job.
"""


def create_app(service: Service, options: ServeOptions) -> FastAPI:
    """The application without anything around it: no tokens, no checks of hosts, no log."""
    # Swagger's page would fetch its scripts from elsewhere.
    app = FastAPI(title="unetr", version=__version__, description=_ABOUT, docs_url=None, redoc_url=None)
    app.router.redirect_slashes = False  # the other address would be made of what the client says of this one
    app.state.serving = serving = Serving(service, options, Waits(service))
    app.add_middleware(BoundedBodies)
    tell_errors(app, str(service.folder.path))
    routers = [routes.router for routes in (health, models, scans, jobs, events, results)]
    for router in (*routers, monai_label_router(serving)):
        app.include_router(router)
        app.include_router(_heads(router))
    app.router.default = static_files(_PAGE)
    return app


def _heads(router: APIRouter) -> APIRouter:
    """HEAD of all that GET answers: the same head, of which the server sends no body."""
    heads = APIRouter(include_in_schema=False)
    for route in router.routes:
        if isinstance(route, APIRoute) and "GET" in (route.methods or ()):
            heads.add_api_route(route.path, route.endpoint, methods=["HEAD"], response_model=route.response_model)
    return heads
