"""The embedded engine, rego-cpp through ``regopy``: no server, for a try-out and for small sites.

It differs from OPA in ways that could let something out, so it is hedged in: one interpreter for each thread (a shared one
answers other threads' questions); errors of built-ins are errors (``strict_built_in_errors``), not undefined; only built-ins
and forms of Rego that both engines are shown to agree on (``static_checks``); the answer is read strictly (``answer``). The
tests put one decision table and random facts through both engines.
"""

from __future__ import annotations

import threading
from typing import Any

from regopy import Bundle, Input, Interpreter

from broker.policy.answer import AnswerUnusable
from broker.policy.policy_set import DECISION, PolicySet


class EmbeddedEvaluator:
    """Holds the policies, compiled once for each thread that asks."""

    name = "embedded"
    blocking = False

    def __init__(self, policies: PolicySet) -> None:
        """Compiles at once, so that policies that can't be compiled fail at start."""
        self._policies = policies
        self._local = threading.local()
        self._prepared()

    def evaluate(self, document: dict[str, Any]) -> Any:
        """The decision document. Raises AnswerUnusable if the engine ended in an error or its answer is undefined."""
        interpreter, compiled = self._prepared()
        interpreter.set_input(Input(document))
        output = interpreter.query_bundle_entrypoint(compiled, DECISION)
        # A failed output must not be printed or shown: that crashes the process.
        if not output.ok():
            raise AnswerUnusable("the embedded engine ended in an error")
        found = [expression for result in output.results for expression in result.expressions]
        if len(found) != 1:
            raise AnswerUnusable("the decision is undefined")
        return found[0]

    def _prepared(self) -> tuple[Interpreter, Bundle]:
        """This thread's interpreter and its compiled policies; about 50 ms the first time."""
        held: tuple[Interpreter, Bundle] | None = getattr(self._local, "held", None)
        if held is None:
            interpreter = Interpreter()
            interpreter.strict_built_in_errors = True
            interpreter.add_data(self._policies.documents)
            for path, source in self._policies.modules.items():
                interpreter.add_module(path, source)
            compiled = interpreter.build(None, [DECISION])
            if not compiled.ok():
                raise AnswerUnusable("the embedded engine cannot compile the policies")
            held = self._local.held = (interpreter, compiled)
        return held
