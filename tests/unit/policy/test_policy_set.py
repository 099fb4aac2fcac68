"""Reading policies, naming their content, and everything that can be wrong with them before anybody asks."""

import io
import json
import shutil
import tarfile

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from broker.policy import bundle
from broker.policy.errors import PolicyUnusable
from broker.policy.metadata import blocks, rules
from broker.policy.policy_set import folder_of, load
from broker.policy.routes import build_router
from broker.policy.static_checks import problems
from broker.settings import Settings
from tests.policies.conftest import ROOT


@pytest.fixture
def folder(tmp_path):
    """A copy of the shipped policies, to be broken."""
    return shutil.copytree(ROOT / "policies", tmp_path / "policies")


def edit(path, change):
    document = json.loads(path.read_text(encoding="utf-8"))
    change(document)
    path.write_text(json.dumps(document, ensure_ascii=False), encoding="utf-8")


def replace(path, old, new):
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")


def test_the_folder_that_the_settings_name(tmp_path):
    assert folder_of(Settings()) == ROOT / "policies"
    assert folder_of(Settings(policies=tmp_path)) == tmp_path


def test_the_revision_names_exactly_this_content(folder, policies):
    assert load(folder).revision == policies.revision
    (folder / "broker" / "release" / "release_test.rego").write_text("package x\n", encoding="utf-8")
    assert load(folder).revision == policies.revision, "tests are not part of it"
    edit(folder / "data" / "profiles" / "treatment-referral.json", lambda profile: profile["limits"].update(retention_days=364))
    assert load(folder).revision != policies.revision


@pytest.mark.parametrize(
    ("file", "change", "where"),
    [
        ("purposes.json", lambda data: data["TREAT"].pop("judged_as"), "data/purposes.json#/TREAT"),
        ("profiles/treatment-referral.json", lambda data: data.update(ceiling="Z"), "data/profiles/treatment-referral.json#/ceiling"),
        ("profiles/treatment-referral.json", lambda data: data["types"]["Patient"].update(elements="id  name"), "elements"),
        ("reasons.json", lambda data: data["grant.revoked"].update(zh=""), "data/reasons.json#/grant.revoked/zh"),
        ("lawful_bases.json", lambda data: data["consent"].update(overrides_refusal="no"), "overrides_refusal"),
        ("data_classes.json", lambda data: data["clinical"].update(level=9), "data/data_classes.json#/clinical/level"),
    ],
)
def test_a_table_that_does_not_fit_its_schema(folder, file, change, where):
    edit(folder / "data" / file, change)
    with pytest.raises(PolicyUnusable) as raised:
        load(folder)
    assert any(where in problem.path for problem in raised.value.problems)


def test_files_that_can_not_be_read(folder):
    (folder / "data" / "types.json").write_text('{"Patient": {}, "Patient": {}}', encoding="utf-8")
    (folder / "data" / "sensitive.json").write_text("{", encoding="utf-8")
    (folder / "data" / "purposes.schema.json").unlink()
    with pytest.raises(PolicyUnusable) as raised:
        load(folder)
    assert {problem.path for problem in raised.value.problems} >= {"types.json", "sensitive.json", "purposes.schema.json"}
    with pytest.raises(PolicyUnusable):
        load(folder / "nowhere")


RELEASE = "broker/release/release.rego"
GRANT = "broker/release/rules/grant/grant.rego"
BREAKS = {
    "a built-in that is not on the list": (
        GRANT,
        "default satisfied := false",
        "default satisfied := false\n\nx := uuid.rfc4122(input.facts.grant.id)",
        "built-in",
    ),
    "a rule that is not documented": (GRANT, "default satisfied := false", "default satisfied := false\n\nx := 1", "metadata"),
    "an allow by default": (RELEASE, "default allow := false", "default allow := true", "default"),
    "a rule whose no is not asked": (RELEASE, '"no": rules.basis.deny', '"no": rules.grant.deny', "rule"),
    "a rule whose yes is not asked": (RELEASE, '"yes": rules.basis.satisfied', '"yes": true', "rule"),
    "a rule that is not asked": (RELEASE, '\t"basis": {"yes": rules.basis.satisfied, "no": rules.basis.deny},\n', "", "rule"),
    "a rule without a default": (GRANT, "default satisfied := false\n", "", "rule"),
    "a code that METADATA does not know": (GRANT, "#   code: grant.revoked\n", "#   code: grant.ended\n", "metadata"),
    "a code without sentences": (GRANT, "grant.revoked", "grant.ended", "reason"),
    "a code of another rule": (GRANT, "grant.revoked", "consent.refused", "reason"),
    "a package in the wrong folder": (GRANT, "package broker.release.rules.grant", "package broker.release.rules.grants", "package"),
    "a package without description": (GRANT, "# description: >-", "# remark: >-", "metadata"),
}


@pytest.mark.parametrize(("file", "old", "new", "code"), BREAKS.values(), ids=BREAKS)
def test_the_static_checks_catch(folder, file, old, new, code):
    replace(folder / file, old, new)
    assert code in {problem.code for problem in problems(load(folder))}


def _profile(change):
    return "profiles/treatment-referral.json", change


