"""Front door: the engine that decides, and the catalogues that policy keeps as data."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from broker.errors import Problem
from broker.policy.bundle import archive, unpack
from broker.policy.compiled import MODULE, CompiledEvaluator, found
from broker.policy.compiling import compiled
from broker.policy.control import compared
from broker.policy.decision import Decision
from broker.policy.decisions import INSERT_DECISION, opened, row_of
from broker.policy.documentation import readme
from broker.policy.embedded import EmbeddedEvaluator
from broker.policy.emergency_engine import EmergencyEngine, switched_on
from broker.policy.engine import Evaluator, PolicyEngine
from broker.policy.errors import PolicyUnusable
from broker.policy.live import NOTICE, LiveEngine, Scheduled, kept, schedule
from broker.policy.memo import RememberingEngine
from broker.policy.opa_server import OpaServerEvaluator
from broker.policy.packing import files_of, packed, policy_set_of, unpacked
from broker.policy.policy_set import SHIPPED, PolicySet, load, policies
from broker.policy.static_checks import problems
from broker.settings import Settings, settings

__all__ = [
    "INSERT_DECISION",
    "NOTICE",
    "Catalogue",
    "DataClass",
    "LiveEngine",
    "PolicyEngine",
    "PolicySet",
    "PolicyUnusable",
    "RememberingEngine",
    "Scheduled",
    "Text",
    "archive",
    "build_engine",
    "catalogue",
    "checked",
    "checked_draft",
    "compared",
    "compiled",
    "decide_form",
    "embedded_engine",
    "files_of",
    "kept",
    "kept_by_recipients",
    "lawful_bases",
    "live_engine",
    "loaded",
    "opened",
    "packed",
    "policies",
    "policy_set_of",
    "problems",
    "purposes",
    "readme",
    "reasons",
    "recognition",
    "row_of",
    "schedule",
    "transfer_routes",
    "unpack",
    "unpacked",
]


@dataclass(frozen=True)
class Text:
    """A name in both languages; for reasons, with what to do next."""

    zh: str
    en: str
    help_zh: str = ""
    help_en: str = ""


@dataclass(frozen=True)
class DataClass:
    """A class of the catalogue (RS-5.1). ``level``: GB/T 39725-2020, 1 to 5. ``lifts``: the sensitive category that it asks for."""

    code: str
    name: Text
    level: int
    types: tuple[str, ...]
    lifts: str | None


@dataclass(frozen=True)
class Catalogue:
    """The data classes, and the resource types that any least-necessary profile may release."""

    classes: Mapping[str, DataClass]
    types: tuple[str, ...]  #: sorted

    @cached_property
    def codes(self) -> frozenset[str]:
        """The codes that an application may name."""
        return frozenset(self.classes)

    @cached_property
    def types_of(self) -> Mapping[str, tuple[str, ...]]:
        """Code → the resource types that the class reaches, sorted."""
        return {code: each.types for code, each in self.classes.items()}


def build_engine(chosen: Settings, policy_set: PolicySet | None = None, also: Callable[[], frozenset[str]] = frozenset) -> PolicyEngine:
    """The engine that the settings name, from policies that passed every static check. Raises PolicyUnusable.

    ``policy_set``: others than the settings name. ``also``: revisions that an answer may carry besides theirs.
    """
    policy_set = policy_set or policies(chosen)
    wrong = problems(policy_set)
    if wrong:
        raise PolicyUnusable("the policies break their own rules", problems=wrong)
    evaluator = _evaluator(chosen, policy_set)
    if evaluator.blocking and switched_on(policy_set):
        return EmergencyEngine(evaluator, _embedded(policy_set), policy_set, also)
    return PolicyEngine(evaluator, policy_set, also)


def embedded_engine(policy_set: PolicySet) -> PolicyEngine:
    """An engine of its own for policies that decide nothing yet: for tests and for replay. Raises PolicyUnusable."""
    return PolicyEngine(_embedded(policy_set), policy_set)


def live_engine(chosen: Settings) -> LiveEngine:
    """The engine that goes by the schedule of revisions; it must be refreshed. Raises PolicyUnusable."""
    return LiveEngine(policies(chosen), lambda policy_set, also: build_engine(chosen, policy_set, also))


def _evaluator(chosen: Settings, policy_set: PolicySet) -> Evaluator:
    if chosen.policy_engine == "opa":
        token = chosen.opa_token.get_secret_value() if chosen.opa_token else None
        return OpaServerEvaluator(chosen.opa_url, token=token, timeout=chosen.policy_timeout)
    return _embedded(policy_set)


def _embedded(policy_set: PolicySet) -> Evaluator:
    """OPA's own compilation where there is one of exactly these Rego modules, rego-cpp otherwise."""
    module = found(policy_set, policy_set.folder, SHIPPED)
    return EmbeddedEvaluator(policy_set) if module is None else CompiledEvaluator(policy_set, module)


