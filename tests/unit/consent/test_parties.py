"""People, roles and teams against a second reading of decision 0023 that walks the house itself and shares no code with the broker."""

from __future__ import annotations

from itertools import product
from uuid import UUID

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from broker.consent.compiled import Residual
from broker.consent.parties import MAX_PEOPLE, MAX_TEAMS, Asker, Known, looked_up, named, roles_of, settled
from broker.consent.residual import evaluate_base, gate_for
from broker.consent.values import OPEN, Conditions, Effect, Provision, ResourceFacts, Scope, Use

many = settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])

#: The house: each organisation and what it is part of.
PART_OF = {"h": None, "h-a": "h", "h-b": "h", "k": None}
PEOPLE = ["p1", "p2", "p3"]
NURSE = "http://terminology.hl7.org/CodeSystem/practitioner-role|nurse"
ACCOUNTS = {name: UUID(int=number + 1) for number, name in enumerate(PEOPLE)}
AT = 1_790_000_000
ACTORS = [
    *(f"Organization/{name}" for name in PART_OF),
    *(f"Practitioner/{ACCOUNTS[name]}" for name in PEOPLE),
    "Practitioner/outside",
    "PractitionerRole/held",
    "PractitionerRole/code",
    "PractitionerRole/anywhere",
    "PractitionerRole/gone",
    "Group/g",
    "CareTeam/t",
]


@st.composite
def worlds(draw):
    org, person = st.sampled_from(sorted(PART_OF)), st.sampled_from(PEOPLE)
    world = {
        "places": {name: draw(st.frozensets(org, min_size=1, max_size=2)) for name in PEOPLE},
        "recipient": draw(org),
        "requester": draw(st.none() | person),
        "nurse": draw(st.booleans()),
        "held": {"person": draw(person | st.just("outside")), "at": draw(st.none() | org), "active": draw(st.booleans())},
        "code": {"at": draw(org), "active": draw(st.booleans())},
        "g": draw(st.lists(st.sampled_from(ACTORS[4:11]), min_size=1, max_size=3, unique=True)),
        "t": draw(st.lists(st.sampled_from([*ACTORS[:11], "Group/g", "Patient/p"]), min_size=1, max_size=3, unique=True)),
    }
    actors = st.lists(st.sampled_from([*ACTORS, *ACTORS[-6:], *ACTORS[-6:]]), max_size=2, unique=True)
    trees = draw(st.lists(st.tuples(st.sampled_from(["permit", "deny"]), actors), min_size=1, max_size=draw(st.sampled_from([1, 1, 1, 2, 4]))))
    parents = [None, *(draw(st.integers(0, index - 1)) for index in range(1, len(trees)))]
    return world | {"provisions": [(kind, actors, parent) for (kind, actors), parent in zip(trees, parents, strict=True)]}


# -- the second reading --


class CanNotBeTold(Exception):
    pass


def up(org):
    while org is not None:
        yield org
        org = PART_OF[org]


def receives(world, org):
    """The recipient is it, or is part of it."""
    return org in up(world["recipient"])


def sees(world, org):
    """What the recipient gets is open to it."""
    return receives(world, org) or world["recipient"] in up(org)


def person_of(reference):
    name = next((name for name in PEOPLE if reference == f"Practitioner/{ACCOUNTS[name]}"), None)
    if name is None:
        raise CanNotBeTold
    return name


def permitted(world, reference):
    kind, _, name = reference.partition("/")
    if kind == "Organization":
        return receives(world, name)
    if kind == "Practitioner":
        who = person_of(reference)
        return world["requester"] == who and any(receives(world, place) for place in world["places"][who])
    if reference == "PractitionerRole/gone":
        raise CanNotBeTold
    if reference == "PractitionerRole/held":
        held = world["held"]
        if held["person"] == "outside":
            if held["at"] is None:
                raise CanNotBeTold
            return False
        mine = permitted(world, f"Practitioner/{ACCOUNTS[held['person']]}")
        return mine and held["active"] and (held["at"] is None or receives(world, held["at"]))
    if kind == "PractitionerRole":
        asks = world["nurse"] and world["requester"] and any(receives(world, place) for place in world["places"][world["requester"]])
        return bool(asks) and (name == "anywhere" or (world["code"]["active"] and receives(world, world["code"]["at"])))
    return any(quietly(permitted, world, member) for member in members(world, name))


def denied(world, reference):
    kind, _, name = reference.partition("/")
    if kind == "Organization":
        return sees(world, name)
    if kind == "Practitioner":
        who = person_of(reference)
        return world["requester"] == who or any(sees(world, place) for place in world["places"][who])
    if reference == "PractitionerRole/gone":
        raise CanNotBeTold
    if reference == "PractitionerRole/held":
        held = world["held"]
        there = held["at"] is not None and sees(world, held["at"])
        if held["person"] == "outside":
            if held["at"] is None:
                raise CanNotBeTold
            return there
        return there or denied(world, f"Practitioner/{ACCOUNTS[held['person']]}")
    if kind == "PractitionerRole":
        if name == "anywhere":
            raise CanNotBeTold
        return sees(world, world["code"]["at"])
    return any(denied(world, member) for member in members(world, name))


def quietly(ask, world, reference):
    try:
        return ask(world, reference)
    except CanNotBeTold:
        return False


def members(world, name):
    found = []
    for one in world[name]:
        found += members(world, "g") if one == "Group/g" else [] if one == "Patient/p" else [one]
    return found