TABLES = {
    "a mandatory element is missing": _profile(lambda data: data["types"]["Condition"].update(elements="code id")),
    "elements are not sorted": _profile(lambda data: data["types"]["Location"].update(elements="id status name")),
    "an element stands beside a part of itself": _profile(lambda data: data["types"]["Location"].update(elements="id name name.x status")),
    "a dated type without a window": _profile(lambda data: data["types"]["Observation"].update(window="undated")),
    "an undated type with one": _profile(lambda data: data["types"]["Patient"].update(window="recent")),
    "a transform of nothing": _profile(lambda data: data["types"]["Patient"].update(transforms=[{"path": "telecom", "do": "mask"}])),
    "a type that nobody knows": _profile(lambda data: data["types"].update(Rumour=data["types"]["Patient"])),
    "a class that can not be lifted": _profile(lambda data: data.update(may_lift=["clinical"])),
    "latest reaches further back than recent": _profile(lambda data: data.update(lookback_days={"recent": 1, "latest": 2})),
    "the index names no profile": ("profile_index.json", lambda data: data["TREAT"]["hospital"].update(external="everything")),
    "a purpose without profiles": ("profile_index.json", lambda data: data.pop("HRESCH")),
    "a label that no default denies": ("sensitive.json", lambda data: data["deny"].remove("HIV")),
    "a class that lifts another's category": ("data_classes.json", lambda data: data["sensitive.hiv"].update(lifts="PSY")),
    "a class that reaches an unknown type": ("data_classes.json", lambda data: data["clinical.orders"].update(types=["Rumour"])),
    "a top class that forgets a sub-class": ("data_classes.json", lambda data: data["clinical"]["types"].remove("Procedure")),
    "one type cut in two ways": (
        "data_classes.json",
        lambda data: data["clinical.surveys"].update(parts=[{"type": "Observation", "elements": ["code"]}]),
    ),
    "a basis for a purpose that nothing is judged as": ("lawful_bases.json", lambda data: data["consent"]["purposes"].append("HMARKT")),
    "a purpose judged as one that is judged as another": ("purposes.json", lambda data: data["COC"].update(judged_as="BTG")),
    "an emergency judged as treatment": ("purposes.json", lambda data: data["BTG"].update(judged_as="TREAT")),
    "an ancestor that is not listed": ("purposes.json", lambda data: data["COC"].update(ancestors=["CURIOSITY"])),
}


@pytest.mark.parametrize(("file", "change"), TABLES.values(), ids=TABLES)
def test_the_tables_must_agree(folder, file, change):
    edit(folder / "data" / file, change)
    assert {problem.code for problem in problems(load(folder))} == {"data"}


def test_the_bundle_is_the_same_bytes_for_the_same_policies(folder, policies):
    assert bundle.archive(load(folder)) == bundle.archive(policies)


def test_the_bundle_holds_manifest_data_and_modules_and_nothing_else(policies):
    with tarfile.open(fileobj=io.BytesIO(bundle.archive(policies))) as tar:
        content = {member.name: tar.extractfile(member).read() for member in tar}
        assert all((member.mtime, member.uid, member.gid) == (0, 0, 0) for member in tar)
    assert json.loads(content.pop("/.manifest")) == {"revision": policies.revision, "roots": ["broker", "system/log"], "rego_version": 1}
    assert json.loads(content.pop("/data.json"))["broker"]["policy_set"] == {"revision": policies.revision}
    assert b"/input/facts" in content.pop("/system/log/mask.rego"), "OPA's own log holds no questions"
    assert {name.removeprefix("/"): text.decode() for name, text in content.items()} == dict(policies.modules)
    assert not any(name.endswith("_test.rego") for name in content)


@pytest.fixture
def client(policies):
    app = FastAPI()
    app.include_router(build_router(lambda: policies, Settings()))
    return TestClient(app)


PATH = "/opa/bundles/broker.tar.gz"


def test_the_bundle_is_served_with_its_revision(client, policies):
    answer = client.get(PATH)
    assert answer.status_code == 200
    assert answer.content == bundle.archive(policies)
    assert answer.headers["etag"] == f'"{policies.revision}"'
    assert answer.headers["content-type"] == "application/gzip"


@pytest.mark.parametrize(
    ("given", "status"), [("{tag}", 304), ("W/{tag}", 304), ('"x", {tag}', 304), ("*", 304), ('"x"', 200), ("", 200), ("{bare}", 200)]
)
def test_who_has_it_already_is_told_so(client, policies, given, status):
    tag = f'"{policies.revision}"'
    answer = client.get(PATH, headers={"If-None-Match": given.format(tag=tag, bare=policies.revision)})
    assert answer.status_code == status
    assert (answer.content == b"") == (status == 304)


def test_metadata_is_read_as_the_house_writes_it():
    source = (
        "# METADATA\n# title: A: title\n# description: >-\n#   Two lines\n#   of it.\n# custom:\n#   code: a.b\n#   law: PIPL 13(1)(1)\n"
        'deny contains "a.b" if x\n\ndefault y := 1\n\ny := {\n\t"a": 1,\n}\n'
    )
    (block,) = blocks(source)
    assert block.fields == {"title": "A: title", "description": "Two lines of it.", "custom.code": "a.b", "custom.law": "PIPL 13(1)(1)"}
    assert block.subject == "deny"
    assert [(rule.name, rule.annotated, rule.default) for rule in rules(source)] == [("deny", True, False), ("y", False, True), ("y", False, False)]
