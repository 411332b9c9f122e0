"""Results: what a run found, as a JSON file per workload, and the statistics that tables and plots are made of.

A file keeps every round of every side, so that each number shown can be computed again.
"""

import json
import statistics
from typing import NamedTuple

from .workloads import METRICS


class Spread(NamedTuple):
    median: float
    least: float
    most: float


def spread(values):
    return Spread(statistics.median(values), min(values), max(values))


def result_of(workload, settings, environment, measured, skipped):
    """All that is worth keeping of a workload's rounds, ready for JSON."""
    sides = {}
    for side in workload.sides:
        sides[side.name] = {
            "label": side.label,
            "command": " ".join([*(f"{name}={value}" for name, value in side.environment), *side.command]),
            "rounds": measured.get(side.name, []),
        }
        if side.name in skipped:
            sides[side.name]["skipped"] = skipped[side.name]
    targets = [
        {
            "metric": target.metric,
            "side": target.side,
            "against": list(target.against),
            "at_least": target.at_least,
            "at_most": target.at_most,
        }
        for target in workload.targets
    ]
    return {
        "name": workload.name,
        "title": workload.title,
        "explanation": workload.explanation,
        "columns": list(workload.columns),
        "targets": targets,
        "settings": {
            "rounds": settings.rounds,
            "seconds": settings.seconds,
            "warmup": settings.warmup,
            "load": " ".join(getattr(workload, "load", ())),
        },
        "environment": environment,
        "sides": sides,
    }


def save(result, folder):
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{result['name']}.json"
    path.write_text(json.dumps(result, indent=1) + "\n")


def load_all(folder, names):
    """The results that there are, in the order of the names; files of unknown names are left alone."""
    paths = [folder / f"{name}.json" for name in names]
    return [json.loads(path.read_text()) for path in paths if path.exists()]


def column(result, side, metric):
    """The spread of a metric over the rounds of a side, or None."""
    values = [numbers[metric] for numbers in result["sides"][side]["rounds"] if metric in numbers]
    return spread(values) if values else None


def ratio(result, metric, side, against):
    """The spread of side / best of `against`, computed within each round; None without both."""
    best = max if METRICS[metric][1] else min
    ours = [numbers.get(metric) for numbers in result["sides"][side]["rounds"]]
    theirs = [
        [numbers.get(metric) for numbers in result["sides"][name]["rounds"]]
        for name in against
        if result["sides"][name]["rounds"]
    ]
    if not ours or not theirs:
        return None
    ratios = [our / best(their) for our, *their in zip(ours, *theirs, strict=False) if our and all(their)]
    return spread(ratios) if ratios else None


class Verdict(NamedTuple):
    target: dict
    description: str
    found: Spread | None
    bound: str
    met: bool | None  # None: not measured


def verdicts(result):
    """What became of each target."""
    for target in result["targets"]:
        heading = METRICS[target["metric"]][0]
        description = f"{heading}: {result['sides'][target['side']]['label']}"
        labels = [result["sides"][name]["label"] for name in target["against"]]
        if labels:
            best = labels[0] if len(labels) == 1 else f"the best of ({'; '.join(labels)})"
            description += f" / {best}"
            found = ratio(result, target["metric"], target["side"], target["against"])
        else:
            found = column(result, target["side"], target["metric"])
        if target["at_least"] is not None:
            bound, met = f">= {target['at_least']:.2f}", found and found.median >= target["at_least"]
        else:
            bound, met = f"<= {target['at_most']:.2f}", found and found.median <= target["at_most"]
        yield Verdict(target, description, found, bound, met)


def most_foreign_share(result):
    """The largest share of the CPUs' time that others used in a round that counts."""
    shares = [numbers.get("foreign_share", 0) for side in result["sides"].values() for numbers in side["rounds"]]
    return max(shares, default=0)
