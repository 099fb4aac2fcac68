"""A hospital that serves, for each module of journeys."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from broker.demo.story import Story
from tests.live import hospital


@pytest.fixture(scope="module")
def story(module_database_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    """The demo's hospital on a socket of its own."""
    with hospital(module_database_url, tmp_path_factory.mktemp("var"), refusal_step=0) as running:
        yield running
