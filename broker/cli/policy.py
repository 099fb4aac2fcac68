"""``broker policy``: check the policies, run their tests, make one decision, write the bundle and the page about them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from broker.app import open_installation
from broker.errors import Problem
from broker.governance import service as governance
from broker.policy import service
from broker.settings import settings

app = typer.Typer(name="policy", help="The policies: check, test, decide, bundle, document, compile.", no_args_is_help=True)

#: Exit codes of every command: the answer is no, or wrong use.
NO, WRONG_USE = 1, 2

#: Where the real OPA is looked for: this variable, what `make opa` builds, then the path.
OPA_VARIABLE, OPA_BUILT = "BROKER_TEST_OPA", Path(".cache/bin/opa")

Folder = Annotated[Path | None, typer.Option("--policies", help="Folder of the policies. Default: BROKER_POLICIES, or the shipped ones.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.callback()
def _policy() -> None:
    """The policies: check, test, decide, bundle, document, compile."""


@app.command()
def check(folder: Folder = None, *, as_json: AsJson = False) -> None:
    """Static checks: schemas, dialect, METADATA, reasons, tables, README. Exit 1 if anything is wrong."""
    policies, problems = service.checked(folder)
    if as_json:
        print(json.dumps({"revision": policies.revision if policies else None, "problems": [asdict(each) for each in problems]}, ensure_ascii=False))
    elif policies and not problems:
        print(
            f"策略无误 The policies are sound: {len(policies.modules)} modules, {len(policies.data['profiles'])} profiles, "
            f"revision {policies.revision[:12]}"
        )
    if problems:
        _fail(problems, quiet=as_json)


@app.command("test")
def run_tests(folder: Folder = None) -> None:
    """Run the Rego tests with the real OPA, strictly checked and formatted. Without OPA: say so loudly, and exit 0."""
    opa = _opa()
    if opa is None:
        print(
            "未找到 OPA，Rego 测试未运行。NOT RUN: the Rego tests need the real OPA.\n"
            f"`make opa` builds it where there is Go; or name it in {OPA_VARIABLE}. The embedded engine cannot run them (it trips over `with`);\n"
            "pytest tests/policies still puts the decision table through it.",
            file=sys.stderr,
        )
        return
    policies = service.loaded(folder)
    with tempfile.TemporaryDirectory() as name:
        target = Path(name) / "bundle"
        service.unpack(policies, target)
        commands = (
            [opa, "fmt", "--fail", "--list", str(policies.folder / "broker")],
            [opa, "check", "--strict", "--bundle", str(target)],
            [opa, "test", "--bundle", str(target), "--threshold", "100", "--coverage"],
            [opa, "test", "--bundle", str(target)],
        )
        for command in commands:
            done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603  (Arguments of our own.)
            if done.returncode:
                print(f"{' '.join(command[1:3])}:\n{done.stdout[-4000:]}{done.stderr[-4000:]}", file=sys.stderr)
                raise typer.Exit(NO)
    print(done.stdout.strip())


@app.command()
def decide(
    given: Annotated[Path, typer.Option("--input", help="A file with the facts (policies/input.schema.json, `facts`), or `-`.")],
    folder: Folder = None,
    *,
    as_json: AsJson = False,
) -> None:
    """One decision on facts from a file, by the engine that the settings name. Exit 1 unless it permits."""
    decision = service.decide_form(_facts(given), folder)
    if as_json:
        shown = {name: value for name, value in asdict(decision).items() if name != "facts"}
        print(json.dumps(shown, ensure_ascii=False, indent=2))
    else:
        words = service.reasons()
        print(f"{decision.effect.value}  engine {decision.engine}  revision {decision.revision[:12]}  input {decision.input_hash[:12]}")
        for reason in decision.reasons:
            print(f"  {reason.code}  {words[reason.code].zh} {words[reason.code].en}\n    {words[reason.code].help_zh} {words[reason.code].help_en}")
        if decision.plan:
            print(json.dumps(decision.plan, ensure_ascii=False, indent=2))
    if not decision.allow:
        raise typer.Exit(NO)


@app.command()
def replay(
    folder: Annotated[Path, typer.Option("--policies", help="Folder of the draft.")],
    since: Annotated[datetime | None, typer.Option("--since", help="First day of the decisions asked again, in UTC.", formats=["%Y-%m-%d"])] = None,
    *,
    as_json: AsJson = False,
) -> None:
    """Ask a draft the questions of the past: what would have been allowed, refused, narrowed. Exit 1 if the draft can't be used."""
    policies, problems = service.checked_draft(folder)
    if policies is None or problems:
        _fail(problems, quiet=as_json)
    installation = open_installation(settings())
    try:
        with installation.database.transaction() as session:
            begin = None if since is None else since.replace(tzinfo=UTC)
            result = governance.replayed(session, installation.keys, service.embedded_engine(policies), since=begin)
    finally:
        installation.database.dispose()
    if as_json:
        print(json.dumps(result, ensure_ascii=False, indent=2))
        return
    print(f"revision {policies.revision[:12]}  {result['decisions']} 次决策 decisions  {result['patients']} 位患者 patients")
    words = {
        "newly_allowed": "新允许",
        "refused": "新拒绝",
        "narrowed": "变窄",
        "widened": "变宽",
        "changed": "变化",
        "not_known": "当时未知",
        "same": "不变",
    }
    print("  ".join(f"{zh} {name.replace('_', ' ')} {result[name]}" for name, zh in words.items()))
    for group in result["groups"]:
        counts = "  ".join(f"{name} {group[name]}" for name in words if group[name])
        print(f"  {group['recipient']}  {group['purpose']}  {group['patients']} 位患者 patients  {counts}")
    for title, named in (("不再传出 lost", result["lost"]), ("新传出 gained", result["gained"]), ("拒绝原因 reasons", result["reasons"])):
        if named:
            print(f"{title}: {', '.join(f'{name} ({count})' for name, count in named.items())}")


