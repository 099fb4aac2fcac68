"""``docs/state-diagram.md``, written from the lifecycle tables: ``python -m broker.applications.diagram > docs/state-diagram.md``."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from enum import StrEnum

from broker.applications.lifecycle import FINAL, GRANT_FINAL, GRANT_MOVES, MOVES, GrantState, Move, Part, State

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


def _matrix(moves: Iterable[tuple[tuple[StrEnum, StrEnum], Move]]) -> list[str]:
    """Which part may do what in which state: one row for each state, one column for each part."""
    found: dict[tuple[str, str], list[str]] = {}
    for (state, action), move in moves:
        for part in move.by:
            found.setdefault((state.value, part.value), []).append(action.value)
    states = dict.fromkeys(state for state, _ in found)
    parts = [part.value for part in Part if any(one == part.value for _, one in found)]
    lines = ["| | " + " | ".join(part.replace("_", " ") for part in parts) + " |", "|---" * (len(parts) + 1) + "|"]
    lines += [f"| **{state}** | " + " | ".join(", ".join(found.get((state, part), ())) for part in parts) + " |" for state in states]
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
        "Agree, legality, necessity and concur are taken in any order while it is endorsed; approval asks for those that this application",
        "needs (docs/decisions, application workflow). Whoever reviewed legality or necessity may decide too.",
        "\n### Who may do what\n",
        *_matrix(MOVES.items()),
        "\n## Grant\n",
        "An approval makes one grant, active at once where no terms of use are to be accepted. Past its last day it is expired, whether or",
        "not the move has been written down.\n",
        *_diagram(GRANT_MOVES.items(), GrantState.AWAITING, GRANT_FINAL),
        "",
        *_table(GRANT_MOVES.items()),
        "\n### Who may do what with it\n",
        *_matrix(GRANT_MOVES.items()),
    ]
    return "\n".join(parts) + "\n"


if __name__ == "__main__":
    sys.stdout.write(document())
