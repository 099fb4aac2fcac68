"""What must hold of policies before anybody asks them. Done when policies are loaded, by ``broker policy check``, and in CI.

The embedded engine turns what it does not know into *undefined* and reads a few forms of Rego wrongly; both are let out by an
allow-list of built-ins and by a plain dialect, which both engines are shown to agree on (``tests/policies``). The rest keeps
Rego, data and words together: every rule says what it is, every reason has its sentences, every profile stays within R4's needs.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from broker.errors import Problem
from broker.policy import data_checks
from broker.policy.metadata import blocks, denied_code, package_of, rules
from broker.policy.policy_set import PolicySet

#: Built-ins that both engines are shown to agree on. A new one needs a row in tests/policies/test_dialect.py first. ``max`` and ``min``
#: are missing because the embedded engine orders numbers by their digits (3 above 20); so does its ``sort``, which is for texts alone.
BUILTINS = frozenset(
    {
        "array.concat", "concat", "count", "object.filter", "object.get", "object.keys", "object.remove", "object.union",
        "sort", "split",
    }
)  # fmt: skip

_RULES = "broker/release/rules/"
_RELEASE = "broker/release/release.rego"

#: Words of Rego that the dialect leaves out, each with the reason.
_BANNED = {
    "not": "an allow must never rest on something that could not be computed; compare with == false instead",
    "with": "belongs to tests; the embedded engine trips over it",
    "else": "hides which case applies; write two rules whose conditions exclude each other",
    "every": "the embedded engine reads it wrongly on one line; count instead",
    "walk": "the embedded engine does not know it",
}

_CALL = re.compile(r"\b([a-z_][\w]*(?:\.[a-z_][\w]*)*)\(")
_STRING = re.compile(r'"(?:[^"\\]|\\.)*"')
#: ``x in y == z`` means ``x in (y == z)`` to one reader and ``(x in y) == z`` to another, and `opa fmt` takes the brackets away.
_MEMBER_COMPARED = re.compile(r"\bin\b[^|{}]*?(?:==|!=|<|>)")


def problems(policies: PolicySet) -> tuple[Problem, ...]:
    """Everything wrong with these policies; empty when they may be used."""
    found = [problem for path, source in policies.modules.items() for problem in _module(path, source)]
    return (*found, *_completeness(policies), *_reasons(policies), *data_checks.problems(policies))


def _module(path: str, source: str) -> Iterator[Problem]:
    folder = path.rsplit("/", 1)[0].replace("/", ".")
    if package_of(source) != folder:
        yield Problem(path, "package", f"the package must be named for its folder: {folder}")
    yield from _dialect(path, source)
    yield from _documented(path, source)


def _dialect(path: str, source: str) -> Iterator[Problem]:
    own = {rule.name for rule in rules(source)}
    for number, raw in enumerate(source.splitlines(), 1):
        line = _STRING.sub('""', raw.split("#", 1)[0])
        where = f"{path}:{number}"
        for call in _CALL.findall(line):
            if call not in BUILTINS and call not in own:
                yield Problem(where, "built-in", f"{call} is not on the list of built-ins that both engines agree on")
        for word, why in _BANNED.items():
            if re.search(rf"\b{word}\b", line):
                yield Problem(where, "dialect", f"`{word}`: {why}")
        if re.search(r"\bconsents\b", raw.split("#", 1)[0]):
            yield Problem(where, "dialect", "the names of the consents are for the record; no engine is given them")
        if _MEMBER_COMPARED.search(line):
            yield Problem(where, "dialect", "give `x in y` a name of its own before it is compared")
    for head in _comprehension_heads(_STRING.sub('""', re.sub(r"#.*", "", source))):
        if not re.fullmatch(r"\w+", head):
            yield Problem(path, "dialect", f"the head of a comprehension must be a name that its body sets: {head}")
    if re.search(r"^default (allow|satisfied) := true", source, re.MULTILINE):
        yield Problem(path, "default", "nothing is allowed by default")


def _comprehension_heads(source: str) -> Iterator[str]:
    """What stands between an opening bracket and ``|``. In the embedded engine a head that is more than a name loses names bound outside."""
    opened: list[tuple[str, int]] = []
    for at, sign in enumerate(source):
        if sign in "[{(":
            opened.append((sign, at))
        elif sign in "]})" and opened:
            opened.pop()
        elif sign == "|" and opened and opened[-1][0] in "[{":
            head = source[opened[-1][1] + 1 : at].strip()
            if "\n" not in head:  # A body in curly brackets may hold a union of sets.
                yield head


def _documented(path: str, source: str) -> Iterator[Problem]:
    found = blocks(source)
    package = next((each for each in found if each.subject == "package"), None)
    if package is None or not package.fields.get("title") or not package.fields.get("description"):
        yield Problem(path, "metadata", "the package needs METADATA with title and description")
    for each in found:
        if not each.fields.get("title"):
            yield Problem(f"{path}:{each.line}", "metadata", "METADATA needs a title")
        if denied_code(each.head) != each.fields.get("custom.code"):
            yield Problem(f"{path}:{each.line}", "metadata", "custom.code must be the code that the rule gives")
    told = set()
    for rule in rules(source):
        subject = denied_code(rule.head) or rule.name
        if not rule.annotated and not rule.default and subject not in told:
            yield Problem(f"{path}:{rule.line}", "metadata", f"the first rule of `{subject}` needs METADATA")
        if not rule.default:
            told.add(subject)


def _completeness(policies: PolicySet) -> Iterator[Problem]:
    """Each rule's package must be asked for its yes and for its no, by name, so that a file taken away or forgotten never widens access."""
    release = policies.modules.get(_RELEASE, "")
    for path, source in policies.modules.items():
        if not path.startswith(_RULES):
            continue
        rule = path.removeprefix(_RULES).split("/", 1)[0]
        if "\ndefault satisfied := false\n" not in source:
            yield Problem(path, "rule", "a rule must say yes: `default satisfied := false`, and when it is true")
        if f'"{rule}": {{"yes": rules.{rule}.satisfied, "no": rules.{rule}.deny}}' not in release:
            yield Problem(_RELEASE, "rule", f'the rule {rule} is not asked: "{rule}": {{"yes": rules.{rule}.satisfied, "no": rules.{rule}.deny}},')


def given_codes(policies: PolicySet) -> dict[str, str]:
    """Every reason code that these policies or their engine may give → where it stands."""
    codes = {"policy.unavailable": "broker/policy/engine.py"}
    for path, source in policies.modules.items():
        for rule in rules(source):
            denied = denied_code(rule.head)
            if denied:
                codes.setdefault(denied, path)
        codes |= dict.fromkeys(re.findall(r'"reason": "(cut\.[a-z-]+)"', source), path)
        if path.startswith(_RULES):
            codes[f"{path.removeprefix(_RULES).split('/', 1)[0]}.undetermined"] = path
    return codes


def _reasons(policies: PolicySet) -> Iterator[Problem]:
    given, told = given_codes(policies), policies.data["reasons"]
    for code in sorted(given.keys() - told.keys()):
        yield Problem(given[code], "reason", f"{code} has no sentences in data/reasons.json")
    for code, words in sorted(told.items()):
        if (code in given) == ("retired" in words):
            yield Problem("data/reasons.json", "reason", f"{code} is retired and yet given" if code in given else f"nothing gives {code}")
    for code, path in sorted(given.items()):
        rule = path.removeprefix(_RULES).split("/", 1)[0]
        if path.startswith(_RULES) and code.split(".", 1)[0] != rule:
            yield Problem(path, "reason", f"{code} must begin with the name of its rule, {rule}")