@app.command()
def bundle(
    out: Annotated[Path, typer.Option("--out", help="File to write, such as broker.tar.gz.")],
    folder: Folder = None,
) -> None:
    """Write the bundle for OPA, as `/opa/bundles/broker.tar.gz` serves it."""
    policies = service.loaded(folder)
    out.write_bytes(service.archive(policies))
    print(f"{out}  revision {policies.revision}")


@app.command()
def document(folder: Folder = None) -> None:
    """Write policies/README.md anew, from METADATA and data."""
    policies = service.loaded(folder)
    (policies.folder / "README.md").write_text(service.readme(policies), encoding="utf-8")
    print(policies.folder / "README.md")


@app.command("compile")
def compile_rego(folder: Folder = None) -> None:
    """Compile the Rego with the real OPA for the embedded engine; to be done again after each change of Rego, never for tables alone."""
    opa = _opa()
    if opa is None:
        print(f"未找到 OPA。There is no OPA here: `make opa` builds it where there is Go; or name it in {OPA_VARIABLE}.", file=sys.stderr)
        raise typer.Exit(NO)
    policies = service.loaded(folder)
    try:
        made = service.compiled(policies, opa)
    except service.PolicyUnusable as error:
        print(error.detail, file=sys.stderr)
        raise typer.Exit(NO) from error
    for path, content in made.items():
        target = policies.folder / path
        target.parent.mkdir(exist_ok=True)
        target.write_bytes(content)
        print(target)


def _opa() -> str | None:
    """The real OPA, if this machine has it."""
    named = os.environ.get(OPA_VARIABLE)
    if named:
        return named
    return str(OPA_BUILT.resolve()) if OPA_BUILT.exists() else shutil.which("opa")


def _facts(path: Path) -> dict[str, Any]:
    try:
        text = sys.stdin.read() if str(path) == "-" else path.read_text(encoding="utf-8")
        form = json.loads(text)
        if isinstance(form, dict) and set(form) == {"facts", "input_hash"}:
            form = form["facts"]
        if not isinstance(form, dict):
            raise TypeError("must be a JSON object")  # noqa: TRY301  (Wrong use, told like the others.)
    except (OSError, ValueError, TypeError) as error:
        print(f"无法读取 cannot be read: {path}: {type(error).__name__}", file=sys.stderr)
        raise typer.Exit(WRONG_USE) from error
    return form


def _fail(problems: tuple[Problem, ...], *, quiet: bool) -> NoReturn:
    if not quiet:
        for each in problems:
            print(f"{each.path}: {each.code}: {each.message}", file=sys.stderr)
        print(f"{len(problems)} 处问题 problems", file=sys.stderr)
    raise typer.Exit(NO)
