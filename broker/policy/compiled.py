"""The policies as OPA itself compiles them to WebAssembly, run in this process by wasmtime: the embedded engine wherever it is there.

The module is the output of ``opa build -t wasm`` for exactly these Rego modules; ``policies/compiled`` holds it beside a note of their hash
(``broker policy compile`` writes both, CI makes them anew and compares the bytes). Tables are not compiled in, so that a draft which changes
tables alone runs on the same module. Rego that was changed without being compiled runs on rego-cpp (``embedded``), slower and alike.

Hedges: an instance for each thread, since one holds one memory; fuel, so that no rule runs for ever; a bound on memory; an instance that
trapped is thrown away; a module that asks the host for anything is not loaded. ABI: OPA documentation, "WebAssembly", version 1.2 and later.
"""

from __future__ import annotations

import ctypes
import json
import threading
from collections.abc import Mapping
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from typing import Any

import orjson

from broker.policy.answer import AnswerUnusable
from broker.policy.errors import PolicyUnusable
from broker.policy.policy_set import DECISION, PolicySet

try:
    import wasmtime
except ImportError:  # pragma: no cover  (A machine for which there is no wheel: rego-cpp answers there.)
    wasmtime = None  # type: ignore[assignment]

#: Names within the folder of policies.
MODULE, NOTE = "compiled/release.wasm", "compiled/release.json"
#: Instructions for one decision; the largest facts that are taken need less than a tenth of it. Bytes of memory of one instance.
_FUEL, _MEMORY = 100_000_000, 128 * 1024 * 1024
_PAGE = 65_536


