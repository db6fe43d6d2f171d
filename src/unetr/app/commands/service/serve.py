"""unetr serve: the page and the API over HTTP, until Ctrl-C or SIGTERM."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from unetr.app.commands.service import serve_options as own
from unetr.app.options import Device, Engine, Precision, bytes_of
from unetr.app.printing import say, write_line
from unetr.core.version import __version__

if TYPE_CHECKING:
    from unetr.queue.service import ServiceOptions
    from unetr.serve.options import ServeOptions


def serve(
    model: own.Models = None,
    port: own.Port = 8000,
    host: own.Host = "127.0.0.1",
    folder: own.Folder = None,
    new_token: own.NewToken = None,
    end_token: own.EndToken = None,
    token_file: own.TokenFile = None,
    tls_cert: own.TlsCert = None,
    tls_key: own.TlsKey = None,
    insecure: own.Insecure = False,
    allow_host: own.AllowHost = None,
    allow_origin: own.AllowOrigin = None,
    max_upload: own.MaxUpload = "4GB",
    most_waiting: own.MostWaiting = 32,
    retention_hours: own.RetentionHours = 24.0,
    memory_limit: own.MemoryLimit = None,
    ohif: own.Ohif = None,
    pacs: own.Pacs = None,
    engine: Engine = "auto",
    device: Device = "auto",
    precision: Precision = "auto",
) -> None:
    """Serve models to browsers and programs on this machine. Drop a scan into the page, look, correct, download.

    Nobody else can reach it unless --host says so, which needs a token and TLS. Jobs and scans are kept in FOLDER,
    outlast a restart, and are removed after --retention-hours. The API is described at /openapi.json.

    Example: unetr serve --model hippocampus --port 8000
    """
    from unetr.queue.service import ServiceOptions
    from unetr.serve.options import ServeOptions

    place = own.folder_of(folder)
    tokens = token_file or place / "tokens.json"
    if new_token is not None:
        _make_token(tokens, new_token)
        return
    if end_token is not None:
        _end_token(tokens, end_token)
        return
    serving = ServeOptions(host=host, port=port, tokens=tokens, insecure=insecure, ohif=ohif, pacs=pacs)
    serving = replace(serving, tls_cert=tls_cert, tls_key=tls_key, most_upload_bytes=own.upload_bytes(max_upload))
    serving = replace(serving, allowed_hosts=tuple(allow_host or ()), allowed_origins=tuple(allow_origin or ()))
    working = ServiceOptions(engine=engine, device=device, precision=precision, most_waiting=most_waiting)
    working = replace(working, retention_s=retention_hours * 3600, memory_limit_bytes=bytes_of(memory_limit))
    _serve(place, own.models_of(model), working, serving)


def _serve(folder: Path, models: list[str | Path], working: ServiceOptions, serving: ServeOptions) -> None:
    from unetr.app.views.serving import lines_of_the_server
    from unetr.queue.service import Service
    from unetr.serve.run import listen, serve

    with lines_of_the_server(), listen(serving) as at, Service(folder, models, working) as service:
        names = ", ".join(service.models)
        say(f"unetr {__version__} serves {names}; jobs are kept in {folder}; Ctrl-C ends it")
        serve(service, serving, at, lambda address: write_line(address))


def _make_token(path: Path, name: str) -> None:
    from unetr.serve.safety.tokens import new_token

    token = new_token(path, name)
    say(f"a token for {name}, shown only now; programs send it as a bearer token, and the page asks for it:")
    write_line(token)


def _end_token(path: Path, name: str) -> None:
    from unetr.serve.safety.tokens import remove_token

    remove_token(path, name)
    say(f"the token of {name} has ended")
