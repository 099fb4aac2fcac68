"""The OPA server, asked through ``opa-python-client``: for production, beside each broker, fed with the broker's bundle.

``strict-builtin-errors``: OPA, too, turns an error of a built-in into *undefined* unless told otherwise. No retries: a decision
that failed is denied, and whoever needs it asks again. No proxies and no redirects: the facts go to that address alone.
"""

from __future__ import annotations

import os
import threading
from concurrent.futures import Future
from queue import Empty, SimpleQueue
from typing import Any
from urllib.parse import urlsplit

from opa_client.opa import OpaClient

from broker.policy.answer import AnswerUnusable
from broker.policy.errors import PolicyUnusable

_PACKAGE, _RULE = "broker.release", "decision"
_PARAMETERS = {"strict-builtin-errors": "true"}

#: Questions that may be under way. A server that never ends an answer keeps a thread each; from here on the answer is no at once.
_UNDER_WAY = 64


class OpaServerEvaluator:
    """Holds the address, and connections that are free."""

    name = "opa"
    blocking = True

    def __init__(self, url: str, *, token: str | None, timeout: float) -> None:
        """``timeout`` in seconds, for the whole answer. Raises PolicyUnusable for an address that is not ``http(s)://host[:port]``."""
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.path.strip("/") or parts.query or parts.username:
            raise PolicyUnusable("BROKER_OPA_URL must look like https://host:port, without path, query or login")
        # An authority of the hospital's own: these two are what the client's library and Python itself look at.
        authority = os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("SSL_CERT_FILE") or True
        self._ssl = authority if parts.scheme == "https" else False
        self._host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
        self._port = parts.port or (443 if self._ssl else 8181)
        self._token = token
        self._timeout = timeout
        self._free: SimpleQueue[OpaClient] = SimpleQueue()
        self._slots = threading.BoundedSemaphore(_UNDER_WAY)

    def evaluate(self, document: dict[str, Any]) -> Any:
        """The decision document. Raises AnswerUnusable when it is undefined or late; whatever the client raises otherwise."""
        if not self._slots.acquire(blocking=False):
            raise AnswerUnusable("too many answers are under way")
        answered: Future[Any] = Future()
        # The client's own timeout counts from byte to byte, so that a server could drip for ever. A thread of its own gives a deadline.
        threading.Thread(target=self._ask, args=(document, answered), name="opa", daemon=True).start()
        try:
            given = answered.result(self._timeout)
        except TimeoutError as error:
            raise AnswerUnusable("the answer is late") from error
        if not isinstance(given, dict) or "result" not in given:
            raise AnswerUnusable("the decision is undefined")
        return given["result"]

    def _ask(self, document: dict[str, Any], answered: Future[Any]) -> None:
        try:
            client = self._client()
            answered.set_result(client.query_rule(document, _PACKAGE, _RULE, query_params=_PARAMETERS))
            self._free.put(client)  # A connection that failed is not used again.
        except BaseException as error:  # noqa: BLE001  (It is raised where the answer is awaited.)
            answered.set_exception(error)
        finally:
            self._slots.release()

    def _client(self) -> OpaClient:
        try:
            return self._free.get_nowait()
        except Empty:
            client = OpaClient(self._host, self._port, ssl=self._ssl, token=self._token, retries=0, timeout=self._timeout)
            session = client._session  # noqa: SLF001  (The client has no other way to say so.)
            session.trust_env = False
            session.max_redirects = 0
            # Between two processes side by side, packing an answer costs OPA more than sending it.
            session.headers["Accept-Encoding"] = "identity"
            return client
