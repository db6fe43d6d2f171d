"""The one file of a node's settings: what listens, what is pulled, which series go to which model, where results go."""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from unetr.core.text.reading import parse_yaml, read_text
from unetr.core.text.records import Record, record_from
from unetr.core.text.untrusted import reads_untrusted
from unetr.errors import InputError
from unetr.node.delivery.destination import Destination, DimseNode, NodeTls, StowService
from unetr.node.rules import Name, Rule, Words

_LONGEST_TITLE = 16
_HOUR_S = 3600.0


def _title(found: str) -> str:
    if not 0 < len(found.strip()) <= _LONGEST_TITLE or not found.isascii() or not found.isprintable() or "\\" in found:
        raise ValueError("expected an AE title: 1 to 16 letters, digits and signs of ASCII, without a backslash")
    return found.strip()


def _network(found: str) -> str:
    return str(ipaddress.ip_network(found, strict=False))


Title = Annotated[str, AfterValidator(_title)]
Titles = Annotated[tuple[Title, ...], BeforeValidator(lambda given: [given] if isinstance(given, str) else given)]
Network = Annotated[str, AfterValidator(_network)]
Networks = Annotated[tuple[Network, ...], BeforeValidator(lambda given: [given] if isinstance(given, str) else given)]
Url = Annotated[str, Field(pattern=r"^https?://[^\s/?#@]+(/[^\s?#@]*)?$", max_length=500)]


class Tls(Record):
    """certificate, key: ours, PEM files. callers: a PEM file of those whose certificates callers must show."""

    certificate: Path
    key: Path
    callers: Path | None = None


class Listen(Record):
    """Who may send to this node, and how much at once.

    title: its AE title, by which it must be called. port: 0 takes a free one. callers: AE titles that may send; none
    is all of them. addresses: IP addresses or networks that may connect; none is all of them. insecure: another
    address than the loopback's may do without TLS. associations, connections: at once; half of the connections may be
    of one address. pdu_bytes: the longest piece that is read. silent_s: a connection without a word is closed, and one
    whose piece is not there whole by then.
    """

    title: Title = "UNETR"
    address: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 11112
    callers: Titles = ()
    addresses: Networks = ()
    tls: Tls | None = None
    insecure: bool = False
    associations: Annotated[int, Field(ge=1, le=100)] = 8
    connections: Annotated[int, Field(ge=1, le=500)] = 64
    pdu_bytes: Annotated[int, Field(ge=4096, le=1 << 22)] = 1 << 18
    silent_s: Annotated[float, Field(gt=0, le=_HOUR_S)] = 60.0

    @model_validator(mode="after")
    def _safe(self) -> Listen:
        try:
            here = ipaddress.ip_address(self.address).is_loopback
        except ValueError:
            raise ValueError(f"address {self.address}: is no IP address; expected one such as 127.0.0.1") from None
        if not here and not self.callers:
            raise ValueError(f"address {self.address}: others can reach it; expected `callers`, the AE titles that may")
        if not here and self.tls is None and not self.insecure:
            raise ValueError(
                f"address {self.address}: others can reach it, and scans would come unencrypted; expected `tls`, or "
                "`insecure: true` where the network itself is safe"
            )
        return self


class Limits(Record):
    """How much is kept. instance_mb: of one object; series_gb: of one series. open_series: that still grow.

    keep_free_mb: of the disk; objects that would leave less are refused with DICOM's "out of resources".
    """

    instance_mb: Annotated[float, Field(gt=0, le=1e6)] = 2000.0
    series_gb: Annotated[float, Field(gt=0, le=1e4)] = 20.0
    open_series: Annotated[int, Field(ge=1, le=100_000)] = 500
    keep_free_mb: Annotated[float, Field(ge=0, le=1e7)] = 500.0


class Ready(Record):
    """When a series counts as whole.

    quiet_s: so long nothing came, and reading it finds no gap. cut_off_s: so long a sender that was cut off, or of
    which something was refused, has to begin again. wait_s: then, and with a gap, or where its numbers say that slices
    are missing at an end, it waits so long for more. then: what becomes of it afterwards, "fail", or "predict" where
    there is no gap; the result's verdict then tells the doubt.
    """

    quiet_s: Annotated[float, Field(gt=0, le=_HOUR_S)] = 10.0
    cut_off_s: Annotated[float, Field(gt=0, le=24 * _HOUR_S)] = 120.0
    wait_s: Annotated[float, Field(gt=0, le=7 * 24 * _HOUR_S)] = 1800.0
    then: Literal["fail", "predict"] = "fail"


class HttpService(Record):
    """An HTTP service of a PACS. url: without a user's name. password_file, token_file: what is in them is read at the
    start; with `user`, a password. certificates: a PEM file of those that are trusted beside the system's."""

    url: Url
    user: Annotated[str, Field(pattern=r"^[^:\s]{1,100}$")] | None = None
    password_file: Path | None = None
    token_file: Path | None = None
    certificates: Path | None = None

    @model_validator(mode="after")
    def _one_secret(self) -> HttpService:
        if (self.user is None) != (self.password_file is None):
            raise ValueError("`user` and `password_file` belong together")
        if self.user is not None and self.token_file is not None:
            raise ValueError("expected either a user with a password, or a token")
        return self


