"""The receiver against whom it must not trust: endless pieces, silence, nonsense, a full disk, no certificate."""

from __future__ import annotations

import contextlib
import shutil
import socket
import struct
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from tests.io.dicom.dicom_maker import make_series, save, write_series
from tests.node.test_receive import Node
from tests.orthanc import dcmtk

from unetr.errors import InputError, MachineError
from unetr.node.receive.arriving import Arrivals
from unetr.node.receive.scp import Receiver
from unetr.node.receive.table import ArrivingTable
from unetr.node.settings import Limits, Listen, Tls
from unetr.queue.store import JobStore

VOXELS = np.zeros((64, 64, 3), np.int16)
FREE = Limits(keep_free_mb=0)


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    made = Node(tmp_path, Listen(port=0, silent_s=1, connections=4, pdu_bytes=16384))
    yield made
    made.close()


def _is_closed_within(connection: socket.socket, seconds: float) -> bool:
    connection.settimeout(seconds)
    try:
        while connection.recv(65536):
            pass
    except TimeoutError:
        return False
    except OSError:
        pass
    return True


@pytest.mark.parametrize(
    "sent",
    [
        b"\x01\x00" + struct.pack(">L", 0xFFFFFFFF),  # an association request of 4 GB
        b"\x04\x00" + struct.pack(">L", 0x7FFFFFFF) + b"x" * 1000,  # data before any association
        b"GET / HTTP/1.1\r\nHost: here\r\n\r\n",
        b"\x01\x00\x00\x00\x00\x44" + b"\xff" * 68,
        b"",  # nothing at all, as a slow connection
        b"\x01\x00\x00\x00",  # a piece that never ends
    ],
)
def test_nonsense_and_silence_end_the_connection_alone(node: Node, sent: bytes) -> None:
    with socket.create_connection(node.receiver.address) as connection:
        connection.sendall(sent)
        assert _is_closed_within(connection, 10)
    assert node.run("echoscu").returncode == 0


def test_more_connections_than_the_settings_allow_are_turned_away(node: Node) -> None:
    held = [socket.create_connection(node.receiver.address) for _ in range(4)]
    time.sleep(0.3)
    with socket.create_connection(node.receiver.address) as one_more:
        assert _is_closed_within(one_more, 0.7)
    for connection in held:
        connection.close()
    time.sleep(1.5)
    assert node.run("echoscu").returncode == 0 and node.receiver.counts["connections"] >= 1


def test_one_address_never_holds_all_places(node: Node) -> None:
    held = [socket.create_connection(node.receiver.address) for _ in range(4)]
    with socket.create_connection(node.receiver.address, source_address=("127.0.0.2", 0)) as other:
        assert not _is_closed_within(other, 0.5), "there is a place for another one"
    assert node.receiver.counts["connections"] == 2
    for connection in held:
        connection.close()


@pytest.mark.parametrize("said", [b"\x01\x00\x00\x00", b"\x01\x00\x00\x00\x10\x00" + b"\x00" * 10])
def test_a_byte_now_and_then_holds_no_place_for_long(node: Node, said: bytes) -> None:
    with socket.create_connection(node.receiver.address) as connection:
        connection.sendall(said)
        end = time.monotonic() + 10
        with contextlib.suppress(OSError):
            while time.monotonic() < end:
                connection.sendall(b"\0")
                time.sleep(0.2)
        assert time.monotonic() < end
    assert node.run("echoscu").returncode == 0


def test_an_object_beyond_the_limit_ends_its_association_and_leaves_nothing(tmp_path: Path) -> None:
    node = Node(tmp_path, limits=Limits(keep_free_mb=0, instance_mb=0.1))
    try:
        write_series(tmp_path / "small", VOXELS[..., :2])
        save(tmp_path / "large.dcm", make_series(np.zeros((512, 512, 1), np.int16))[0])
        assert node.send([tmp_path / "large.dcm"]).returncode != 0
        # Many objects that are within the limit each are no object beyond it.
        small = sorted((tmp_path / "small").iterdir())
        for _ in range(10):
            assert node.send(small).returncode == 0
        assert len(node.kept()) == 2
    finally:
        node.close()


