"""The app's families of routes as an attacker sees them: who may call, how an error must look, that nothing is lost."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from broker.demo.story import TREATMENT, Story
from tests.wire import Answer, call

#: Stands in for whatever was sent: no answer may repeat it.
CANARY = "CANARY-7f3a"

JSON = "application/json"
FHIR = "application/fhir+json"
FORM = "application/x-www-form-urlencoded"


#: An access token lives 300 s (SMART 2.2) and a module of attacks may take longer; what is younger than this is used again.
YOUNG_SECONDS = 45


@dataclass
class Credentials(Mapping[str, str]):
    """Authorization by who calls, each got anew before it grows old: a slow machine must not make an attack out of a good request."""

    makers: dict[str, Callable[[], str]]
    held: dict[str, tuple[float, str]] = field(default_factory=dict)

    def __getitem__(self, who: str) -> str:
        if who not in self.held or time.monotonic() - self.held[who][0] > YOUNG_SECONDS:
            self.held[who] = time.monotonic(), self.makers[who]()
        return self.held[who][1]

    def __iter__(self) -> Iterator[str]:
        return iter(self.makers)

    def __len__(self) -> int:
        return len(self.makers)


@dataclass(frozen=True)
class Caller:
    """The hospital with one exchange in force, and a credential of each kind."""

    story: Story
    number: str  #: of the application
    credentials: Credentials

    def call(self, method: str, path: str, *headers: tuple[str, str | bytes], who: str = "", body: bytes = b"") -> Answer:
        """One request, with the credential of somebody, or with none."""
        signed = [("Authorization", self.credentials[who])] if who else []
        return call(self.story, method, path.replace("{number}", self.number), *signed, *headers, body=body)

    def well(self) -> None:
        """A good request of each family still works: nothing was lost, nobody locked out."""
        for who, path in (
            ("client", "/fhir/Patient/p1001"), ("manager", "/fhir/Consent?patient=p1001"), ("applicant", "/api/v1/applications/{number}"),
            ("", "/fhir/metadata"), ("", "/oauth2/jwks"), ("", "/opa/bundles/broker.tar.gz"), ("", "/readyz"),
        ):  # fmt: skip
            answer = self.call("GET", path, who=who)
            assert answer.status == 200, (path, answer.status)


def caller(story: Story, *more: str) -> Caller:
    """Let the provincial hospital have the record of p1001, with these data classes besides, and sign everybody in."""
    story.file_consent("p1001", "shengli", without=("PSY",))
    number = story.apply("gao.min", "shengli-cardiology", "p1001", "TREAT", "consent", [*TREATMENT, *({"data_class": name} for name in more)])[
        "number"
    ]
    story.decide(number, "song.yi", "deng.li")
    people = {"applicant": "gao.min", "manager": "deng.li", "administrator": "peng.bo", "auditor": "cao.yan"}
    makers = {part: lambda name=name: _session(story, name) for part, name in people.items()}
    token = lambda: f"Bearer {story.system('shengli-his').token(number)['access_token']}"  # noqa: E731 - a maker like the others
    return Caller(story, number, Credentials({**makers, "client": token}))


def _session(story: Story, name: str) -> str:
    """A session spares argon2's cost at each call."""
    opened = story.http.post("/api/v1/session", json={"username": name, "password": story.cast.passwords[name]})
    return f"Bearer {opened.json()['token']}"


def check_form(answer: Answer, path: str, language: str = "en", *, statuses: tuple[int, ...] = ()) -> None:
    """An error of the right form and language that repeats nothing of what was sent, and is no fault of ours."""
    assert answer.status in statuses if statuses else 400 <= answer.status < 500, (path, answer.status, answer.text[:300])
    assert CANARY not in answer.text
    assert CANARY not in str(answer.headers)
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert len(answer.headers["x-request-id"]) == 32
    kind = answer.headers["content-type"].partition(";")[0]
    if path.partition("?")[0].split("/")[1:2] == ["console"]:  # A page for people, in their language; nothing of ours in it but words.
        assert kind == "text/html"
        assert f'<html lang="{"zh" if language == "zh" else "en"}' in answer.text
        assert "Traceback" not in answer.text
        return
    document = answer.json()
    chinese = any("\u4e00" <= letter <= "\u9fff" for letter in answer.text)
    if path.startswith("/fhir"):
        assert kind == FHIR
        assert document["resourceType"] == "OperationOutcome"
        assert document["id"] == answer.headers["x-request-id"]
        assert all(issue["severity"] in ("error", "fatal") and issue["code"] for issue in document["issue"])
        assert document["issue"][0]["details"]["text"]
        assert chinese == (language == "zh")
    elif path.startswith("/oauth2"):
        assert kind == JSON
        assert document.keys() <= {"error", "error_description", "error_uri"}
        assert document["error_description"].isascii()  # RFC 6749 5.2
    else:
        assert kind == "application/problem+json"
        assert {"type", "title", "status", "detail", "code", "help", "request_id"} <= document.keys()
        assert document["status"] == answer.status
        assert document["request_id"] == answer.headers["x-request-id"]
        assert chinese == (language == "zh")
        assert all({"path", "code", "message"} == problem.keys() for problem in document.get("errors", ()))
