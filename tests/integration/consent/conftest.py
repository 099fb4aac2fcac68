import pytest

from tests.factories import consent as factory


@pytest.fixture
def house(database, keys):
    """Organisations, and the patients p1 and p2; their blinded keys."""
    with database.transaction() as session:
        factory.house(session)
        return {name: factory.patient(session, keys, name) for name in ("p1", "p2")}
