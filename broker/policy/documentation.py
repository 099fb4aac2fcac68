"""``policies/README.md``, written from what the policies say of themselves, so that it is never out of date."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from broker.policy.metadata import Annotation, blocks, denied_code
from broker.policy.policy_set import PolicySet

_RULES = "broker/release/rules/"

_OPENING = """\
# Policies

May this data leave, to whom, reduced to what, with which obligations? The broker asks one document, `data.broker.release.decision`,
before an approval (`question: assess`) and before every release (`question: release`). This page is written by `broker policy document`
from the METADATA of the rules and from `data/`; `broker policy check` fails when it is out of date.

## How a decision is made

1. **In** goes `{facts, input_hash}` (`input.schema.json`; built by `broker/policy/facts.py`): what is asked, the agreed terms, who calls,
   who will hold the data, about whom, and what the patient's consents say. No clinical content, no names, times as epoch seconds.
2. **Every required rule must say yes** (`satisfied`, false by default) **and none may say no** (`deny`). A rule that says neither is
   `undetermined`. The rules are asked by name in `broker/release/release.rego`. In a declared emergency the rule `emergency` stands in for
   `grant`; everything else stays.
3. **Out** comes `{allow, reasons, plan, obligations, necessity, input_hash_echo, revision}`. The plan is what was asked, cut down to the
   least-necessary profile (`broker/release/plan/plan.rego`). For an assessment `necessity` says what was cut, and why
   (`broker/release/cuts/cuts.rego`).
4. The broker acts only on an answer of exactly that shape that echoes the hash of this question and names the revision of these policies
   (`broker/policy/answer.py`). Anything else is *unavailable*: denied, recorded, alarmed.

## Changing something

| to | change |
|---|---|
| let less or more leave for a purpose | `data/profiles/<profile>.json`; no Rego |
| open a purpose for a kind of recipient | `data/profile_index.json` |
| add a data class | `data/data_classes.json` |
| say a reason better | `data/reasons.json`; its code is permanent |
| add a rule | a folder in `broker/release/rules/` with rule, test and the sentences of its codes (`reasons.json`); a line in `release.rego` |

Each table has a JSON Schema beside it. Then: `broker policy document`, `broker policy check`, `broker policy test`, `pytest tests/policies`.
After a change of Rego also `broker policy compile`: the embedded engine runs what OPA compiled (`compiled/`), and Rego that was not compiled
on rego-cpp, some twenty times slower.

