"""Delivering by DIMSE: C-STORE to send; C-GET to read back, C-FIND where the destination does not offer that.

A C-GET that breaks, or that fails for another reason than that it is not offered, is a failed try: to be content with
C-FIND then would be to take any object of the same UID for ours.
"""

from __future__ import annotations

import io
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from pynetdicom import AE, _config, build_role, evt
from pynetdicom.association import Association
from pynetdicom.pdu import A_ABORT_RQ, P_DATA_TF

from unetr.io.dicom.exchange import ObjectIdentity, instance_query
from unetr.node.delivery.destination import DimseNode
from unetr.node.delivery.sender import QUICK_S, DeliveryError, Held, UnclearError, compared, refusal
from unetr.node.trust import trusting

_FIND = "1.2.840.10008.5.1.4.1.2.2.1"  # Study Root Query/Retrieve Information Model - FIND
_GET = "1.2.840.10008.5.1.4.1.2.2.3"  # the same, GET
_VERIFICATION = "1.2.840.10008.1.1"
_SUCCESS, _PENDING = 0x0000, (0xFF00, 0xFF01)
_WARNINGS = range(0xB000, 0xC000)
_NOT_OFFERED = (0x0122, 0x0124, 0x0211)  # no such SOP class, not authorized, no such operation
_NO_LOOK = "the destination does not let us look for what was sent; allow our title C-GET or C-FIND there"

# Files are sent as they are, piece by piece, and not decoded first.
_config.STORE_SEND_CHUNKED_DATASET = True


