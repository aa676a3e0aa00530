"""The command that trains the same network again."""

import csv
import io
import shlex

from siglum.config import TrainConfig
from siglum.report import words
from siglum.report.facts import Facts
from siglum.report.page import render
from siglum.report.section import Section

NAMES = "classes.csv"  # what the file of new class names is called in the command


def repeat(facts: Facts) -> Section:
    """Give the command, and what it needs to come out the same."""
    threads = words.count(facts.env["device"]["threads"], "thread")
    finding = f"One command trains it again, to the same bits with {threads} on such a machine"
    html = render(
        "repeat.html",
        facts=facts,
        command=command(facts.config),
        machine=facts.env["device"],
        names=_csv(facts.config.rename),
        file=NAMES,
    )
    return Section("To repeat it", words.sentence(finding), html)


def command(config: TrainConfig) -> str:
    """Return the command line that trains with `config`, quoted for a shell.

    Settings that are what the model is usually trained with are left out. New names of classes
    are read from a file that must be written first.
    """
    usual = TrainConfig(model=config.model)
    line = ["siglum", "train", config.data]
    for name in TrainConfig.model_fields:
        value, flag = getattr(config, name), "--" + name.replace("_", "-")
        first = TrainConfig.model_fields[name].default if name == "model" else getattr(usual, name)
        if value == first or name == "data":
            continue
        if name == "rename":
            line += ["--rename", NAMES]
        elif isinstance(value, bool):
            line.append(flag if value else f"--no-{flag[2:]}")
        elif isinstance(value, dict):
            for key, item in value.items():
                line += _flag(f"{flag}.{key}", item)
        elif isinstance(value, tuple):
            for item in value:
                line += _flag(flag, item)
            if not value:
                line.append(f"--empty-{flag[2:]}")
        else:
            line += _flag(flag, value)
    return shlex.join(line)


def _flag(flag: str, value: object) -> list[str]:
    """Return a flag and its value, as one word where the value could be taken for a flag."""
    return [f"{flag}={value}"] if str(value).startswith("-") else [flag, str(value)]


def _csv(names: dict[str, str]) -> str:
    file = io.StringIO()
    csv.writer(file, lineterminator="\n").writerows(names.items())
    return file.getvalue()
