"""Every setting, and where and on what the run was made."""

from typing import Any

from siglum.config import TrainConfig
from siglum.report import words
from siglum.report.facts import PARTS, Facts
from siglum.report.page import render
from siglum.report.section import Section

Row = tuple[str, str, str, str]  # name, value, the usual value if it is another, meaning
MEASURED = ("mean", "std")  # taken from the training pictures when they are not given
FILLED = ("data", "epochs")  # decided by every run, so that there is no usual value


def settings(facts: Facts) -> Section:
    """Tabulate settings, environment and fingerprints."""
    rows = _rows(facts)
    changed = sum(bool(row[2]) for row in rows)
    finding = f"{changed} of {len(rows)} settings differ from what {{}} is usually trained with"
    html = render("settings.html", rows=rows, circumstances=_circumstances(facts))
    return Section("Every setting", words.sentence(finding, facts.config.model), html)


def _rows(facts: Facts) -> list[Row]:
    config, usual = facts.config, TrainConfig(model=facts.config.model)
    rows = []
    for name, field in TrainConfig.model_fields.items():
        value, default = getattr(config, name), getattr(usual, name)
        said = _say(value)
        if name in MEASURED and value is None:
            said = f"{getattr(facts.preprocess, name):.6g}, measured"
        differs = value != default and name not in FILLED
        rows.append((name, said, _say(default) if differs else "", field.description or ""))
    return rows


def _say(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, tuple):
        return ", ".join(map(str, value)) or "none"
    if isinstance(value, dict):
        return ", ".join(f"{key} = {item}" for key, item in value.items()) or "none"
    return "not given" if value is None else str(value)


def _circumstances(facts: Facts) -> list[tuple[str, str]]:
    """Return what else there is to know of a run, each with its name."""
    env, result, machine = facts.env, facts.result, facts.env["device"]
    rows = [
        ("begun", words.clock(env["started"])),
        ("finished", words.clock(result["finished"])),
        ("training alone", words.duration(result["seconds"])),
        ("parameters", f"{result['parameters']:,}"),
        ("epochs", f"{result['epochs']:,}, the best was {result['best_epoch']:,}"),
        ("processor", env["processor"]),
        ("device", f"{machine['device']}, {words.count(machine['threads'], 'thread')}"),
        ("precision", machine["precision"]),
        ("system", env["platform"]),
        ("commit", env["commit"] or "unknown: not a checkout"),
    ]
    rows += [(package, version) for package, version in env["versions"].items()]
    for part, name in {"train": "training", **PARTS}.items():
        pictures, fingerprint = env["counts"][part], env["data"][part]
        said = f"{words.count(pictures, 'picture')}, {fingerprint}" if fingerprint else "none"
        rows.append((f"{name} part", said))
    return rows
