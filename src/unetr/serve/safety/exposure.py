"""Who can reach the server: without being told otherwise, only programs on this machine."""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit

from unetr.errors import InputError
from unetr.serve.options import ServeOptions
from unetr.serve.safety.sites import authority
from unetr.serve.safety.tokens import known_tokens

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def check_exposure(options: ServeOptions) -> None:
    """Raises InputError where the options would open the server further than they say, or contradict each other.

    An address that others can reach needs a token, and TLS; `insecure` does without TLS, for a proxy in front that
    has it.
    """
    if (options.tls_cert is None) != (options.tls_key is None):
        given, missing = ("certificate", "key") if options.tls_key is None else ("key", "certificate")
        raise InputError(f"TLS has a {given} and no {missing}; expected both or neither", hint="tls")
    for path in filter(None, (options.tls_cert, options.tls_key)):
        if not path.is_file():
            raise InputError(f"{path}: is no file; expected a certificate and its key in PEM form", hint="tls")
    for host in options.allowed_hosts:
        if authority(host) is None:
            raise InputError(f"{host!a}: is no name of a host; expected one such as scans.example.org")
    for origin in options.allowed_origins:
        if not _is_origin(origin):
            raise InputError(f"{origin!a}: is no origin of a page; expected one such as https://ohif.example.org")
    tokens = known_tokens(options.tokens) if options.tokens else ()
    if is_loopback(options.host):
        return
    if options.host and not _is_host(options.host):
        raise InputError(f"{options.host!a}: is no address to answer at; expected one such as 127.0.0.1, ::1 or a name")
    if not tokens:
        raise InputError(
            f"{options.host}: can be reached by others, and nothing would keep them out; make a token first, or "
            "serve at 127.0.0.1",
            hint="new_token",
        )
    if options.tls_cert is None and not options.insecure:
        raise InputError(
            f"{options.host}: can be reached by others, who would read scans and tokens on the way; give a certificate "
            "and its key, or serve at 127.0.0.1",
            hint="tls",
        )


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches a server there. A name other than localhost may lead anywhere."""
    if host.lower() == "localhost":
        return True
    found = ip_of(host)
    return found is not None and found.is_loopback


def ip_of(host: str) -> Address | None:
    """The address that a text is, with or without the brackets of IPv6; None for names."""
    try:
        found = ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return None
    mapped = found.ipv4_mapped if isinstance(found, ipaddress.IPv6Address) else None
    return mapped or found


def _is_host(text: str) -> bool:
    """An address or a name, without a port."""
    found = authority(text)
    return ip_of(text) is not None or (found is not None and found[1] is None)


def _is_origin(text: str) -> bool:
    try:
        parts = urlsplit(text)
    except ValueError:
        return False
    return (
        parts.scheme in ("http", "https")
        and authority(parts.netloc) is not None
        and not text.endswith("/")
        and (f"{parts.scheme}://{parts.netloc}" == text)
    )