class Pull(Record):
    """A PACS that is asked for new series. Either `orthanc`, the root of its own REST interface, or `dicomweb`.

    every_s: between two questions. sweep_s: between two looks at all of its series (Orthanc), whose events can be
    lost. days: how far back is looked. By DICOMweb, for studies, by their date. In an Orthanc, for series
    that it got so long before it was first asked, or later. modalities: of the series that are taken.
    """

    name: Name
    orthanc: HttpService | None = None
    dicomweb: HttpService | None = None
    every_s: Annotated[float, Field(ge=0.1, le=_HOUR_S)] = 10.0
    sweep_s: Annotated[float, Field(ge=0.1, le=24 * _HOUR_S)] = 600.0
    days: Annotated[int, Field(ge=0, le=3650)] = 1
    modalities: Words = ("CT", "MR", "PT")
    timeout_s: Annotated[float, Field(gt=0, le=_HOUR_S)] = 60.0

    @model_validator(mode="after")
    def _one_kind(self) -> Pull:
        if (self.orthanc is None) == (self.dicomweb is None):
            raise ValueError("expected either `orthanc` or `dicomweb`")
        return self


class DimseTls(Record):
    """PEM files for connections that we make. certificates: of those that are trusted beside the system's. certificate,
    key: ours, where the other asks for one."""

    certificates: Path | None = None
    certificate: Path | None = None
    key: Path | None = None

    @model_validator(mode="after")
    def _both(self) -> DimseTls:
        if (self.certificate is None) != (self.key is None):
            raise ValueError("`certificate` and `key` belong together")
        return self


class Dimse(Record):
    """A DICOM node. title: its AE title. tls: `{}` for what the system trusts; without it, nothing is encrypted."""

    host: Annotated[str, Field(pattern=r"^[^\s/@]{1,255}$")]
    port: Annotated[int, Field(ge=1, le=65535)]
    title: Title
    tls: DimseTls | None = None


class Deliver(Record):
    """A PACS that results are sent to: either by `dicomweb` (STOW-RS), the root of its DICOMweb, or by `dimse`
    (C-STORE). name: as rules name it. timeout_s: without a word from it, a try has failed."""

    name: Name
    dicomweb: HttpService | None = None
    dimse: Dimse | None = None
    timeout_s: Annotated[float, Field(gt=0, le=_HOUR_S)] = 30.0

    @model_validator(mode="after")
    def _one_kind(self) -> Deliver:
        if (self.dicomweb is None) == (self.dimse is None):
            raise ValueError("expected either `dicomweb` or `dimse`")
        return self

    def destination(self, our_title: str) -> Destination:
        """As deliveries know it. our_title: the AE title that we call ourselves."""
        stow = None if self.dicomweb is None else StowService(**dict(self.dicomweb))
        node = None
        if self.dimse is not None:
            to, given = self.dimse, self.dimse.tls
            tls = None if given is None else NodeTls(**dict(given))
            node = DimseNode(host=to.host, port=to.port, aet=to.title, our_aet=our_title, tls=tls)
        return Destination(name=self.name, stow=stow, dimse=node, timeout_s=self.timeout_s)


class Engine(Record):
    """How jobs are done. memory_limit: such as 4GB. retention_h: hours after which scans and results are removed."""

    memory_limit: str | None = None
    retention_h: Annotated[float, Field(gt=0, le=24 * 365)] = 24.0
    most_waiting: Annotated[int, Field(ge=1, le=10_000)] = 32
    engine: str = "auto"
    device: str = "auto"
    precision: str = "auto"


class NodeSettings(Record):
    """All of a node's settings. models: names of shipped models or model files, as rules name them."""

    models: Words
    rules: tuple[Rule, ...]
    listen: Listen | None = Listen()
    limits: Limits = Limits()
    ready: Ready = Ready()
    pull: tuple[Pull, ...] = ()
    deliver: tuple[Deliver, ...] = ()
    queue: Engine = Engine()

    @model_validator(mode="after")
    def _consistent(self) -> NodeSettings:
        if not self.models or not self.rules:
            raise ValueError("a node needs at least one of `models` and one of `rules`")
        for what in ("rules", "pull", "deliver"):
            names = [one.name for one in getattr(self, what)]
            if len(set(names)) < len(names):
                raise ValueError(f"two of `{what}` have one name; expected different names")
        known = [one.name for one in self.deliver]
        for rule in self.rules:
            for name in rule.destinations:
                if name not in known:
                    raise ValueError(f"rule {rule.name} sends to {name}, which `deliver` does not name")
        for at, first in enumerate(self.rules):
            for other in self.rules[at + 1 :] if first.go_on and first.when is not None else ():
                same = other.when is not None and (first.model, first.settings()) == (other.model, other.settings())
                if same and set(first.destinations) != set(other.destinations):
                    raise ValueError(
                        f"rules {first.name} and {other.name} ask for the same work, which is done once and sent where "
                        f"{first.name} says; expected one rule with all `destinations`"
                    )
        if self.listen is None and not self.pull:
            raise ValueError("nothing would ever come: expected `listen` or `pull`")
        return self


@reads_untrusted("a node's settings (YAML)")
def read_settings(path: Path) -> NodeSettings:
    """Raises InputError that names the file and the first key that is wrong."""
    data = parse_yaml(read_text(path, "a node's settings (YAML)"), str(path))
    if not isinstance(data, dict):
        raise InputError(f"{path}: is no node's settings; expected a mapping with the keys models and rules")
    return record_from(NodeSettings, data, str(path))
