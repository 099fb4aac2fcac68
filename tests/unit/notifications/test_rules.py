"""What may be said in a notification, when it is sent again, and where a webhook may go."""

from datetime import UTC, datetime, timedelta
from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.feedback.models import ConcernKind
from broker.incidents.rules import Audience
from broker.incidents.rules import Kind as Incident
from broker.incidents.sanctions import Sanction
from broker.notifications.addresses import allowed, networks, target, url_problem
from broker.notifications.errors import NotDelivered, UndeliverableKind
from broker.notifications.fact_words import worded
from broker.notifications.kinds import KINDS
from broker.notifications.rules import AGAIN, check_facts, check_recipient, next_try
from broker.notifications.sending import signature
from broker.requests.rules import Kind as Request

NOW = datetime(2026, 11, 23, tzinfo=UTC)


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_every_kind_speaks_both_languages_and_of_the_same_facts(kind):
    found = KINDS[kind]
    assert any("\u4e00" <= one <= "\u9fff" for one in found.subject_zh)
    assert any("\u4e00" <= one <= "\u9fff" for one in found.body_zh)
    assert found.subject_en.isascii()
    assert found.body_en.isascii()
    assert found.path.startswith("/console")
    facts = dict.fromkeys(found.facts, "x1")
    check_facts(facts, found.facts)
    for text in (found.subject_en, found.subject_zh, found.body_en, found.body_zh, found.path):
        assert "{" not in text.format_map(facts)


def test_a_message_holds_words_and_the_hospitals_time_and_no_codes():
    """Every code of the tables that messages name has its words in both languages (RS-5.4)."""
    codes = {
        "audience": Audience, "sanction": Sanction, "reason": ("withdrawn", "corrected", "erased"),
        "kind": (*Incident, *Request, *ConcernKind),
    }  # fmt: skip
    for fact, known in codes.items():
        for code in known:
            said = [worded({fact: str(code)}, language, "Asia/Shanghai")[fact] for language in ("zh", "en")]
            assert any("\u4e00" <= one <= "\u9fff" for one in said[0]), code
            assert said[1].isascii(), code
    assert worded({"due": "2026-11-27T20:57Z", "day": "2026-11-27", "case": "VC-2026-000001", "n": 3}, "zh", "Asia/Shanghai") == {
        "due": "2026-11-28 04:57", "day": "2026-11-27", "case": "VC-2026-000001", "n": 3,
    }  # fmt: skip


@given(st.text(max_size=300) | st.binary() | st.none() | st.floats() | st.booleans())
def test_a_fact_is_a_code_or_a_number(value):
    good = isinstance(value, str) and 1 <= len(value) <= 200 and all(33 <= ord(one) <= 126 for one in value)
    if good:
        check_facts({"application": value}, {"application"})
    else:
        with pytest.raises(UndeliverableKind):
            check_facts({"application": value}, {"application"})


@pytest.mark.parametrize("facts", [{}, {"application": "SA-1", "patient": "p1"}, {"patient": "p1"}])
def test_a_notification_says_what_its_kind_names_and_no_more(facts):
    with pytest.raises(UndeliverableKind):
        check_facts(facts, {"application"})


@pytest.mark.parametrize("recipient", ["", "person:", "role:x", "person:张三", "organization:a b", "client:a\nb", "someone"])
def test_a_recipient_is_a_person_an_organisation_or_a_client(recipient):
    with pytest.raises(UndeliverableKind):
        check_recipient(recipient)


def test_tries_grow_rarer_and_end():
    waits = [next_try(attempt, NOW) for attempt in range(1, len(AGAIN) + 2)]
    assert waits[-1] is None
    assert [at - NOW for at in waits[:-1]] == sorted(AGAIN)
    assert sum(AGAIN, timedelta()) < timedelta(days=4)


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "224.0.0.1", "255.255.255.255",
     "::1", "::", "fe80::1", "fc00::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "64:ff9b:1::1", "2001:db8::1", "ff02::1"],
)  # fmt: skip
def test_nothing_inside_is_reached(address):
    assert not allowed(ip_address(address), "https", ())
    with pytest.raises(NotDelivered, match="address-not-allowed"):
        target("https://hook.example/x", (), lambda _host, _port: ["93.184.216.34", address])


def test_named_networks_are_reached_and_no_others():
    inside = networks("10.20.0.0/16, fd00:1::/32")
    assert allowed(ip_address("10.20.3.4"), "http", inside)
    assert allowed(ip_address("fd00:1::5"), "https", inside)
    assert allowed(ip_address("::ffff:10.20.3.4"), "https", inside)
    assert not allowed(ip_address("10.21.3.4"), "https", inside)
    assert not allowed(ip_address("93.184.216.34"), "http", inside)


@pytest.mark.parametrize(
    "url",
    ["http://hook.example/", "ftp://hook.example/", "https://", "https://user@hook.example/", "https://a:b@hook.example/", "https://hook.example/#x",
     "https://hook.example/ x", "https://hook.example:99999/", "https://钩.example/", "file:///etc/passwd", "https://[::1", "https://hook.example:0/"],
)  # fmt: skip
def test_urls_that_are_none(url):
    assert url_problem(url, inside=False)
    with pytest.raises(NotDelivered):
        target(url, (), lambda _host, _port: ["93.184.216.34"])


def test_the_connection_goes_to_the_address_that_was_looked_up():
    """A name that answers differently the second time (DNS rebinding) finds nobody who asks."""
    asked = []
    where = target("https://hook.example:8443/a?b=1", (), lambda host, port: asked.append((host, port)) or ["93.184.216.34"])
    assert asked == [("hook.example", 8443)]
    assert (where.url, where.authority, where.host) == ("https://93.184.216.34:8443/a?b=1", "hook.example:8443", "hook.example")


def test_the_signature_is_that_of_standard_webhooks():
    """The example of the specification's own libraries (standard-webhooks, all languages)."""
    import base64

    secret = base64.b64decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    assert signature(secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}') == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
