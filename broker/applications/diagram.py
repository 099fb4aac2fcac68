"""``docs/state-diagram.md``, written from the lifecycle tables: ``python -m broker.applications.diagram > docs/state-diagram.md``."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from enum import StrEnum

from broker.applications.lifecycle import FINAL, GRANT_FINAL, GRANT_MOVES, MOVES, GrantState, Move, State

HEAD = """# States of an application and of its grant

This page is written from the tables in `broker/applications/lifecycle.py` by `python -m broker.applications.diagram`, and a test
compares the two. What is not drawn here is not possible.
"""


def _diagram(moves: Iterable[tuple[tuple[StrEnum, StrEnum], Move]], first: StrEnum, final: Iterable[StrEnum]) -> list[str]:
    lines = ["```mermaid", "stateDiagram-v2", f"    [*] --> {first.value}"]
    lines += [f"    {state.value} --> {move.to.value}: {action.value}" for (state, action), move in moves]
    lines += [f"    {state.value} --> [*]" for state in sorted(final)]
    return [*lines, "```"]


def _table(moves: Iterable[tuple[tuple[StrEnum, StrEnum], Move]]) -> list[str]:
    lines = ["| in state | action | by | to | reason | If-Match | four eyes |", "|---|---|---|---|---|---|---|"]
    for (state, action), move in moves:
        by = ", ".join(sorted(move.by)).replace("_", " ")
        marks = ("required" if needed else "" for needed in (move.reason, move.exact, move.decides))
        cells = (state.value, action.value, by, move.to.value, *marks)
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def document() -> str:
    """The page as Markdown with two Mermaid diagrams and two tables."""
    parts = [
        HEAD,
        "## Application\n",
        *_diagram(MOVES.items(), State.DRAFT, FINAL),
        "",
        *_table(MOVES.items()),
        "\nFour eyes: nobody decides who applied or took another step of the same round. The requester, the head who endorses and the",
        "manager who decides are three people, however many accounts they have.",
        "\n## Grant\n",
        "An approval makes one grant. Past its last day it is expired, whether or not the move has been written down.\n",
        *_diagram(GRANT_MOVES.items(), GrantState.ACTIVE, GRANT_FINAL),
        "",
        *_table(GRANT_MOVES.items()),
    ]
    return "\n".join(parts) + "\n"


if __name__ == "__main__":
    sys.stdout.write(document())