def answer(world):
    """``permit``, ``deny`` or ``silent``."""
    counted = {}
    for number, (kind, actors, parent) in enumerate(world["provisions"]):
        for actor in actors:  # Whoever can't be told makes the whole consent one that denies, whichever provision names them.
            try:
                (permitted if kind == "permit" else denied)(world, actor)
            except CanNotBeTold:
                return "deny"
        depth = 0 if parent is None else depth_of(world, number)
        if depth > 1 and parent not in counted:
            continue
        if not actors or any((permitted if kind == "permit" else denied)(world, actor) for actor in actors):
            counted[number] = (depth, kind == "deny")
    return "silent" if not counted else "deny" if max(counted.values())[1] else "permit"


def depth_of(world, number):
    depth = 0
    while world["provisions"][number][2] is not None:
        number, depth = world["provisions"][number][2], depth + 1
    return depth


# -- the broker's --


def stored(world):
    """The resources as the records have them."""
    held, code = world["held"], world["code"]

    def role(name, **more):
        return {"resourceType": "PractitionerRole", "id": name} | more

    at = {} if held["at"] is None else {"organization": {"reference": f"Organization/{held['at']}"}}
    who = held["person"] if held["person"] == "outside" else ACCOUNTS[held["person"]]
    nurse = [{"coding": [dict(zip(("system", "code"), NURSE.split("|"), strict=True))]}]
    found = [
        role("held", practitioner={"reference": f"Practitioner/{who}"}, active=held["active"], **at),
        role("code", code=nurse, active=code["active"], organization={"reference": f"Organization/{code['at']}"}),
        role("anywhere", code=nurse),
        {"resourceType": "Group", "id": "g", "actual": True, "member": [{"entity": {"reference": one}} for one in world["g"]]},
        {"resourceType": "CareTeam", "id": "t", "status": "active", "participant": [{"member": {"reference": one}} for one in world["t"]]},
    ]
    return {f"{one['resourceType']}/{one['id']}": one for one in found}


def asked(world):
    provisions = []
    for number, (kind, actors, parent) in enumerate(world["provisions"]):
        when = Conditions(actors=frozenset(actors) if actors else None)
        provisions.append(Provision(number, parent, depth_of(world, number), f"p{number}", Effect(kind), when))
    residual = Residual("c", 1, Scope.PRIVACY, OPEN, tuple(provisions))
    lineage = frozenset(up(world["recipient"]))
    below = frozenset(one for one in PART_OF if world["recipient"] in up(one))
    accounts = {str(ACCOUNTS[name]): (name, frozenset(places)) for name, places in world["places"].items()}
    requester = None if world["requester"] is None else accounts[str(ACCOUNTS[world["requester"]])]
    roles = roles_of({"licence.nursing"}) if world["nurse"] and requester else frozenset()
    use = Use(frozenset(f"Organization/{one}" for one in lineage), "TREAT", AT)
    known = Known(AT, read_for([residual], world), accounts, {}, requester, roles, lineage, lineage | below)
    return settled([residual], use, known)


def read_for(residuals, world):
    """What a release would read."""
    reading, everything = looked_up(named(residuals)), stored(world)
    try:
        reference = next(reading)
        while True:
            reference = reading.send(everything.get(reference))
    except StopIteration as done:
        return done.value


@many
@given(worlds())
def test_people_roles_and_teams_mean_what_the_second_reading_says(world):
    residuals, use = asked(world)
    said = gate_for(residuals, use).verdict(ResourceFacts("Observation", "o", ("N",))).effect
    assert said == answer(world)
    if said == "permit":
        assert evaluate_base(residuals, use).effect is Effect.PERMIT


def test_each_actor_alone_for_each_recipient_and_each_who_may_apply():
    """All of them, since what is rare by chance is what goes unseen: a denial beside which nothing else denies."""
    base = {"places": {"p1": {"h-a"}, "p2": {"h-b"}, "p3": {"k"}}, "code": {"at": "h-a"}, "g": [ACTORS[4]]}
    fact, seen = ResourceFacts("Observation", "o", ("N",)), set()
    for kind, actor, recipient, requester, nurse, active, at, who in product(
        ("permit", "deny"), ACTORS, PART_OF, (None, *PEOPLE), (False, True), (False, True), (None, "h-a"), ("p2", "outside")
    ):
        world = base | {"recipient": recipient, "requester": requester, "nurse": nurse, "held": {"person": who, "at": at, "active": active}}
        world |= {"code": {"at": "h-a", "active": active}, "t": [ACTORS[5], ACTORS[7]] if at else ["Group/g"]}
        world["provisions"] = [(kind, [actor], None)]
        said = gate_for(*asked(world)).verdict(fact).effect
        assert said == answer(world), world
        seen.add(said.value)
    assert seen == {"permit", "deny", "silent"}


def test_no_more_is_read_than_is_allowed():
    team = {"resourceType": "CareTeam", "id": "t", "status": "active"}
    everybody = [{"member": {"reference": f"PractitionerRole/r{number}"}} for number in range(MAX_PEOPLE + 50)]
    teams = [{"member": {"reference": f"CareTeam/t{number}"}} for number in range(MAX_TEAMS + 5)]
    reading, read = looked_up({"CareTeam/t"}), []
    reference = next(reading)
    try:
        while True:
            read.append(reference)
            body = team | {"participant": [*teams, *everybody]} if reference.startswith("CareTeam") else {"resourceType": "PractitionerRole"}
            reference = reading.send(body)
    except StopIteration as done:
        found = done.value
    assert len(found) == len(read) == MAX_TEAMS + MAX_PEOPLE
    assert len(set(read)) == len(read)


def test_an_asker_without_licences_has_no_role():
    assert roles_of(Asker("h").held) == frozenset()
    assert NURSE in roles_of({"licence.nursing"})
    assert roles_of({"licence.institution", "training.privacy"}) == frozenset()