class DimseSender:
    """Sends to one DICOM node. Raises InputError where its certificates cannot be used."""

    def __init__(self, node: DimseNode, timeout_s: float) -> None:
        self._node = node
        self._timeout_s = timeout_s
        tls = node.tls
        self._tls = None if tls is None else (trusting(tls.certificates, tls.certificate, tls.key), node.host)

    def send(self, path: Path, identity: ObjectIdentity) -> None:
        """See Sender. A warning, such as that elements were changed, is a success that reading back judges."""
        with self._association({identity.sop_class: [identity.transfer_syntax]}) as talk:
            status = talk.status(talk.association.send_c_store(path))
        if status != _SUCCESS and status not in _WARNINGS:
            raise refusal(status)

    def held(self, identity: ObjectIdentity, content: str) -> Held:
        """See Sender."""
        try:
            got = self._got(identity)
        except _NotOfferedError:
            return Held.NAMED if self._named(identity) else Held.ABSENT
        return Held.ABSENT if got is None else compared(got, content)

    def look(self) -> None:
        """See Sender. An association and a C-ECHO: DIMSE has nothing that is more like sending, and sends nothing."""
        with self._association({_VERIFICATION: None}, timeout_s=min(self._timeout_s, QUICK_S)) as talk:
            status = talk.status(talk.association.send_c_echo())
        if status != _SUCCESS:
            raise refusal(status)

    def _got(self, identity: ObjectIdentity) -> BinaryIO | None:
        """The object by C-GET, as a file; None where it is not there. Raises _NotOfferedError."""
        got: list[bytes] = []

        def keep(event: evt.Event) -> int:
            chunked = _config.STORE_RECV_CHUNKED_DATASET  # as the receiver in this process wants it
            got.append(event.dataset_path.read_bytes() if chunked else event.encoded_dataset())
            return _SUCCESS

        wanted = {_GET: None, identity.sop_class: [identity.transfer_syntax]}
        role = build_role(identity.sop_class, scp_role=True)
        with self._association(wanted, [(evt.EVT_C_STORE, keep)], ext_neg=[role]) as talk:
            if not talk.accepts(identity.sop_class, as_scp=True):
                raise _NotOfferedError(_NO_LOOK)
            for status, _ in talk.association.send_c_get(instance_query(identity), _GET):
                code = talk.status_of_look(status)
                if code in _NOT_OFFERED:
                    raise _NotOfferedError(_NO_LOOK)
                if code not in (_SUCCESS, *_PENDING) and not got:
                    raise UnclearError(f"the destination does not give back what was sent (status {code:04X})")
        return io.BytesIO(got[0]) if got else None

    def _named(self, identity: ObjectIdentity) -> bool:
        """Whether C-FIND knows the UID."""
        with self._association({_FIND: None}) as talk:
            for status, found in talk.association.send_c_find(instance_query(identity), _FIND):
                code = talk.status_of_look(status)
                if code in _PENDING and found is not None:
                    if str(found.get("SOPInstanceUID", "")) == identity.instance:
                        return True
                elif code != _SUCCESS:
                    raise _NotOfferedError(_NO_LOOK)
        return False

    @contextmanager
    def _association(
        self,
        contexts: dict[str, list[str] | None],
        handlers: Sequence[Any] = (),
        timeout_s: float | None = None,
        **options: Any,
    ) -> Iterator[_Talk]:
        """An association with these abstract syntaxes, of which the first must be accepted."""
        node = self._node
        entity = AE(ae_title=node.our_aet)
        entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = timeout_s or self._timeout_s
        entity.connection_timeout = min(self._timeout_s, QUICK_S)
        for syntax, transfer in contexts.items():
            entity.add_requested_context(syntax, transfer) if transfer else entity.add_requested_context(syntax)
        answered, refused = threading.Event(), threading.Event()

        def note(event: evt.Event) -> None:
            if isinstance(event.pdu, P_DATA_TF):
                answered.set()
            elif isinstance(event.pdu, A_ABORT_RQ) and not answered.is_set():
                refused.set()

        told = [(evt.EVT_PDU_RECV, note), *handlers]
        try:
            association = entity.associate(
                node.host, node.port, ae_title=node.aet, evt_handlers=told, tls_args=self._tls, **options
            )
        except (OSError, UnicodeError):  # its name is not known, now
            raise DeliveryError("the destination's address cannot be found", away=True) from None
        if not association.is_established:
            if association.is_rejected:
                raise DeliveryError(
                    "the destination rejects the association; see the titles (AET) in its settings", away=True
                )
            if association.is_aborted and association.acceptor.primitive is not None:  # it accepts none of them
                raise _not_accepted(contexts)
            raise DeliveryError("the destination cannot be reached", away=True)
        talk = _Talk(association, refused)
        try:
            if not talk.accepts(next(iter(contexts))):
                raise _not_accepted(contexts)
            yield talk
        finally:
            if association.is_established:
                association.release()


class _NotOfferedError(DeliveryError):
    """The destination does not let us look for an object in this way."""


@dataclass(frozen=True, slots=True)
class _Talk:
    """An association. refused: set where the destination has ended it in place of any answer, by a word of its own, and
    did not just fall silent: some, such as Orthanc, refuse what they do not allow in that way."""

    association: Association
    refused: threading.Event

    def accepts(self, syntax: str, *, as_scp: bool = False) -> bool:
        """Whether objects of this kind may be sent, or, as_scp, received."""
        found = [each for each in self.association.accepted_contexts if each.abstract_syntax == syntax]
        return any(each.as_scp for each in found) if as_scp else bool(found)

    def status(self, answer: Any) -> int:
        """The status of an answer. Raises DeliveryError where there was none in time."""
        if "Status" not in answer:
            raise DeliveryError("the destination stopped answering", away=True)
        return int(answer.Status)

    def status_of_look(self, answer: Any) -> int:
        """The same, of C-GET and C-FIND. Raises _NotOfferedError, too."""
        if "Status" not in answer and self.refused.is_set():
            raise _NotOfferedError(_NO_LOOK)
        return self.status(answer)


def _not_accepted(contexts: Iterable[str]) -> DeliveryError:
    if {_FIND, _GET} & set(contexts):
        return _NotOfferedError(_NO_LOOK)
    return DeliveryError("the destination accepts no such object in its transfer syntax", final=True)
