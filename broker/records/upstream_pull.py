"""What an upstream FHIR server gives, as parts that ingest takes: page after page of a search, or the files of a bulk export.

SMART Backend Services authenticates us (``private_key_jwt``, ES384; SMART App Launch 2.2). Nothing that comes back is trusted: where to ask
next is checked by ``upstream_http``, each resource by ingest.
"""

from __future__ import annotations

import secrets
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urljoin

import msgspec
from joserfc import jwt
from joserfc.jwk import ECKey

from broker import clock
from broker.records.sources import Entry, Part, bundle_part, parts
from broker.records.upstream_http import FILE_BYTES, PAGE_BYTES, SMALL_BYTES, UpstreamFailed, Wire, pieces, retry_after, whole

#: Resources of one page of a search; pages of one type; seconds that an export may take.
PAGE, PAGES, EXPORT_SECONDS = 500, 200_000, 6 * 3600
#: Seconds between two questions for an export's state where the server names none.
POLL_SECONDS = 5.0
_JSON = {"Accept": "application/fhir+json"}
_ASSERTION = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"


class _Link(msgspec.Struct):
    relation: str = ""
    url: str = ""


class _Page(msgspec.Struct):
    resourceType: str = ""  # noqa: N815 - FHIR's name
    type: str = ""
    link: list[_Link] = []


class _Search(msgspec.Struct):
    mode: str = ""


class _Entry(msgspec.Struct):
    search: _Search | None = None


class _File(msgspec.Struct):
    type: str
    url: str


class _Manifest(msgspec.Struct):
    transactionTime: datetime  # noqa: N815 - the Bulk Data guide's name
    requiresAccessToken: bool = False  # noqa: N815 - likewise
    output: list[_File] = []
    deleted: list[_File] = []
    link: list[_Link] = []


class _Request(msgspec.Struct):
    method: str = ""
    url: str = ""


class _DeletedEntry(msgspec.Struct):
    request: _Request | None = None


class _DeletedBundle(msgspec.Struct):
    entry: list[_DeletedEntry] = []


@dataclass
class Connection:
    """One upstream server as it is configured, with the token that we hold for now."""

    wire: Wire
    base_url: str
    token_endpoint: str | None  #: None: the server asks for no token
    client_id: str
    scope: str
    key: ECKey | None
    sleep: Callable[[float], None] = time.sleep
    _token: str = ""
    _until: float = field(default=0.0)

    def headers(self) -> dict[str, str]:
        """With a token that will last for a while."""
        if self.token_endpoint is None:
            return dict(_JSON)
        if time.monotonic() > self._until:
            self._renew(self.token_endpoint)
        return _JSON | {"Authorization": f"Bearer {self._token}"}

    def _renew(self, endpoint: str) -> None:
        if self.key is None:
            raise UpstreamFailed("upstream.no-key")
        now = clock.epoch(clock.now())
        claims = {"iss": self.client_id, "sub": self.client_id, "aud": endpoint, "exp": now + 240, "jti": secrets.token_hex(32)}
        assertion = jwt.encode({"alg": "ES384", "kid": self.key.thumbprint(), "typ": "JWT"}, claims, self.key, algorithms=["ES384"])
        form = {"grant_type": "client_credentials", "scope": self.scope, "client_assertion_type": _ASSERTION, "client_assertion": assertion}
        with self.wire.asked("POST", endpoint, form=form, headers={"Accept": "application/json"}) as answer:
            given = _read(whole(answer, SMALL_BYTES), dict[str, Any])
        token, lasts = given.get("access_token"), given.get("expires_in", 60)
        if not isinstance(token, str) or not token.isascii() or not token.isprintable() or len(token) > 16_384 or type(lasts) is not int:
            raise UpstreamFailed("upstream.token")
        self._token, self._until = token, time.monotonic() + max(0, min(lasts, 3600) - 30)

    def here(self, url: str) -> str:
        """The address, if it is of the same scheme, host and port as this server. Raises UpstreamFailed."""
        full = urljoin(f"{self.base_url}/", url)
        if self.wire.checked(full) != self.wire.checked(self.base_url):
            raise UpstreamFailed("upstream.other-host")
        return full


