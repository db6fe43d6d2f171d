"""The door that DICOM systems send to: C-ECHO and C-STORE.

Each object goes to a part file as it arrives and is not decoded. It is flushed to the disk and renamed; then, and only
then, its sender is told that it is here. What does not fit is refused with "out of resources" (0xA700), so that the
sender keeps it and tries again.
"""

from __future__ import annotations

import logging
import ssl
import tempfile
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from pynetdicom import AE, _config, evt
from pynetdicom.events import Event

from unetr.errors import InputError, MachineError
from unetr.node.receive.arriving import Arrivals
from unetr.node.receive.bounds import bound, bounds_of
from unetr.node.receive.classes import DERIVED_CLASSES, contexts
from unetr.node.receive.door import Door
from unetr.node.receive.place import NotAsSaidError
from unetr.node.settings import Limits, Listen, Tls

_SUCCESS = 0x0000
_OUT_OF_RESOURCES = 0xA700
_NOT_AS_SAID = 0xA900
_CANNOT_UNDERSTAND = 0xC000
_NO_TITLE = "?"
_FIRST_WORD_S = 15.0


class Receiver:
    """Listens until it is closed. A context. address: where it listens, with the port that it took.

    counts: connections that were turned away, and objects that were refused, by why.
    """

    def __init__(self, listen: Listen, limits: Limits, arrivals: Arrivals) -> None:
        self.counts: Counter[str] = Counter()
        self._listen, self._limits, self._arrivals = listen, limits, arrivals
        # What pynetdicom says could name a person, and it says it to whoever runs the node.
        logging.getLogger("pynetdicom").setLevel(logging.CRITICAL)
        # pynetdicom writes objects to the folder for temporary files while they arrive: it has to be on the same disk.
        self._before = tempfile.tempdir, _config.STORE_RECV_CHUNKED_DATASET
        tempfile.tempdir, _config.STORE_RECV_CHUNKED_DATASET = str(arrivals.parts), True
        self._ae = _entity(listen)
        try:
            self._server = self._started()
        except OSError as error:
            self._give_back()
            raise MachineError(
                f"{listen.address} port {listen.port}: cannot be listened at: {error.strerror or error}; "
                "choose another port, or end what uses it"
            ) from error

    @property
    def address(self) -> tuple[str, int]:
        """Where it listens."""
        host, port = self._server.server_address[:2]
        return str(host), int(port)

    def close(self) -> None:
        """Ends all associations; what was not acknowledged is not kept."""
        self._server.stop()
        self._give_back()

    def _give_back(self) -> None:
        tempfile.tempdir, _config.STORE_RECV_CHUNKED_DATASET = self._before

    def __enter__(self) -> Receiver:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _started(self) -> Door:
        server = Door(
            self._ae,
            (self._listen.address, self._listen.port),
            self._listen.title,
            contexts(),
            _tls(self._listen.tls),
            [
                (evt.EVT_CONN_OPEN, self._opened),
                (evt.EVT_C_STORE, self._stored),
                (evt.EVT_RELEASED, self._released),
                (evt.EVT_ABORTED, self._cut_off),
                (evt.EVT_CONN_CLOSE, self._cut_off),
            ],
            listen=self._listen,
            counts=self.counts,
        )
        server.start()
        return server

    def _opened(self, event: Event) -> None:
        """Bounds what this connection may make us hold, before its first byte is read."""
        most, silent_s = int(self._limits.instance_mb * 1e6), self._listen.silent_s
        bound(event.assoc, self._listen.pdu_bytes, most, min(silent_s, _FIRST_WORD_S), silent_s)

    def _stored(self, event: Event) -> int:
        """The status that the sender is told."""
        request: Any = event.request
        path, is_whole = event.dataset_path, bounds_of(event.assoc).next_object()
        if request._dataset_file is not None:
            request._dataset_file.close()
        said = (str(request.AffectedSOPClassUID), str(request.AffectedSOPInstanceUID))
        if said[0] in DERIVED_CLASSES:
            with suppress(OSError):
                path.unlink()
            self.counts["derived"] += 1
            return _SUCCESS
        if not is_whole:
            return self._refused(event, "no room", _OUT_OF_RESOURCES)
        try:
            self._arrivals.take(path, event.assoc.requestor.ae_title.strip() or _NO_TITLE, said, event.assoc)
        except NotAsSaidError:
            return self._refused(event, "not as announced", _NOT_AS_SAID)
        except InputError:
            return self._refused(event, "damaged", _CANNOT_UNDERSTAND)
        except MachineError:
            return self._refused(event, "no room", _OUT_OF_RESOURCES)
        return _SUCCESS

    def _released(self, event: Event) -> None:
        with suppress(MachineError):  # the database cannot be written, now: then it waits for longer
            self._arrivals.left(event.assoc, whole=not bounds_of(event.assoc).refused)

    def _cut_off(self, event: Event) -> None:
        """Of an association that was not released before, or is not just now being released."""
        bounds_of(event.assoc).drop()
        if not event.assoc.is_released:
            self._arrivals.left(event.assoc, whole=False)

    def _refused(self, event: Event, why: str, status: int) -> int:
        bounds_of(event.assoc).refused = True
        self.counts[why] += 1
        return status


def _entity(listen: Listen) -> AE:
    entity = AE(ae_title=listen.title)
    entity.supported_contexts = contexts()
    entity.require_called_aet = True
    entity.require_calling_aet = list(listen.callers)
    entity.maximum_associations = listen.associations
    entity.maximum_pdu_size = listen.pdu_bytes
    entity.dimse_timeout = entity.network_timeout = listen.silent_s
    entity.acse_timeout = min(listen.silent_s, _FIRST_WORD_S)
    return entity


def _tls(tls: Tls | None) -> ssl.SSLContext | None:
    """Raises InputError for certificates that cannot be used."""
    if tls is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    files: Mapping[str, Any] = {"certfile": tls.certificate, "keyfile": tls.key}
    try:
        context.load_cert_chain(**files)
        if tls.callers is not None:
            context.load_verify_locations(tls.callers)
            context.verify_mode = ssl.CERT_REQUIRED
    except (OSError, ssl.SSLError) as error:
        raise InputError(f"listen.tls: its certificate or key cannot be used: {error}") from error
    return context
