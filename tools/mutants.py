"""How much of a pure module its tests really hold: break it in small ways, one at a time, and see whether a test fails.

``python -m tools.mutants broker.consent.rules tests/unit/consent`` prints the score and every change that no test noticed. Tests are
collected once; each mutant is tried in a forked child, in which the functions' code is replaced in place, so that whoever imported them
has the broken ones. Only modules of plain functions can be tried like that.
"""

from __future__ import annotations

import argparse
import ast
import copy
import importlib
import inspect
import os
import signal
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

import pytest

#: Seconds after which a mutant counts as noticed: it runs forever.
PATIENCE = 120

_COMPARISONS: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Eq: ast.NotEq, ast.NotEq: ast.Eq, ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt,
    ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In,
}  # fmt: skip
_OPERATORS: dict[type[ast.operator], type[ast.operator]] = {ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd, ast.Add: ast.Sub, ast.Sub: ast.BitOr}
_NAMES = {"any": "all", "all": "any", "max": "min", "min": "max"}
_MEMBERS = {"PERMIT": "DENY", "DENY": "PERMIT", "SILENT": "PERMIT"}


@dataclass(frozen=True)
class Mutant:
    """One small change: where, what, and the whole module with it."""

    line: int
    change: str
    tree: ast.Module


def mutants(source: str) -> list[Mutant]:
    """Every change of one place inside a function; docstrings, annotations and defaults stay, and so does what would mean the same."""
    tree = ast.parse(source)
    inside = [node for function in ast.walk(tree) if isinstance(function, ast.FunctionDef) for node in _body(function)]
    numbers = {id(node): number for number, node in enumerate(ast.walk(tree))}
    found, seen = [], set()
    for node in inside:
        if id(node) not in seen:
            seen.add(id(node))
            found += [Mutant(getattr(node, "lineno", 0), change, _with(tree, numbers[id(node)], new)) for change, new in _changes(node)]
    return found


def _body(function: ast.FunctionDef) -> Iterator[ast.AST]:
    for statement in function.body:
        if not (isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)):
            yield from ast.walk(statement)


def _with(tree: ast.Module, number: int, new: ast.AST) -> ast.Module:
    """A copy of the tree in which the node of this number is another."""
    copied = copy.deepcopy(tree)
    old = list(ast.walk(copied))[number]
    for parent in ast.walk(copied):
        for name, value in ast.iter_fields(parent):
            if value is old:
                setattr(parent, name, new)
            elif isinstance(value, list):
                value[:] = [new if one is old else one for one in value]
    return ast.fix_missing_locations(copied)


def _changes(node: ast.AST) -> Iterator[tuple[str, ast.AST]]:
    """What a node may become."""
    match node:
        case ast.Compare(left, ops, comparators):
            for place, one in enumerate(ops):
                other = _COMPARISONS[type(one)]
                yield f"{type(one).__name__} → {other.__name__}", ast.Compare(left, [*ops[:place], other(), *ops[place + 1 :]], comparators)
        case ast.BoolOp(op, values):
            other_op: ast.boolop = ast.Or() if isinstance(op, ast.And) else ast.And()
            yield f"{type(op).__name__} → {type(other_op).__name__}", ast.BoolOp(other_op, values)
            for place in range(len(values)):
                rest = values[:place] + values[place + 1 :]
                yield f"without {ast.unparse(values[place])}", rest[0] if len(rest) == 1 else ast.BoolOp(op, rest)
        case ast.UnaryOp(ast.Not(), operand):
            yield "without not", operand
        case ast.BinOp(left, op, right) if type(op) in _OPERATORS:
            yield f"{type(op).__name__} → {_OPERATORS[type(op)].__name__}", ast.BinOp(left, _OPERATORS[type(op)](), right)
        case ast.Constant(bool(value)):
            yield f"{value} → {not value}", ast.Constant(not value)
        case ast.Constant(int(value)):
            yield f"{value} → {value + 1}", ast.Constant(value + 1)
        case ast.Constant(str(value)):
            yield f"{value!r} → another", ast.Constant(f"{value}~")
        case ast.IfExp(test, body, orelse):
            yield "branches swapped", ast.IfExp(test, orelse, body)
        case ast.Name(name, ast.Load()) if name in _NAMES:
            yield f"{name} → {_NAMES[name]}", ast.Name(_NAMES[name], ast.Load())
        case ast.Attribute(value, name, ast.Load()) if name in _MEMBERS:
            yield f"{name} → {_MEMBERS[name]}", ast.Attribute(value, _MEMBERS[name], ast.Load())
        case ast.comprehension(target, iterable, [*conditions], is_async) if conditions:
            yield "without the condition", ast.comprehension(target, iterable, [], is_async)
        case ast.Return(value) if value is not None and not (isinstance(value, ast.Constant) and not value.value):
            yield "returns nothing", ast.Return(ast.Constant(None))
        case ast.If(test, body, orelse):
            yield "always", ast.If(ast.Constant(True), body, orelse)
            yield "never", ast.If(ast.Constant(False), body, orelse)
        case ast.Assign() | ast.AugAssign() | ast.Expr() | ast.Continue():
            yield "left out", ast.Pass()