def hash_of(modules: Mapping[str, str]) -> str:
    """SHA-256 in hex over the Rego modules, by which a compiled module is known to be theirs."""
    return sha256(json.dumps(dict(modules), sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()).hexdigest()


def note_of(policies: PolicySet, module: bytes, compiler: str) -> dict[str, str]:
    """What stands beside a compiled module."""
    return {"compiler": compiler, "rego": hash_of(policies.modules), "wasm": sha256(module).hexdigest()}


def found(policies: PolicySet, *folders: Path) -> bytes | None:
    """The module that was compiled from these policies' Rego, from the first folder that holds it; None where there is none."""
    if wasmtime is None:  # pragma: no cover
        return None
    wanted = hash_of(policies.modules)
    for folder in folders:
        try:
            note = json.loads((folder / NOTE).read_text(encoding="utf-8"))
            module = (folder / MODULE).read_bytes()
        except (OSError, ValueError):
            continue
        if isinstance(note, dict) and note.get("rego") == wanted and note.get("wasm") == sha256(module).hexdigest():
            return module
    return None


class CompiledEvaluator:
    """Holds the compiled policies and their tables; an instance of them for each thread that asks."""

    name = "compiled"
    blocking = False

    def __init__(self, policies: PolicySet, module: bytes) -> None:
        """Makes one instance at once, so that a module that can't run fails at start. Raises PolicyUnusable."""
        self._engine, self._module = _translated(module)
        self._tables = orjson.dumps(policies.documents)
        self._local = threading.local()
        try:
            self._instance()
        except Exception as error:  # Whatever a module that is not OPA's may do.
            raise PolicyUnusable("the compiled policies cannot be run") from error

    def evaluate(self, document: Any) -> Any:
        """The decision document. Raises AnswerUnusable if it is undefined; whatever wasmtime raises if the module traps."""
        instance = self._instance()
        try:
            answer = instance.ask(orjson.dumps(document))
        except BaseException:
            del self._local.held  # Its memory may be half written.
            raise
        if not isinstance(answer, list) or len(answer) != 1 or "result" not in answer[0]:
            raise AnswerUnusable("the decision is undefined")
        return answer[0]["result"]

    def _instance(self) -> _Instance:
        held: _Instance | None = getattr(self._local, "held", None)
        if held is None:
            held = self._local.held = _Instance(self._engine, self._module, self._tables)
        return held


@lru_cache(maxsize=8)
def _translated(module: bytes) -> tuple[wasmtime.Engine, wasmtime.Module]:
    """The module as machine code; some tenths of a second, once in a process."""
    chosen = wasmtime.Config()
    chosen.consume_fuel = True
    chosen.cranelift_opt_level = "none"  # Half the time to start, a twentieth more for each decision.
    engine = wasmtime.Engine(chosen)
    try:
        return engine, wasmtime.Module(engine, module)
    except wasmtime.WasmtimeError as error:
        raise PolicyUnusable("the compiled policies are no WebAssembly") from error


class _Instance:
    """One memory with the tables in it. Not to be shared between threads."""

    def __init__(self, engine: wasmtime.Engine, module: wasmtime.Module, tables: bytes) -> None:
        self._store = store = wasmtime.Store(engine)
        store.set_limits(memory_size=_MEMORY)
        store.set_fuel(_FUEL)
        self._memory = wasmtime.Memory(store, wasmtime.MemoryType(wasmtime.Limits(32, _MEMORY // _PAGE)))
        made = wasmtime.Instance(store, module, [self._import(each) for each in module.imports])
        self._exports = made.exports(store)
        if self._read(self._call("opa_json_dump", self._call("builtins"))) != b"{}":
            raise AnswerUnusable("the compiled policies ask this process for built-ins")
        self._entrypoint = json.loads(self._read(self._call("opa_json_dump", self._call("entrypoints"))))[DECISION]
        at = self._call("opa_malloc", len(tables))
        self._write(tables, at)
        self._tables = self._call("opa_json_parse", at, len(tables))
        if not self._tables:
            raise AnswerUnusable("the compiled policies cannot read their tables")
        # Every question begins to write here, so that nothing of one is there for the next and the memory does not grow.
        self._heap = self._call("opa_heap_ptr_get")

    def ask(self, question: bytes) -> Any:
        """The result set for a question in JSON."""
        self._store.set_fuel(_FUEL)
        end = self._heap + len(question)
        self._write(question, self._heap)
        # (reserved, entry point, tables, question, its length, free memory, format: 0 is JSON)
        given = self._call("opa_eval", 0, self._entrypoint, self._tables, self._heap, len(question), end, 0)
        return orjson.loads(self._read(given))

    def _call(self, name: str, *given: int) -> int:
        function = self._exports[name]
        assert isinstance(function, wasmtime.Func)  # noqa: S101  (The ABI's; for the type checker.)
        answered: int = function(self._store, *given)
        return answered

    def _import(self, wanted: wasmtime.ImportType) -> wasmtime.Memory | wasmtime.Func:
        if wanted.name == "memory":
            return self._memory
        kind = wanted.type
        if wanted.module != "env" or not isinstance(kind, wasmtime.FuncType):
            raise AnswerUnusable("the compiled policies want something that is not of OPA's ABI")
        return wasmtime.Func(self._store, kind, _refuse)

    def _write(self, content: bytes, at: int) -> None:
        missing = at + len(content) - self._memory.data_len(self._store)
        if missing > 0:
            self._memory.grow(self._store, missing // _PAGE + 1)
        self._memory.write(self._store, content, at)

    def _read(self, at: int) -> bytes:
        """The text at an address, to its closing zero."""
        size = self._memory.data_len(self._store)
        if not 0 < at < size:
            raise AnswerUnusable("the compiled policies answered from nowhere")
        begin, content = ctypes.addressof(self._memory.data_ptr(self._store).contents), bytearray()
        while at < size and len(content) < _ANSWER:
            part = ctypes.string_at(begin + at, min(size - at, _PART))
            end = part.find(b"\0")
            content += part if end < 0 else part[:end]
            if end >= 0:
                return bytes(content)
            at += len(part)
        raise AnswerUnusable("the compiled policies' answer has no end")


#: Bytes of the longest answer that is read, and of a step in reading it.
_ANSWER, _PART = 1024 * 1024, 8192


def _refuse(*_given: int) -> int:
    """``opa_abort`` and every built-in of the host: there are none, so whoever calls one gets no answer."""
    raise AnswerUnusable("the compiled policies called out of their memory")
