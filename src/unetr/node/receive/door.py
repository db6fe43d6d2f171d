"""The socket that DICOM systems connect to: who may, and how many at once."""

from __future__ import annotations

import ipaddress
import socket
import threading
from collections import Counter
from socketserver import BaseServer
from typing import Any

from pynetdicom.transport import ThreadedAssociationServer

from unetr.node.settings import Listen


class Door(ThreadedAssociationServer):
    """Turns away who may not connect before a thread is spent on it, and lets nobody hold the door."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, *given: Any, listen: Listen, counts: Counter[str], **more: Any) -> None:
        self._silent_s, self._most = listen.silent_s, listen.connections
        self._networks = [ipaddress.ip_network(one) for one in listen.addresses]
        self._counts = counts
        super().__init__(*given, **more)

    def start(self) -> None:
        """Accepts connections in a thread of its own."""
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.2}, daemon=True).start()

    def stop(self) -> None:
        """Accepts none any more, and ends those that are there."""
        BaseServer.shutdown(self)
        self.server_close()
        for association in self.active_associations:
            if association.is_established:
                association.abort()
            else:  # there is nothing to abort yet
                association.kill()

    def get_request(self) -> tuple[socket.socket, Any]:
        """A connection that ends by itself when nothing comes. The handshake of TLS is made by its own thread."""
        assert self.socket is not None  # noqa: S101  for the type alone
        accepted, address = self.socket.accept()
        accepted.settimeout(self._silent_s)
        accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self.ssl_context is not None:
            accepted = self.ssl_context.wrap_socket(accepted, server_side=True, do_handshake_on_connect=False)
        return accepted, address

    def verify_request(self, request: Any, client_address: Any) -> bool:
        """Whether this address may connect, and not too many are connected, of which half may be of one address."""
        if self._networks and not any(ipaddress.ip_address(client_address[0]) in one for one in self._networks):
            self._counts["address"] += 1
            return False
        there = self.active_associations
        of_this = sum(one.requestor.address == client_address[0] for one in there)
        if len(there) >= self._most or of_this >= max(1, self._most // 2):
            self._counts["connections"] += 1
            return False
        return True

    def process_request(self, request: Any, client_address: Any) -> None:
        """Starts the connection's own threads before the next one is accepted, so that each is counted in time."""
        self.process_request_thread(request, client_address)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """What one connection does wrong is counted, and not printed."""
        self._counts["errors"] += 1
