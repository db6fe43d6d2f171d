"""Delivering by DIMSE: C-STORE to send; C-GET to read back, C-FIND where the destination does not allow that."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from pynetdicom import AE, _config, build_role, evt
from pynetdicom.association import Association

from unetr.io.dicom.exchange import ObjectIdentity, instance_query
from unetr.node.delivery.destination import DimseNode
from unetr.node.delivery.sender import DeliveryError, Held, compared, refusal

_FIND = "1.2.840.10008.5.1.4.1.2.2.1"  # Study Root Query/Retrieve Information Model - FIND
_GET = "1.2.840.10008.5.1.4.1.2.2.3"  # the same, GET
_VERIFICATION = "1.2.840.10008.1.1"
_SUCCESS, _PENDING = 0x0000, (0xFF00, 0xFF01)
_WARNINGS = range(0xB000, 0xC000)
_NO_LOOK = "the destination does not let us look for what was sent; allow our title C-GET or C-FIND there"

# Files are sent as they are, piece by piece, and not decoded first.
_config.STORE_SEND_CHUNKED_DATASET = True


class DimseSender:
    """Sends to one DICOM node."""

    def __init__(self, node: DimseNode, timeout_s: float) -> None:
        self._node = node
        self._timeout_s = timeout_s

    def send(self, path: Path, identity: ObjectIdentity) -> None:
        """See Sender. A warning, such as that elements were changed, is a success that reading back judges."""
        with self._association({identity.sop_class: [identity.transfer_syntax]}) as association:
            status = _status(association.send_c_store(path))
        if status != _SUCCESS and status not in _WARNINGS:
            raise refusal(status)

    def held(self, identity: ObjectIdentity, content: str) -> Held:
        """See Sender."""
        got = self._got(identity)
        if got is not None:
            return compared(got, content)
        return Held.NAMED if self._named(identity) else Held.ABSENT

    def answers(self) -> bool:
        """See Sender."""
        try:
            with self._association({_VERIFICATION: None}) as association:
                return _status(association.send_c_echo()) == _SUCCESS
        except DeliveryError:
            return False

    def _got(self, identity: ObjectIdentity) -> BinaryIO | None:
        """The object by C-GET, as a file; None where it is not there or that is not allowed."""
        got: list[bytes] = []

        def keep(event: evt.Event) -> int:
            chunked = _config.STORE_RECV_CHUNKED_DATASET  # as the receiver in this process wants it
            got.append(event.dataset_path.read_bytes() if chunked else event.encoded_dataset())
            return _SUCCESS

        wanted = {_GET: None, identity.sop_class: [identity.transfer_syntax]}
        role = build_role(identity.sop_class, scp_role=True)
        try:
            with self._association(wanted, ext_neg=[role], evt_handlers=[(evt.EVT_C_STORE, keep)]) as association:
                if _accepted(association, _GET):
                    for _ in association.send_c_get(instance_query(identity), _GET):
                        pass
        except DeliveryError as error:
            if error.away:
                raise
        return io.BytesIO(got[0]) if got else None

    def _named(self, identity: ObjectIdentity) -> bool:
        """Whether C-FIND knows the UID."""
        with self._association({_FIND: None}) as association:
            for status, found in association.send_c_find(instance_query(identity), _FIND):
                code = int(status.Status) if "Status" in status else None  # some end the association to refuse
                if code in _PENDING and found is not None:
                    if str(found.get("SOPInstanceUID", "")) == identity.instance:
                        return True
                elif code != _SUCCESS:
                    raise DeliveryError(_NO_LOOK)
        return False

    @contextmanager
    def _association(self, contexts: dict[str, list[str] | None], **options: Any) -> Iterator[Association]:
        """An association with these abstract syntaxes, of which the first must be accepted."""
        node = self._node
        entity = AE(ae_title=node.our_aet)
        entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = self._timeout_s
        entity.connection_timeout = self._timeout_s
        for syntax, transfer in contexts.items():
            entity.add_requested_context(syntax, transfer) if transfer else entity.add_requested_context(syntax)
        association = entity.associate(node.host, node.port, ae_title=node.aet, **options)
        if not association.is_established:
            if association.is_rejected:
                raise DeliveryError("the destination rejects the association; see the titles (AET) in its settings")
            if association.is_aborted and association.acceptor.primitive is not None:  # it accepts none of them
                raise _not_accepted(contexts)
            raise DeliveryError("the destination cannot be reached", away=True)
        try:
            if not _accepted(association, next(iter(contexts))):
                raise _not_accepted(contexts)
            yield association
        finally:
            if association.is_established:
                association.release()


def _accepted(association: Association, syntax: str) -> bool:
    return any(context.abstract_syntax == syntax for context in association.accepted_contexts)


def _not_accepted(contexts: Iterable[str]) -> DeliveryError:
    if {_FIND, _GET} & set(contexts):
        return DeliveryError(_NO_LOOK)
    return DeliveryError("the destination accepts no such object in its transfer syntax", final=True)


def _status(answer: Any) -> int:
    """The status of an answer; raises DeliveryError where there was none in time."""
    if "Status" not in answer:
        raise DeliveryError("the destination stopped answering", away=True)
    return int(answer.Status)