def _functions(module: ModuleType) -> dict[str, FunctionType]:
    """The module's own functions, out of what caches them."""
    plain = {name: inspect.unwrap(value) for name, value in vars(module).items() if callable(value)}
    return {name: value for name, value in plain.items() if isinstance(value, FunctionType) and value.__module__ == module.__name__}


def apply(module: ModuleType, mutant: Mutant) -> None:
    """Put the mutant's code into the functions of a module, wherever they were imported to."""
    namespace: dict[str, Any] = {"__name__": module.__name__}
    exec(compile(mutant.tree, module.__file__ or "", "exec", dont_inherit=True), namespace)  # noqa: S102  (its own source, changed)
    for name, function in _functions(module).items():
        function.__code__ = inspect.unwrap(namespace[name]).__code__
    for value in vars(module).values():
        if hasattr(value, "cache_clear"):
            value.cache_clear()


class Trial:
    """Runs the collected tests once for each mutant."""

    def __init__(self, module: ModuleType, wanted: slice) -> None:
        self.module = module
        self.all = mutants(Path(inspect.getfile(module)).read_text(encoding="utf-8"))[wanted]
        self.survivors: list[Mutant] = []

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """In place of pytest's own loop."""
        if self._noticed(session, None):
            raise SystemExit("The tests fail before anything is broken.")
        for number, mutant in enumerate(self.all, 1):
            if not self._noticed(session, mutant):
                self.survivors.append(mutant)
            sys.stderr.write(f"\r{number}/{len(self.all)}, {len(self.survivors)} not noticed")
        return True

    def _noticed(self, session: pytest.Session, mutant: Mutant | None) -> bool:
        child = os.fork()
        if child == 0:
            for stream in (1, 2):
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream)
            signal.alarm(PATIENCE)
            try:
                if mutant is not None:
                    apply(self.module, mutant)
                os._exit(_fails(session))
            except BaseException:  # noqa: BLE001  (whatever it breaks, it was noticed)
                os._exit(1)
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) != 0


def _fails(session: pytest.Session) -> int:
    """1 at the first test that fails."""
    failed: list[str] = []

    class Watch:
        def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
            if report.failed:
                failed.append(report.nodeid)

    session.config.pluginmanager.unregister(name="terminalreporter")
    session.config.pluginmanager.register(Watch())
    for number, item in enumerate(session.items):
        following = session.items[number + 1] if number + 1 < len(session.items) else None
        item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
        if failed:
            return 1
    return 0


def main() -> int:
    """Print the score; 1 if it is below the one asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("module")
    parser.add_argument("tests", nargs="+")
    parser.add_argument("--at-least", type=float, default=0.0, metavar="PERCENT")
    parser.add_argument("--every", type=int, default=1, metavar="N", help="only each Nth mutant")
    arguments = parser.parse_args()
    started = time.monotonic()
    module = importlib.import_module(arguments.module)
    trial = Trial(module, slice(None, None, arguments.every))
    pytest.main(["-q", "-p", "no:randomly", "-p", "no:cacheprovider", *arguments.tests], plugins=[trial])
    noticed = len(trial.all) - len(trial.survivors)
    score = 100 * noticed / max(1, len(trial.all))
    sys.stdout.write(f"\n{arguments.module}: {noticed} of {len(trial.all)} mutants noticed, {score:.1f} %, {time.monotonic() - started:.0f} s\n")
    for one in trial.survivors:
        sys.stdout.write(f"  line {one.line}: {one.change}\n")
    return 0 if score >= arguments.at_least else 1


if __name__ == "__main__":
    raise SystemExit(main())
