"""The options of `unetr serve`, and what is made of them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from unetr.app.options import bytes_of, finite
from unetr.errors import InputError

Models = Annotated[
    list[str] | None,
    typer.Option(
        "--model",
        metavar="NAME|FILE",
        help="A model to offer, or the folder of a run; several may be given. By default those that come with unetr.",
    ),
]
Port = Annotated[int, typer.Option(help="The port; 0 is any that is free.", min=0, max=65535)]
Host = Annotated[str, typer.Option(help="The address to answer at; another needs a token and TLS.")]
Folder = Annotated[
    Path | None, typer.Option(help="Where scans, jobs and results are kept; by default among the user's own data.")
]
NewToken = Annotated[
    str | None, typer.Option("--new-token", metavar="NAME", help="Make a token for NAME, show it once, and end.")
]
EndToken = Annotated[
    str | None, typer.Option("--end-token", metavar="NAME", help="End the token of NAME, also in a running server.")
]
TokenFile = Annotated[
    Path | None, typer.Option("--token-file", help="The file of hashed tokens; FOLDER/tokens.json by default.")
]
TlsCert = Annotated[Path | None, typer.Option("--tls-cert", help="The certificate, in PEM form.")]
TlsKey = Annotated[Path | None, typer.Option("--tls-key", help="The key of the certificate, in PEM form.")]
Insecure = Annotated[bool, typer.Option("--insecure", help="Do without TLS, as behind a proxy that has it.")]
AllowHost = Annotated[
    list[str] | None, typer.Option("--allow-host", help="A name by which browsers may call this server.")
]
AllowOrigin = Annotated[
    list[str] | None,
    typer.Option("--allow-origin", help="A web viewer that may ask, such as https://ohif.example.org."),
]
MaxUpload = Annotated[str, typer.Option("--max-upload", help="The largest upload, such as 4GB.")]
MostWaiting = Annotated[int, typer.Option("--most-waiting", help="Jobs that may wait; more are told to wait.", min=1)]
RetentionHours = Annotated[
    float,
    typer.Option("--retention-hours", help="Scans and results are removed after this.", min=0.01, callback=finite),
]
MemoryLimit = Annotated[
    str | None,
    typer.Option(
        "--memory-limit", help="Of each process that reads scans or predicts, such as 4GB; by default what is free."
    ),
]
Ohif = Annotated[Path | None, typer.Option(help="The folder of a built OHIF, served as /ohif.")]
Pacs = Annotated[str | None, typer.Option(help="The DICOMweb address of a PACS that OHIF shows.")]


def folder_of(given: Path | None) -> Path:
    """The folder of the queue. Raises InputError where none is given and there is no place for it."""
    from unetr.core.files.private import private_data_folder

    if given is not None:
        return given.absolute()
    found = private_data_folder("serve")
    if found is None:
        raise InputError("there is no folder of this user's own for scans and jobs; name one with --folder")
    return found


def models_of(given: list[str] | None) -> list[str | Path]:
    """What is offered: the models that come with the package where none is given."""
    from unetr.model.shipped import shipped_models

    return list(given) if given else [one.name for one in shipped_models()]


def upload_bytes(given: str) -> int:
    """What --max-upload says. Raises InputError."""
    try:
        return bytes_of(given) or 0
    except InputError as error:
        raise InputError(f"--max-upload {given}: is not understood; expected a size such as 4GB") from error
