"""The first lines: what was done, how well, how sure."""

from markupsafe import Markup

from siglum.report import words
from siglum.report.facts import Facts


def headline(facts: Facts) -> Markup:
    """Return the finding of the whole run, in one sentence."""
    config, measured = facts.config, facts.measured
    model = words.name(config.model)
    if measured is None:
        return Markup("Nothing measured {}: no pictures were held out, and none to test.").format(
            model
        )
    tested_apart = measured.part == "test" and config.test is not None
    spec = config.test if tested_apart and config.test else config.data
    accuracy = measured.measures.accuracy
    read = Markup("{} reads {:,} of {} of {} right").format(
        model,
        accuracy.hits,
        words.count(accuracy.total, f"{measured.kind} picture"),
        words.name(words.source(spec)),
    )
    if accuracy.total < words.FEW:
        sure = "; with so few, the true rate is between {} (95 %)."
        return read + Markup(sure).format(words.between(accuracy))
    sure = ": {}, between {} (95 %)."
    return read + Markup(sure).format(words.percent(accuracy), words.between(accuracy))


def account(facts: Facts) -> Markup:
    """Return what was trained on what, how long, on what machine and when."""
    counts, result = facts.env["counts"], facts.result
    text = Markup("It learned from {} of {} in {}: {} on {}, {}.").format(
        words.count(counts["train"], "training picture"),
        words.count(len(facts.classes), "class", "classes"),
        words.count(result["epochs"], "epoch"),
        words.duration(result["seconds"]),
        facts.env["processor"],
        words.day(facts.env["started"]),
    )
    if facts.measured is None:
        return text
    if facts.measured.part == "test":
        return text + Markup(" It never learned from the test pictures.")
    text += Markup(" There was no test part: it was measured on pictures held out of the training.")
    if facts.config.checkpoint == "best":
        text += Markup(" Its weights were chosen by the same pictures, which flatters it a little.")
    return text
