"""Whether an answer stays within the tables of the policies that gave it: a second look by other hands than Rego's, after the shape was read.

An engine that is broken, or put in the place of another, may give an answer that looks like one. It can't let more leave than the profile has.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from broker.policy.answer import AnswerUnusable
from broker.policy.decision import Decision


def hold(decision: Decision, facts: Mapping[str, Any], data: Mapping[str, Any]) -> None:
    """Raises AnswerUnusable for a reason that is in no table, or a plan that goes beyond its profile. ``data``: the tables, ``facts``: as asked."""
    if not data["reasons"].keys() >= {reason.code for reason in decision.reasons}:
        raise AnswerUnusable("it gives a reason that these policies do not have")
    if decision.plan is None:
        return
    profile = data["profiles"].get(decision.plan["profile"])
    if profile is None:
        raise AnswerUnusable("it names a profile that these policies do not have")
    if not profile["types"].keys() >= decision.plan["types"].keys():
        raise AnswerUnusable("it lets types leave that the profile does not have")
    labels, lifts = decision.plan["labels"], _lifts(facts, data)
    if labels["ceiling"] not in ({profile["ceiling"], profile["lifted_ceiling"]} if lifts else {profile["ceiling"]}):
        raise AnswerUnusable("its ceiling is not the profile's")
    if not {*labels["deny"]} >= {*data["sensitive"]["deny"]} - lifts:
        raise AnswerUnusable("it lets a sensitive category leave that nobody asked for")


def _lifts(facts: Mapping[str, Any], data: Mapping[str, Any]) -> set[str]:
    """The labels of the sensitive categories that the application asks for."""
    classes = {entry.get("data_class") for entry in facts["request"]["data"]}
    return {label for row in data["sensitive"]["categories"].values() if row["data_class"] in classes for label in row["labels"]}
