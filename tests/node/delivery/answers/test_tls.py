"""C-STORE and C-ECHO over TLS to dcmtk's storescp: both sides show who they are, and names are checked."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.node.delivery.made import results_in, written_job
from tests.orthanc import dcmtk, free_port

from unetr.errors import InputError
from unetr.io.dicom.exchange import content_digest, identity_of
from unetr.node.delivery.dimse import DimseSender
from unetr.node.delivery.sender import DeliveryError
from unetr.node.settings import Deliver

To = Callable[..., DimseSender]


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """scp.pem, of localhost, and ours.pem, with their .key."""
    openssl, folder = shutil.which("openssl"), tmp_path_factory.mktemp("keys")
    if openssl is None:
        pytest.skip("openssl is not on this machine")
    for name, host in (("scp", "localhost"), ("ours", "unetr")):
        made = [openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", f"/CN={host}"]
        pair = ["-keyout", str(folder / f"{name}.key"), "-out", str(folder / f"{name}.pem")]
        subprocess.run([*made, "-addext", f"subjectAltName=DNS:{host}", *pair], check=True, capture_output=True)
    return folder


@pytest.fixture(scope="module")
def received(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("received")


@pytest.fixture(scope="module")
def to(keys: Path, received: Path) -> Iterator[To]:
    """to(host, tls): a sender to a storescp that asks for our certificate."""
    port, scp = free_port(), [str(keys / "scp.key"), str(keys / "scp.pem")]
    command = [dcmtk("storescp"), "-od", str(received), "+tls", *scp, "+cf", str(keys / "ours.pem"), str(port)]

    def make(host: str = "localhost", tls: dict[str, str] | None = None) -> DimseSender:
        told = {"name": "pacs", "dimse": {"host": host, "port": port, "title": "SCP", "tls": tls}, "timeout_s": 5}
        destination = Deliver.model_validate(told).destination("UNETR")
        assert destination.dimse is not None
        return DimseSender(destination.dimse, destination.timeout_s)

    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            yield make
        finally:
            process.kill()


def ours(keys: Path) -> dict[str, str]:
    pair = {"certificate": str(keys / "ours.pem"), "key": str(keys / "ours.key")}
    return {"certificates": str(keys / "scp.pem"), **pair}


def test_sends_to_whom_it_trusts(keys: Path, received: Path, to: To, tmp_path: Path) -> None:
    results = results_in(tmp_path / "queue")
    path = results.result(written_job(results, tmp_path / "series", {"pacs": ("dicom-seg",)}), "dicom-seg")
    sender, end = to(tls=ours(keys)), time.monotonic() + 20
    while True:
        try:
            sender.look()
            break
        except DeliveryError:
            if time.monotonic() > end:
                raise
            time.sleep(0.1)  # it starts
    sender.send(path, identity_of(path))
    (file,) = received.iterdir()
    assert content_digest(file) == content_digest(path)


@pytest.mark.parametrize("left_out", ["certificates", "certificate", "tls", "name"])
def test_sends_nothing_where_either_does_not_trust_the_other(
    keys: Path, received: Path, to: To, tmp_path: Path, left_out: str
) -> None:
    results, before = results_in(tmp_path / "queue"), sorted(received.iterdir())
    path = results.result(written_job(results, tmp_path / "series", {"pacs": ("dicom-seg",)}), "dicom-seg")
    without = {"certificate": {"certificate", "key"}}.get(left_out, {left_out})
    tls = {key: value for key, value in ours(keys).items() if key not in without}
    sender = to("127.0.0.1" if left_out == "name" else "localhost", None if left_out == "tls" else tls)
    with pytest.raises(DeliveryError) as error:
        sender.send(path, identity_of(path))
    assert error.value.away and not error.value.final
    assert sorted(received.iterdir()) == before


def test_files_that_are_none_are_said_at_the_start(keys: Path, to: To) -> None:
    (keys / "empty.pem").write_text("")
    for change in ({"certificates": str(keys / "empty.pem")}, {"key": str(keys / "scp.key")}):
        with pytest.raises(InputError, match="cannot be used"):
            to(tls=ours(keys) | change)
    with pytest.raises(ValueError, match="belong together"):
        to(tls={"certificate": str(keys / "ours.pem")})