def searched(server: Connection, resource_type: str, since: datetime | None) -> Iterator[Part]:
    """Everything of one type that was changed since then: one part for each page. Raises UpstreamFailed; what came before stands."""
    query = {"_count": str(PAGE)} | ({} if since is None else {"_lastUpdated": f"ge{since.isoformat(timespec='seconds')}"})
    url: str | None = f"{server.base_url}/{resource_type}?{urlencode(query)}"
    seen: set[str] = set()
    while url is not None:
        if url in seen or len(seen) >= PAGES:
            raise UpstreamFailed("upstream.loop")
        seen.add(url)
        with server.wire.asked("GET", url, headers=server.headers()) as answer:
            data = whole(answer, PAGE_BYTES)
        page = _read(data, _Page)
        if page.resourceType != "Bundle" or page.type != "searchset":
            raise UpstreamFailed("upstream.not-a-page")
        part = bundle_part(data)
        part.entries = [entry for entry in part.entries if not (isinstance(entry, Entry) and _mode(entry) == "outcome")]
        yield part
        following = [link.url for link in page.link if link.relation == "next"]
        if len(following) > 1:
            raise UpstreamFailed("upstream.loop")
        url = server.here(following[0]) if following else None


def _mode(entry: Entry) -> str:
    try:
        read = msgspec.json.decode(bytes(entry.data), type=_Entry)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return ""  # Ingest refuses it with its reason.
    return read.search.mode if read.search is not None else ""


@dataclass(frozen=True)
class Export:
    """A bulk export that is ready: its moment, and the addresses of its files."""

    at: datetime
    status: str
    output: tuple[_File, ...]
    deleted: tuple[_File, ...]
    guarded: bool


def ordered(server: Connection, path: str, types: Sequence[str], since: datetime | None) -> str:
    """Ask for an export (Bulk Data Access 2, kick-off); the address of its state."""
    query = {"_type": ",".join(types)} | ({} if since is None else {"_since": since.isoformat(timespec="seconds")})
    headers = server.headers() | {"Prefer": "respond-async"}
    with server.wire.asked("GET", f"{server.base_url}/{path}?{urlencode(query)}", headers=headers) as answer:
        if answer.status_code != 202:
            raise UpstreamFailed(f"upstream.status-{answer.status_code}", later=retry_after(answer))
        return server.here(answer.headers.get("content-location", ""))


def awaited(server: Connection, status: str) -> Export:
    """The export once it is ready. Raises UpstreamFailed where it fails, or takes too long."""
    until = time.monotonic() + EXPORT_SECONDS
    while True:
        with server.wire.asked("GET", server.here(status), headers=server.headers() | {"Accept": "application/json"}) as answer:
            if answer.status_code != 202:
                data, wait = whole(answer, PAGE_BYTES), 0.0
            else:
                data, wait = b"", retry_after(answer) or POLL_SECONDS
        if data:
            break
        if time.monotonic() > until:
            raise UpstreamFailed("upstream.slow")
        server.sleep(wait)
    manifest = _read(data, _Manifest)
    if any(link.relation == "next" for link in manifest.link) or manifest.transactionTime.tzinfo is None:
        raise UpstreamFailed("upstream.manifest")  # We asked for a manifest in one piece.
    return Export(manifest.transactionTime, status, tuple(manifest.output), tuple(manifest.deleted), manifest.requiresAccessToken)


def files(server: Connection, export: Export, types: Sequence[str]) -> Iterator[Part]:
    """The resources of an export, a few thousand lines at a time; memory doesn't grow with them."""
    for file in sorted(export.output, key=lambda one: types.index(one.type) if one.type in types else len(types)):
        if file.type not in types:
            raise UpstreamFailed("upstream.not-asked")
        with tempfile.NamedTemporaryFile(suffix=".ndjson", prefix="broker-upstream-") as kept:
            _download(server, file.url, kept, guarded=export.guarded)
            yield from parts(Path(kept.name))


def removals(server: Connection, export: Export) -> list[tuple[str, str]]:
    """``(type, id)`` of what the server says it has deleted since."""
    found: list[tuple[str, str]] = []
    for file in export.deleted:
        with tempfile.NamedTemporaryFile(suffix=".ndjson", prefix="broker-upstream-") as kept:
            _download(server, file.url, kept, guarded=export.guarded)
            with Path(kept.name).open("rb") as lines:
                for line in lines:
                    for entry in _read(line, _DeletedBundle).entry if line.strip() else ():
                        kind, _, name = entry.request.url.partition("/") if entry.request and entry.request.method == "DELETE" else ("", "", "")
                        if kind and name:
                            found.append((kind, name))
    return found


def _download(server: Connection, url: str, into: Any, *, guarded: bool) -> None:
    headers = {"Accept": "application/fhir+ndjson"}
    if guarded:
        headers = server.headers() | headers
    with server.wire.asked("GET", server.here(url), headers=headers) as answer:
        if answer.status_code != 200:
            raise UpstreamFailed(f"upstream.status-{answer.status_code}")
        for piece in pieces(answer, FILE_BYTES):
            into.write(piece)
    into.flush()


def _read(data: bytes, kind: Any) -> Any:
    try:
        return msgspec.json.decode(data, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise UpstreamFailed("upstream.unreadable") from None
