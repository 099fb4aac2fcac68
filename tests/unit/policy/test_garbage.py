"""An engine that answers nonsense, late, or not at all: two hundred ways, and each denies as UNAVAILABLE within its deadline (G18, E08)."""

import copy
import json
import logging
import threading
import time

import pytest

from broker.policy.decision import Effect
from broker.policy.engine import PolicyEngine, question
from broker.policy.errors import PolicyUnusable
from broker.policy.opa_server import OpaServerEvaluator
from tests.fakes import opa as fake
from tests.policies.examples import as_facts, changed, release

FACTS = as_facts(release())


@pytest.fixture
def engine(fake_opa, policies):
    return PolicyEngine(OpaServerEvaluator(fake_opa.url, token="secret-token", timeout=0.5), policies)


@pytest.fixture(scope="module")
def good(policies, embedded):
    """The answer that the real policies give."""
    return embedded._evaluator.evaluate(question(FACTS)[0])


def denied(engine):
    started = time.monotonic()
    decision = engine.decide(FACTS)
    assert time.monotonic() - started < 1.5, "a decision that is late must not wait for the engine"
    assert decision.effect is Effect.UNAVAILABLE
    assert not decision.allow
    assert (decision.plan, decision.obligations) == (None, ())
    assert [reason.code for reason in decision.reasons] == ["policy.unavailable"]
    return decision


def test_the_good_answer_is_taken(engine, fake_opa, good):
    fake_opa.answers(fake.result(lambda document: good))
    decision = engine.decide(FACTS)
    assert decision.allow
    assert decision.engine == "opa"
    asked = fake_opa.asked[0]
    assert asked["path"] == "/v1/data/broker/release/decision?strict-builtin-errors=true"
    assert asked["headers"]["Authorization"] == "Bearer secret-token"
    assert asked["input"]["input_hash"] == decision.input_hash


BODIES = {
    "undefined": b"{}",
    "undefined with an id": b'{"decision_id": "1"}',
    "nothing": b"",
    "null": b"null",
    "true": b"true",
    "a list": b"[]",
    "a number": b"1",
    "html": b"<html><body>Bad gateway</body></html>",
    "not utf-8": b'{"result": "\xff\xfe"}',
    "half of a json": b'{"result": {"allow": tr',
    "two answers": b'{"result": {}}{"result": {}}',
    "NaN": b'{"result": {"allow": NaN}}',
    "deep": b'{"result": ' + b"[" * 20_000 + b"]" * 20_000 + b"}",
    "ten megabytes": b'{"result": {"allow": true, "padding": "' + b"x" * 10_000_000 + b'"}}',
}


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
def test_bytes_that_are_no_answer(engine, fake_opa, body):
    fake_opa.answers(fake.raw(body))
    denied(engine)


@pytest.mark.parametrize("status", [201, 204, 301, 302, 307, 308, 400, 401, 403, 404, 429, 500, 502, 503, 504])
def test_other_status_codes(engine, fake_opa, good, status):
    """204 has no body, redirects would take the facts elsewhere; of the rest even a good body is no answer (201 is none of OPA's, but one)."""
    fake_opa.answers(fake.raw(json.dumps({"result": good}).encode() if status != 204 else b"", status=status, headers={"Location": fake_opa.url}))
    if status == 201:
        assert engine.decide(FACTS).allow
    else:
        denied(engine)
        assert len(fake_opa.asked) == 1, "a failed decision is not asked for again, nor anywhere else"


@pytest.mark.parametrize("value", [None, True, False, 1, 0, "true", "", [], {}, {"allow": True}, {"allow": "true"}, {"allow": 1}, [{"allow": True}]])
def test_results_that_are_no_decision(engine, fake_opa, value):
    fake_opa.answers(fake.result(lambda document: value))
    denied(engine)


WRONG = [None, "true", 1, 0, -1, 1.5, "", [], {}, [None], {"x": 1}, True, False, [[]], "\u0000", 2**70]


