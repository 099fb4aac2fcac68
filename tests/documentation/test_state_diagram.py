"""``docs/state-diagram.md`` is what the lifecycle tables say; ``python -m broker.applications.diagram > docs/state-diagram.md`` writes it."""

from pathlib import Path

from broker.applications import diagram
from broker.applications.lifecycle import GRANT_MOVES, MOVES

PAGE = Path(__file__).resolve().parents[2] / "docs" / "state-diagram.md"


def test_the_page_is_what_the_tables_say():
    assert PAGE.read_text(encoding="utf-8") == diagram.document()


def test_every_move_is_drawn_and_tabled():
    page = diagram.document()
    for (state, action), move in [*MOVES.items(), *GRANT_MOVES.items()]:
        assert f"    {state.value} --> {move.to.value}: {action.value}\n" in page
        assert f"| {state.value} | {action.value} | " in page