The dialect is narrow on purpose: every engine must give the same answer (`docs/decisions/0009-policy-must-say-yes.md`).
`broker policy check` names what is outside of it.
"""


def readme(policies: PolicySet) -> str:
    """The page."""
    return "\n".join([_OPENING, *_rules(policies), *_tables(policies)]).rstrip() + "\n"


def _rules(policies: PolicySet) -> Iterator[str]:
    reasons = policies.data["reasons"]
    yield "## Rules\n"
    for path, source in sorted(policies.modules.items()):
        if not path.startswith(_RULES):
            continue
        found = blocks(source)
        package = next(each for each in found if each.subject == "package")
        yield f"### {package.fields['title']}: `{path.removeprefix(_RULES).split('/', 1)[0]}`\n"
        yield f"{package.fields['description']} ({package.fields['custom.law']})\n"
        yield "Says **yes** when: " + "; ".join(_sentence(each) for each in found if each.subject == "satisfied") + ".\n"
        yield "| says **no** with | when | 中文 | what to do |\n|---|---|---|---|"
        for each in found:
            code = denied_code(each.head)
            if code:
                yield f"| `{code}` | {each.fields['title']} | {reasons[code]['zh']} | {reasons[code]['help_en']} |"
        yield ""


def _sentence(each: Annotation) -> str:
    title = each.fields["title"]
    return title[:1].lower() + title[1:]


def _tables(policies: PolicySet) -> Iterator[str]:
    data = policies.data
    yield "## Least-necessary profiles\n"
    yield "| profile | 中文 | purpose · recipient · relationship | types | may lift | requires | abroad | kept at most |"
    yield "|---|---|---|---|---|---|---|---|"
    for name, profile in sorted(data["profiles"].items()):
        uses = [
            f"{purpose} · {kind} · {relationship}"
            for purpose, kinds in sorted(data["profile_index"].items())
            for kind, each in sorted(kinds.items())
            for relationship, applies in sorted(each.items())
            if applies == name
        ]
        lifts = ", ".join(f"`{code}`" for code in profile["may_lift"]) or "nothing"
        days = profile["limits"]["retention_days"]
        needs = ", ".join(" or ".join(f"`{code}`" for code in line) for line in profile["workforce"]) or "nothing"
        abroad = "by a legal route" if profile["abroad"] else "no"
        cells = (f"`{name}`", profile["name"]["zh"], "<br>".join(uses), ", ".join(profile["types"]), lifts, needs, abroad, f"{days} days")
        yield f"| {' | '.join(cells)} |"
    yield "\n## Data classes\n"
    yield "| class | 中文 | types | level |\n|---|---|---|---|"
    for code, row in sorted(data["data_classes"].items()):
        reached = sorted({*row["types"], *(f"{part['type']} (part)" for part in row["parts"])})
        yield f"| `{code}` | {row['name']['zh']} | {', '.join(reached) or 'lifts ' + str(row['lifts'])} | {row['level']} |"
    yield "\nLevels follow GB/T 39725-2020 as commonly cited; compare with the standard's text before relying on them.\n"
    yield from _qualifications(data)
    yield "## Lawful bases\n"
    yield "| basis | 中文 | law | purposes | consent needed within · outside | overrides a refusal |\n|---|---|---|---|---|---|"
    for code, row in sorted(data["lawful_bases"].items()):
        needed = " · ".join("yes" if row["consent_required"][where] else "no" for where in ("internal", "external"))
        overrides = "yes" if row["overrides_refusal"] else "no"
        yield f"| `{code}` | {row['name']['zh']} | {row['law']} | {', '.join(row['purposes'])} | {needed} | {overrides} |"
    yield from _implied(data["implied_consent"])
    yield from _minors(data["minors"])


def _implied(implied: Mapping[str, Any]) -> Iterator[str]:
    yield "\n## Where no consent speaks\n"
    yield "Asked only where the lawful basis needs no consent and its law overrides no refusal: is a patient who said nothing to be asked first?"
    yield "The recipient's id goes before its kind, and its kind before its relationship (`data/implied_consent.json`; IHE PCF 53.2.1).\n"
    yield "| policy | 中文 | IHE PCF | purposes without a consent | holds for |\n|---|---|---|---|---|"
    for code, row in sorted(implied["policies"].items()):
        held = [f"{table}: {key}" for table in ("relationships", "kinds", "organizations") for key, name in implied[table].items() if name == code]
        uri = row["uri"].rsplit("/", 1)[-1]
        yield f"| `{code}` | {row['name']['zh']} | `{uri}` | {', '.join(row['purposes']) or 'none'} | {', '.join(held) or '—'} |"


def _minors(minors: Mapping[str, Any]) -> Iterator[str]:
    yield "\n## Children under 14\n"
    yield f"{minors['law']}. Whoever's age nobody knows counts as a child. Whose consent carries a release: the rule `minors` above. Besides, the"
    codes = ", ".join(f"`{each['code']}`" for each in minors["obligations"])
    yield f"recipient must {codes}, and keeps what was released for {minors['retention_days']} days at most, however much longer a profile allows."


def _qualifications(data: Mapping[str, Any]) -> Iterator[str]:
    yield "## Qualifications and training\n"
    yield "| code | 中文 | English | law |\n|---|---|---|---|"
    for code, row in sorted(data["workforce"].items()):
        yield f"| `{code}` | {row['name']['zh']} | {row['name']['en']} | {row['law']} |"
    yield "\n## Routes for a transfer abroad\n"
    yield "| route | 中文 | law | purposes | separate consent | critical infrastructure |\n|---|---|---|---|---|---|"
    for code, row in sorted(data["transfer_routes"].items()):
        needed = "yes" if row["separate_consent"] else "no"
        open_to = "yes" if row["critical_infrastructure"] else "no"
        yield f"| `{code}` | {row['name']['zh']} | {row['law']} | {', '.join(row['purposes'])} | {needed} | {open_to} |"
    operator = "is" if data["localisation"]["critical_infrastructure"]["operator"] else "is not"
    yield "\nA recipient's routes stand in the register (`/api/v1/transfer-routes`), entered by one person and confirmed by another."
    yield f"By `data/localisation.json` the hospital {operator} an operator of critical information infrastructure (PIPL 40)."
    yield ""