def mutations(good):
    """Every field of the good answer lost, given another kind of value, or joined by a stranger."""
    places = [("allow",), ("reasons",), ("plan",), ("obligations",), ("necessity",), ("input_hash_echo",), ("revision",)]
    places += [("plan", name) for name in good["plan"]]
    places += [("plan", "labels", name) for name in ("deny", "ceiling")]
    places += [("plan", "windows", name) for name in good["plan"]["windows"]]
    places += [("plan", "limits", name) for name in good["plan"]["limits"]]
    places += [("plan", "types", "Observation", name) for name in good["plan"]["types"]["Observation"]]
    for place in places:
        for wrong in ["<lost>", *WRONG]:
            answer = copy.deepcopy(good)
            holder = answer
            for step in place[:-1]:
                holder = holder[step]
            if wrong == "<lost>":
                del holder[place[-1]]
            elif type(holder[place[-1]]) is type(wrong) and holder[place[-1]] == wrong:
                continue
            else:
                holder[place[-1]] = wrong
            yield f"{'.'.join(place)} = {wrong!r}", answer


#: Of a mutated plan these are values that a plan may well have, so that they are not for the shape to refuse.
POSSIBLE = {
    "plan.windows.standing = 1",
    "plan.windows.standing = 0",
    "plan.windows.standing = -1",
    "plan.windows.recent = 1",
    "plan.windows.recent = 0",
    "plan.windows.recent = -1",
    "plan.windows.latest = 1",
    "plan.windows.latest = 0",
    "plan.windows.latest = -1",
    "plan.windows.end = 1",
    "plan.windows.end = 0",
    "plan.windows.end = -1",
    "plan.limits.releases = 1",
    "plan.limits.releases = 0",
    "plan.consent = '<lost>'",  # Then it is the strictest.
    "necessity = {'x': 1}",
    "plan.types.Observation.codes = []",
    "plan.types.Observation.categories = []",
    "plan.types.Observation.transforms = []",
}


def test_two_hundred_mutated_answers(policies, good):
    """Read directly, since each takes a millisecond; the wire is tested above."""

    class Mutant:
        name, blocking = "opa", True

        def evaluate(self, document):
            return self.answer

    mutant = Mutant()
    engine = PolicyEngine(mutant, policies)
    mutant.answer = good
    assert engine.decide(FACTS).allow
    tried, taken = 0, set()
    for name, mutant.answer in mutations(good):
        tried += 1
        if engine.decide(FACTS).effect is not Effect.UNAVAILABLE:
            taken.add(name)
    assert tried > 200
    assert taken <= POSSIBLE


def _obligations(good, change):
    return [change(each) if each["code"] == "DELAU" else each for each in good["obligations"]]


#: Answers of the right shape that say what these policies can't say.
BEYOND = {
    "no duty to delete": lambda good: {"obligations": [each for each in good["obligations"] if each["code"] != "DELAU"]},
    "deleted later than the limit": lambda good: {"obligations": _obligations(good, lambda each: each | {"days": each["days"] + 1})},
    "deleted at no time": lambda good: {"obligations": _obligations(good, lambda each: {"code": "DELAU"})},
    "two duties to delete": lambda good: {"obligations": [*good["obligations"], {"code": "DELAU", "days": 9999}]},
    "another profile": lambda good: {"plan": good["plan"] | {"profile": "everything"}},
    "a type that the profile has not": lambda good: {"plan": good["plan"] | {"types": good["plan"]["types"] | {
        "Basic": good["plan"]["types"]["Observation"]}}},
    "a higher ceiling": lambda good: {"plan": good["plan"] | {"labels": good["plan"]["labels"] | {"ceiling": "V"}}},
    "the ceiling of what was lifted": lambda good: {"plan": good["plan"] | {"labels": good["plan"]["labels"] | {"ceiling": "R"}}},
    "one label less": lambda good: {"plan": good["plan"] | {"labels": good["plan"]["labels"] | {"deny": good["plan"]["labels"]["deny"][1:]}}},
    "a reason that nobody has": lambda good: {"allow": False, "plan": None, "obligations": [], "reasons": [{"code": "x.y", "message": ""}]},
}  # fmt: skip


@pytest.mark.parametrize("what", BEYOND)
def test_an_answer_beyond_the_tables(policies, good, what):
    """RS-5.2.3: a broken engine can't let more leave than the profile has."""

    class Beyond:
        name, blocking = "opa", True

        def evaluate(self, document):
            return good | BEYOND[what](good)

    assert PolicyEngine(Beyond(), policies).decide(FACTS).effect is Effect.UNAVAILABLE


