"""A hospital that serves, and one exchange in force, for each module of checks."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from broker.demo.story import Story
from tests.attacks.asking import Caller, caller
from tests.live import hospital


@pytest.fixture(scope="module")
def story(module_database_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    """The demo's hospital on a socket of its own. Refusals come at once: their pace has a test of its own."""
    with hospital(module_database_url, tmp_path_factory.mktemp("var"), refusal_step=0) as running:
        yield running


@pytest.fixture(scope="module")
def its(story: Story) -> Caller:
    """The provincial hospital's token for p1001, and everybody signed in."""
    return caller(story, "clinical.vital-signs")