def catalogue(policy_set: PolicySet | None = None) -> Catalogue:
    """The catalogue of data classes; of the policies that the settings name, unless others are given."""
    data = _data(policy_set)
    classes = {
        code: DataClass(
            code=code,
            name=_text(row["name"]),
            level=row["level"],
            types=tuple(sorted({*row["types"], *(part["type"] for part in row["parts"])})),
            lifts=row["lifts"],
        )
        for code, row in data["data_classes"].items()
    }
    return Catalogue(classes, tuple(sorted({name for profile in data["profiles"].values() for name in profile["types"]})))


def reasons(policy_set: PolicySet | None = None) -> Mapping[str, Text]:
    """Permanent code → sentence and what to do next, of every reason that a decision or a necessity report may give."""
    return {code: _said(words) for code, words in _data(policy_set)["reasons"].items()}


def purposes(policy_set: PolicySet | None = None) -> Mapping[str, Text]:
    """HL7 v3 PurposeOfUse codes for which something is shared → name."""
    return {code: _text(row["name"]) for code, row in _data(policy_set)["purposes"].items() if row["judged_as"]}


def lawful_bases(policy_set: PolicySet | None = None) -> Mapping[str, Text]:
    """Codes of the lawful bases (PIPL 13) → name."""
    return {code: _text(row["name"]) for code, row in _data(policy_set)["lawful_bases"].items()}


def transfer_routes(policy_set: PolicySet | None = None) -> Mapping[str, Text]:
    """Codes of the legal routes for a transfer abroad (PIPL 38) → name."""
    return {code: _text(row["name"]) for code, row in _data(policy_set)["transfer_routes"].items()}


def kept_by_recipients(policy_set: PolicySet | None = None) -> tuple[tuple[Text, int], ...]:
    """Days after which a recipient deletes what it got (DELAU), by the name of the least-necessary profile; the shortest first."""
    found = [
        (Text(profile["name"]["zh"], profile["name"]["en"]), int(profile["limits"]["retention_days"]))
        for profile in _data(policy_set)["profiles"].values()
        if profile["limits"].get("retention_days")
    ]
    return tuple(sorted(found, key=lambda one: (one[1], one[0].en)))


def recognition(policy_set: PolicySet | None = None) -> Mapping[str, Any]:
    """Examinations whose results may be taken over instead of repeated, by name: codes that count as equal, days (RS-2.2)."""
    rules: Mapping[str, Any] = _data(policy_set)["recognition"]
    return rules


def loaded(folder: Path | None = None) -> PolicySet:
    """The policies of a folder, or those that the settings name. Raises PolicyUnusable with every problem of files and schemas."""
    return policies(settings()) if folder is None else load(folder)


def checked(folder: Path | None = None) -> tuple[PolicySet | None, tuple[Problem, ...]]:
    """The policies, if they can be read, and everything wrong with them: files, schemas, static checks, the page, what was compiled of them."""
    try:
        policy_set = loaded(folder)
    except PolicyUnusable as error:
        return None, error.problems
    wrong = problems(policy_set)
    page = policy_set.folder / "README.md"
    if not wrong and (not page.exists() or page.read_text(encoding="utf-8") != readme(policy_set)):
        wrong = (Problem("README.md", "documentation", "is out of date: run `broker policy document`"),)
    if not wrong and (policy_set.folder / MODULE).exists() and found(policy_set, policy_set.folder) is None:
        wrong = (Problem(MODULE, "compiled", "is not of this Rego: run `broker policy compile`, or take its folder away"),)
    return policy_set, wrong


def checked_draft(folder: Path) -> tuple[PolicySet | None, tuple[Problem, ...]]:
    """The policies of a draft's folder, and what the static checks find in it; the page about them is written when it is shipped."""
    try:
        policy_set = load(folder)
    except PolicyUnusable as error:
        return None, error.problems
    return policy_set, problems(policy_set)


def decide_form(form: dict[str, Any], folder: Path | None = None) -> Decision:
    """One decision on facts in JSON form, for trying a policy out. Facts that are none are answered with UNAVAILABLE."""
    chosen = settings() if folder is None else settings().model_copy(update={"policies": folder})
    return build_engine(chosen).decide_form(form)


def _data(policy_set: PolicySet | None) -> Mapping[str, Any]:
    return (policy_set or policies(settings())).data


def _said(words: Mapping[str, Any]) -> Text:
    return Text(zh=words["zh"], en=words["en"], help_zh=words["help_zh"], help_en=words["help_en"])


def _text(name: Mapping[str, str]) -> Text:
    return Text(zh=name["zh"], en=name["en"])
