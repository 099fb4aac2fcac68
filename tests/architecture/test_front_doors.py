"""A slice is entered by its front door. import-linter holds who may look at whom; this holds through which door.

A failure reads ``release/service -> consent.rules``: use ``consent.service`` or pass a value.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

BROKER = Path(__file__).resolve().parents[2] / "broker"

SLICES = {path.parent.name for path in BROKER.glob("*/__init__.py")} - {"cli", "demo", "demo_data"}

#: The front doors of every slice. What a verb raises belongs to its signature.
DOORS = {"service", "models", "access", "errors"}

#: Pure values and pure functions that neighbours may hold in their hands: no I/O in them, so nothing is gone round.
#: ``fhir`` keeps nothing and asks nobody, so these modules are its front door.
VALUES = {
    # Formats that anybody may check without the log: what a recipient's command does.
    "audit": {"events", "note", "receipt", "tree"},
    "release": {"receiving"},
    # How far the change of a key is: names in, words out.
    "keyring": {"rotation"},
    "policy": {"facts", "decision"},
    "fhir": {"ages", "plan", "outcome", "definitions", "parse", "validate", "minimise", "references", "checker", "residual", "negotiation"},
    "consent": {"residual"},
    # Forms that come in over HTTP, whichever way: the console's pages fill in the same ones as the API's callers.
    "applications": {"schemas", "office_schemas"},
    "feedback": {"schemas"},
}

#: Who puts the parts together and therefore knows what lies behind the doors, and how far.
BUILDERS = {
    "app": {
        "routes",
        "sealing",
        "log_views",
        "preview",
        "transmissions",
        "bulk",
        "desk",
        "beside",
        "accounting",
        "ahead",
        "accounting_file",
        "reconciliation",
        "delivery",
        # What codes are called: handed to a lower slice that prints them.
        "vocabulary",
    },
    "operations": {"sealing"},
    # The story plays the auditor too, with the tools that an auditor has.
    "demo": {"export", "note", "sources", "store", "verify"},
}

#: Commands that are named for what they do and not for the slice they belong to.
OUTER_FACES = {"witness": "audit", "keys": "keyring", "reconcile": "release"}


def _imports(file: Path) -> Iterator[tuple[str, str]]:
    """``(slice, module)`` for each import of a slice in the file, also those inside functions."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and not node.level:
            # ``from broker.consent import rules`` and ``from broker.consent.rules import covers`` name the same door.
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            parts = name.split(".")
            if parts[0] == "broker" and len(parts) > 2 and parts[1] in SLICES:
                yield parts[1], parts[2]


def trespasses(root: Path) -> list[str]:
    found = set()
    for file in sorted(root.rglob("*.py")):
        place = file.relative_to(root).with_suffix("")
        home = place.parts[0]
        # The commands of a slice are its outer face, as its routes are: ``cli/audit.py`` belongs to ``audit``.
        own = {home, OUTER_FACES.get(place.name, place.name)} if home == "cli" else {home}
        for target, module in _imports(file):
            allowed = DOORS | VALUES.get(target, set()) | BUILDERS.get(home, set())
            if target not in own and module not in allowed:
                found.add(f"{place} -> {target}.{module}")
    return sorted(found)


def test_slices_are_entered_by_their_front_doors():
    assert trespasses(BROKER) == []


def test_nothing_is_imported_relatively():
    """Relative imports would go round the test above, and read worse."""
    found = [
        f"{file.relative_to(BROKER)}:{node.lineno}"
        for file in BROKER.rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.ImportFrom) and node.level
    ]
    assert found == []


def test_the_doors_that_are_named_exist():
    assert VALUES.keys() <= SLICES
    for slice_, modules in VALUES.items():
        for module in modules:
            assert (BROKER / slice_ / f"{module}.py").exists() or (BROKER / slice_ / module / "__init__.py").exists(), f"{slice_}.{module}"


def test_a_trespass_is_seen(tmp_path):
    (tmp_path / "release").mkdir()
    (tmp_path / "release" / "service.py").write_text(
        "def f():\n    from broker.consent.rules import covers\n    from broker.consent import residual, service\n"
    )
    (tmp_path / "release" / "other.py").write_text("import broker.policy.engine\nfrom broker.policy.facts import Facts\n")
    assert trespasses(tmp_path) == ["release/other -> policy.engine", "release/service -> consent.rules"]
