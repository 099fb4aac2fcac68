"""Each role begins at its own work (RS-5.3)."""

from uuid import UUID

import pytest

from broker.console import navigation
from broker.identity.access import PersonCaller, Role

STARTS = {
    Role.APPLICANT: "/console/applications",
    Role.DEPARTMENT_HEAD: "/console/endorse",
    Role.INFORMATION_MANAGER: "/console/decide",
    Role.AUDITOR: "/console/exchanges",
    Role.ADMINISTRATOR: "/console/people",
    Role.REGULATOR: "/console/supervision",
}


@pytest.mark.parametrize("role", Role)
def test_each_role_begins_at_its_own_work(role):
    caller = PersonCaller(UUID(int=1), "somebody", "somebody", "renhe", frozenset({role}), "zh")
    assert navigation.start(caller) == STARTS[role]


@pytest.mark.parametrize("role", [Role.ADMINISTRATOR, Role.REGULATOR])
def test_who_has_no_part_in_sharing_sees_no_page_of_it(role):
    caller = PersonCaller(UUID(int=1), "somebody", "somebody", "renhe", frozenset({role}), "zh")
    seen = {entry.path for entry in navigation.entries(caller)}
    assert not seen & {f"/console/{page}" for page in ("exchanges", "withdrawals", "recalls", "obligations", "transmissions", "decide", "explain")}