def test_what_is_not_what_was_announced_is_not_kept(node: Node, tmp_path: Path) -> None:
    one, other, _ = make_series(VOXELS)
    save(tmp_path / "one.dcm", one)
    for part, said in ((tmp_path / "one.dcm", ("1.2", one.SOPInstanceUID)), (tmp_path / "two.dcm", None)):
        if said is None:
            other.SeriesInstanceUID = "not a uid"
            save(part, other)
        with pytest.raises(InputError):
            node.arrivals.take(part, "CT1", said)
        assert not part.exists()
    assert node.kept() == []


def test_a_full_disk_is_told_as_out_of_resources(tiny_disk: Path, tmp_path: Path) -> None:
    """64 KB: two slices of 8 KB fit with 16 KB to spare. What was acknowledged is there, and nothing half."""
    limits = Limits(keep_free_mb=0.03)
    store = JobStore(tmp_path / "jobs.sqlite3")
    arrivals = Arrivals(tiny_disk / "arriving", ArrivingTable(store), limits)
    write_series(tmp_path / "series", np.zeros((64, 64, 8), np.int16))
    files = sorted((tmp_path / "series").iterdir())
    with Receiver(Listen(port=0), limits, arrivals) as receiver:
        host, port = receiver.address
        command = [dcmtk("storescu"), "-R", "-v", "-nh", "-aec", "UNETR", host, str(port)]
        sent = subprocess.run([*command, *map(str, files)], capture_output=True, text=True, timeout=30)
        said = (sent.stdout + sent.stderr).lower()
        kept = [path for row in arrivals.rows() for path in arrivals.files(row.series)]
        assert "outofresources" in said.replace(" ", "").replace(":", "") or "0xa700" in said
        assert said.count("(success)") == len(kept) > 0 and receiver.counts["no room"] > 0
        assert all(path.stat().st_size > 8192 for path in kept)
        # The same where there is no room at all, so that even the part cannot be written.
        (tiny_disk / "full").write_bytes(b"x" * (shutil.disk_usage(tiny_disk).free - 4096))
        sent = subprocess.run([*command, *map(str, files[-2:])], capture_output=True, text=True, timeout=30)
        said = (sent.stdout + sent.stderr).lower().replace(" ", "").replace(":", "")
        assert said.count("outofresources") + said.count("0xa700") >= 1 and "(success)" not in said
        assert list(arrivals.parts.iterdir()) == []
    store.close()


def test_tls_lets_in_who_has_a_certificate_and_refuses_others(tmp_path: Path) -> None:
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("openssl is not on this machine")
    for name in ("node", "ct"):
        made = [openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", f"/CN={name}"]
        pair = ["-keyout", str(tmp_path / f"{name}.key"), "-out", str(tmp_path / f"{name}.pem")]
        subprocess.run([*made, *pair], check=True, capture_output=True)
    tls = Tls(certificate=tmp_path / "node.pem", key=tmp_path / "node.key", callers=tmp_path / "ct.pem")
    node = Node(tmp_path / "n", Listen(port=0, tls=tls, silent_s=2))
    write_series(tmp_path / "series", VOXELS)
    files = sorted((tmp_path / "series").iterdir())
    try:
        assert node.send(files).returncode != 0 and node.kept() == []
        trust = ["+cf", str(tmp_path / "node.pem")]
        anonymous = node.send(files, "+tla", *trust)
        assert anonymous.returncode != 0 and node.kept() == []
        known = node.send(files, "+tls", str(tmp_path / "ct.key"), str(tmp_path / "ct.pem"), *trust)
        assert known.returncode == 0, known.stderr
        assert len(node.kept()) == 3
        # A handshake that is never finished holds nobody else up.
        with socket.create_connection(node.receiver.address):
            again = node.send(files, "+tls", str(tmp_path / "ct.key"), str(tmp_path / "ct.pem"), *trust)
            assert again.returncode == 0
    finally:
        node.close()


def test_a_port_that_is_taken_is_said(node: Node, tmp_path: Path) -> None:
    port = node.receiver.address[1]
    with pytest.raises(MachineError, match=f"port {port}: cannot be listened at"):
        Receiver(Listen(port=port), FREE, node.arrivals)
