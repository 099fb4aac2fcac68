"""One decision: facts in, a decision out, whoever evaluates the policies. Never raises; silence, lateness and nonsense deny.

1. The facts become canonical JSON, and their SHA-256 goes along.  2. The facts must fit ``policies/input.schema.json``.
3. The evaluator answers.  4. The answer is read strictly (``answer.read``): it must echo the hash and name the revision.
5. It may not go beyond the tables of these policies (``within.hold``).
Whatever goes wrong on the way is UNAVAILABLE: recorded as such, logged as an error, released nothing. No setting changes that.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256
from typing import Any, Protocol

import jsonschema_rs
import orjson

from broker.policy import answer, within
from broker.policy.decision import Decision, Effect, Reason
from broker.policy.facts import Facts
from broker.policy.policy_set import PolicySet

log = logging.getLogger("broker.policy")

#: Facts longer than this are not judged. An application names a few dozen codes; a thousand would keep the evaluator busy.
MAX_FACTS_BYTES = 65_536

#: A zero byte ends a text in the embedded engine's C interface, so that two different facts would look the same to it.
_NUL = b"\\u0000"

_UNAVAILABLE = Reason("policy.unavailable", "The policy engine gave no usable answer, which denies.")


class FactsUnusable(Exception):
    """The facts can't be judged: they don't fit the schema of the input."""


class Evaluator(Protocol):
    """Who evaluates the Rego: ``compiled.CompiledEvaluator``, ``embedded.EmbeddedEvaluator`` or ``opa_server.OpaServerEvaluator``."""

    @property
    def name(self) -> str:
        """``compiled``, ``embedded`` or ``opa``; goes into the record of each decision."""

    @property
    def blocking(self) -> bool:
        """Whether an answer waits for the network, so that an event loop must not wait for it."""

    def evaluate(self, document: dict[str, Any]) -> Any:
        """The document ``data.broker.release.decision`` for this input, unread. Raises anything when there is none."""


class PolicyEngine:
    """Holds an evaluator and the policies it must answer from. Safe to share between threads."""

    def __init__(self, evaluator: Evaluator, policies: PolicySet, also: Callable[[], frozenset[str]] = frozenset) -> None:
        """``also``: revisions that an answer may carry at this moment besides that of ``policies``."""
        self._evaluator = evaluator
        self._also = also
        self._schema = jsonschema_rs.validator_for(policies.input_schema)
        self.policies = policies

    @property
    def name(self) -> str:
        """``compiled``, ``embedded`` or ``opa``."""
        return self._evaluator.name

    @property
    def blocking(self) -> bool:
        """Whether to call :meth:`decide` in a thread when an event loop runs."""
        return self._evaluator.blocking

    @property
    def revision(self) -> str:
        """SHA-256 of the policies, in hex."""
        return self.policies.revision

    def decide(self, facts: Facts) -> Decision:
        """The decision on these facts. Never raises (except for the end of the process): no usable answer is UNAVAILABLE."""
        return self.decide_form(facts)

    def decide_form(self, facts: Facts | dict[str, Any]) -> Decision:
        """The same for facts that may be in JSON form already, as ``broker policy decide`` reads them from a file."""
        input_hash = ""
        canonical = b""
        try:
            document, input_hash, canonical = asked(facts)
            self._fit(document)
            given = self._evaluator.evaluate(sent(document))
            decision = answer.read(given, input_hash=input_hash, revision=self.revision, engine=self.name, also=self._also())
            if decision.revision == self.revision:  # In the seconds of a change another revision may answer, whose tables are not these.
                within.hold(decision, document["facts"], self.policies.data)
            return replace(decision, facts=canonical)
        except (KeyboardInterrupt, SystemExit):
            raise
        # Bindings of foreign engines raise outside Exception, too (a panic in Rust is a BaseException); everything denies.
        except BaseException as error:  # noqa: BLE001
            # Facts and answers stay out of the log: an error of ours says what is wrong without them, of others only the kind is told.
            said = str(error) if isinstance(error, (answer.AnswerUnusable, FactsUnusable)) else ""
            log.error("policy gave no usable answer (%s): %s %s", self.name, type(error).__name__, said)  # noqa: TRY400
            return Decision(Effect.UNAVAILABLE, (_UNAVAILABLE,), None, (), input_hash, self.revision, self.name, facts=canonical)

    def _fit(self, document: dict[str, Any]) -> None:
        """The schema keeps out what Rego was not written for, such as an element name with a space in it."""
        if not self._schema.is_valid(document):
            raise FactsUnusable("the facts do not fit policies/input.schema.json")


def sent(document: dict[str, Any]) -> dict[str, Any]:
    """What the evaluator is given of a question: all but the names of the consents, which are for the record of the decision.

    There may be a thousand of them, and no rule may read them (``static_checks`` refuses policies that try). The hash is over all of it.
    """
    facts = document["facts"]
    return {"facts": {**facts, "consent": {**facts["consent"], "consents": []}}, "input_hash": document["input_hash"]}


def question(facts: Facts | dict[str, Any]) -> tuple[dict[str, Any], str]:
    """The Rego input ``{facts, input_hash}``, and the hash: SHA-256 in hex over the facts as JSON with sorted keys and no spaces."""
    document, input_hash, _ = asked(facts)
    return document, input_hash


def asked(facts: Facts | dict[str, Any]) -> tuple[dict[str, Any], str, bytes]:
    """The same, and the bytes that were hashed. Raises FactsUnusable."""
    given = orjson.loads(orjson.dumps(facts))
    canonical = orjson.dumps(given, option=orjson.OPT_SORT_KEYS)
    if len(canonical) > MAX_FACTS_BYTES or _NUL in canonical:
        raise FactsUnusable("the facts are too long or hold a zero byte")
    input_hash = sha256(canonical).hexdigest()
    return {"facts": given, "input_hash": input_hash}, input_hash, canonical
