"""Which witnesses a log asks, and whose cosignatures make a checkpoint valid: a file in the form of C2SP tlog-policy. Pure.

::

    log broker.hospital.example/disclosure-log+e464afa9+AQOh…  https://broker.hospital.example/log
    witness regulator  witness.regulator.example+1f2e…+BE…     https://witness.regulator.example
    witness partner    witness.partner.example+9a8b…+BM…       https://witness.partner.example
    group both all regulator partner
    quorum both
"""

from __future__ import annotations

import re
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from broker.audit.cosignature import WitnessKey
from broker.audit.note import NoteInvalid, Verifier

#: The names that a policy knows already.
NONE = "none"

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")


class PolicyUnreadable(ValueError):
    """The file is not a witness policy; says in which line."""


@dataclass(frozen=True)
class Witness:
    """A witness of the policy; ``url`` is its submission prefix, None where it is only there for verifying."""

    name: str
    key: WitnessKey
    url: str | None


@dataclass(frozen=True)
class Group:
    """Holds when ``threshold`` of its members do."""

    threshold: int
    members: tuple[str, ...]


@dataclass(frozen=True)
class WitnessPolicy:
    """Logs, witnesses, groups and the quorum."""

    logs: tuple[Verifier, ...]
    witnesses: dict[str, Witness]
    groups: dict[str, Group]
    quorum: str

    def satisfied(self, cosigned: AbstractSet[str]) -> bool:
        """Whether these witnesses, by their names in the policy, make a quorum."""
        return self.quorum == NONE or self._holds(self.quorum, cosigned)

    def _holds(self, name: str, cosigned: AbstractSet[str]) -> bool:
        group = self.groups.get(name)
        if group is None:
            return name in cosigned
        return sum(self._holds(member, cosigned) for member in group.members) >= group.threshold


NO_WITNESSES = WitnessPolicy((), {}, {}, NONE)


def parse(text: str) -> WitnessPolicy:
    """Read a policy. Raises PolicyUnreadable."""
    reading = _Reading()
    for number, line in enumerate(text.split("\n"), 1):
        words = [word for word in re.split(r"[ \t]+", line) if word]
        if not words or words[0].startswith("#"):
            continue
        try:
            reading.take([] if _CONTROL.search(line) else words)
        except (PolicyUnreadable, NoteInvalid) as error:
            raise PolicyUnreadable(f"line {number}: {error}") from error
    if reading.quorum is None:
        raise PolicyUnreadable("there is no quorum line; `quorum none` demands no witness")
    return WitnessPolicy(tuple(reading.logs), reading.witnesses, reading.groups, reading.quorum)


class _Reading:
    """What was read so far: a line may only name what stands above it."""

    def __init__(self) -> None:
        self.logs: list[Verifier] = []
        self.witnesses: dict[str, Witness] = {}
        self.groups: dict[str, Group] = {}
        self.quorum: str | None = None
        self._members: set[str] = set()

    def take(self, words: list[str]) -> None:
        match words:
            case ["log", vkey] | ["log", vkey, _]:
                self._log(Verifier.parse(vkey))
            case ["witness", name, vkey]:
                self._witness(Witness(name, WitnessKey.parse(vkey), None))
            case ["witness", name, vkey, url]:
                self._witness(Witness(name, WitnessKey.parse(vkey), url))
            case ["group", name, threshold, *members] if members:
                self._group(name, threshold, members)
            case ["quorum", name] if self.quorum is None and (name == NONE or self._known(name)):
                self.quorum = name
            case _:
                raise PolicyUnreadable("not a line of a witness policy, or it names what does not stand above it")

    def _log(self, log: Verifier) -> None:
        if any(log.public_key == known.public_key for known in self.logs):
            raise PolicyUnreadable("a log's key stands there twice")
        self.logs.append(log)

    def _witness(self, witness: Witness) -> None:
        self._new(witness.name)
        if any(witness.key.public_key == known.key.public_key for known in self.witnesses.values()):
            raise PolicyUnreadable("a witness's key stands there twice")
        self.witnesses[witness.name] = witness

    def _group(self, name: str, threshold: str, members: list[str]) -> None:
        self._new(name)
        for member in members:
            if not self._known(member):
                raise PolicyUnreadable("a member of the group does not stand above it")
            if member in self._members:
                raise PolicyUnreadable("a name is a member twice")
            self._members.add(member)
        least = {"all": str(len(members)), "any": "1"}.get(threshold, threshold)
        if not re.fullmatch(r"[1-9][0-9]{0,3}", least) or int(least) > len(members):
            raise PolicyUnreadable("the group's threshold is `all`, `any`, or a number up to that of its members")
        self.groups[name] = Group(int(least), tuple(members))

    def _known(self, name: str) -> bool:
        return name in self.witnesses or name in self.groups

    def _new(self, name: str) -> None:
        if name == NONE or self._known(name):
            raise PolicyUnreadable("the name is taken")
