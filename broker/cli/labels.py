"""``broker labels``: which resources are labelled by which rule, and labelling anew after the rules changed."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Annotated, Any

import typer

from broker.cli.consent import read_resources
from broker.cli.records import opened
from broker.crypto import load_keys
from broker.records import service as records
from broker.settings import settings

app = typer.Typer(no_args_is_help=True, help="敏感标签 · Security labels.")


def counted(resources: list[dict[str, Any]]) -> dict[str, Any]:
    """How many resources there are, how many carry a topic, and for each rule how many of each type it labelled."""
    labelled, topics, rules = 0, Counter[str](), dict[str, Counter[str]]()
    for resource in resources:
        found = [one for one in records.labels_for(resource) if one.code not in records.LEVELS]
        labelled += any(one.code != records.UNCLASSIFIED and not one.code.startswith(records.IN_TEXT) for one in found)
        for one in found:
            topics[one.code] += 1
            rules.setdefault(f"{one.code} {one.rule}", Counter())[resource["resourceType"]] += 1
    return {
        "resources": len(resources),
        "labelled": labelled,
        "share": round(labelled / len(resources), 4) if resources else 0.0,
        "topics": dict(sorted(topics.items())),
        "rules": {name: dict(sorted(counts.items())) for name, counts in sorted(rules.items())},
    }


@app.command()
def report(
    paths: Annotated[list[Path], typer.Argument(metavar="FILE…", help="Resources, Bundles or NDJSON, plain or gzip.")],
    as_json: Annotated[bool, typer.Option("--json", help="The counts as JSON.")] = False,
) -> None:
    """What the rules would label in these files, rule by rule: the way to see a rule that labels ordinary care. Offline."""
    found = counted(read_resources(paths))
    if as_json:
        typer.echo(json.dumps(found, ensure_ascii=False, indent=1))
        return
    typer.echo(f"{found['labelled']} / {found['resources']} ({found['share']:.1%})")
    for name, counts in found["rules"].items():
        typer.echo(f"{sum(counts.values()):>8}  {name}  {', '.join(f'{kind} {count}' for kind, count in counts.items())}")


@app.command()
def renew() -> None:
    """Label everything that is stored anew, patient by patient, by the workers: after the rules or a code list changed."""
    chosen = settings()
    with opened(chosen) as database:
        jobs = records.relabel_all(database, load_keys(chosen))
    typer.echo(f"{jobs} 位患者待重新标注 · patients to be labelled anew")