def test_a_field_too_many(engine, fake_opa, good):
    fake_opa.answers(fake.result(lambda document: good | {"override": True}))
    denied(engine)


def test_the_answer_to_another_question(engine, fake_opa, good, embedded):
    other, _ = question(as_facts(changed(release(), {"patient.key": "other"})))
    fake_opa.answers(fake.result(lambda document: embedded._evaluator.evaluate(other)))
    denied(engine)


def test_policies_of_another_revision(engine, fake_opa, good):
    fake_opa.answers(fake.result(lambda document: good | {"revision": "0" * 64}))
    denied(engine)


def test_a_permit_without_a_plan_and_a_refusal_with_one(engine, fake_opa, good):
    for answer in (
        good | {"plan": None},
        good | {"plan": {**good["plan"], "types": {}}},
        good | {"reasons": [{"code": "grant.revoked", "message": "x"}]},
        good | {"allow": False},
        good | {"allow": False, "plan": None},
        good | {"allow": False, "reasons": [{"code": "grant.revoked", "message": "x"}]},
    ):
        fake_opa.answers(fake.result(lambda document, answer=answer: answer))
        denied(engine)


def test_elements_that_can_not_be_read(engine, fake_opa, good):
    for elements in ("", " ", "code", "id  code", "id code "):
        answer = copy.deepcopy(good)
        answer["plan"]["types"]["Observation"]["elements"] = elements
        fake_opa.answers(fake.result(lambda document, answer=answer: answer))
        denied(engine)


def test_a_slow_answer(engine, fake_opa, good):
    fake_opa.answers(fake.slow(2, json.dumps({"result": good}).encode()))
    denied(engine)


def test_an_answer_that_drips_in(engine, fake_opa, good):
    """Each byte comes within the client's timeout, the whole never does."""
    fake_opa.answers(fake.dripping(json.dumps({"result": good}).encode(), 0.2))
    denied(engine)


def test_an_answer_cut_short_and_a_connection_reset(engine, fake_opa, good):
    fake_opa.answers(fake.truncated(json.dumps({"result": good}).encode()))
    denied(engine)
    fake_opa.answers(fake.reset)
    denied(engine)
    fake_opa.answers(fake.result(lambda document: good))
    assert engine.decide(FACTS).allow, "the next question finds a working connection"


def test_nobody_listens(policies):
    engine = PolicyEngine(OpaServerEvaluator("http://127.0.0.1:9", token=None, timeout=0.5), policies)
    denied(engine)


def test_too_many_answers_under_way(engine, monkeypatch):
    """A server that never ends an answer must not cost a thread for each question for ever."""
    ended, begun = threading.Event(), []

    def never(document, answered):
        begun.append(document)
        ended.wait(5)

    monkeypatch.setattr(engine._evaluator, "_ask", never)
    monkeypatch.setattr(engine._evaluator, "_timeout", 0.001)
    for _ in range(70):
        denied(engine)
    ended.set()
    assert len(begun) == 64


def test_what_is_logged_holds_no_fact(engine, fake_opa, caplog):
    fake_opa.answers(fake.result(lambda document: document))
    with caplog.at_level(logging.ERROR):
        denied(engine)
    assert "AnswerUnusable" in caplog.text
    assert "ab12" not in caplog.text
    assert "secret-token" not in caplog.text


@pytest.mark.parametrize("url", ["ftp://opa:8181", "http://opa:8181/prefix", "http://user@opa:8181", "opa:8181", "http://", "http://opa/?a=b"])
def test_addresses_that_are_none(url):
    with pytest.raises(PolicyUnusable):
        OpaServerEvaluator(url, token=None, timeout=1)


def test_proxies_of_the_environment_are_not_asked(fake_opa, policies, good, monkeypatch):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.delenv("no_proxy", raising=False)
    engine = PolicyEngine(OpaServerEvaluator(fake_opa.url, token=None, timeout=1), policies)
    fake_opa.answers(fake.result(lambda document: good))
    assert engine.decide(FACTS).allow
