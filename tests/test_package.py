"""The package as it is published: its files, licences and version."""

import csv
import re
from pathlib import Path

import siglum

ROOT = Path(__file__).resolve().parents[1]


def test_every_font_that_the_backbone_learned_from_has_the_text_of_its_licence() -> None:
    with (ROOT / "tools" / "backbone" / "packages.csv").open(encoding="utf-8") as file:
        expressions = {row["licence"] for row in csv.DictReader(file)}
    trained = siglum.load(ROOT / "siglum" / "recogniser" / "backbone.siglum").bundle.card.data
    for expression in expressions | {*trained["fonts"]}:
        for licence in re.split(" AND | OR | WITH ", expression):
            name = re.sub("^(A?GPL.*)-(only|or-later)$", r"\1", licence)
            assert (ROOT / "LICENSES" / f"{name}.txt").is_file(), licence


def test_the_citation_has_the_version_of_the_package() -> None:
    assert f"\nversion: {siglum.__version__}\n" in (ROOT / "CITATION.cff").read_text()
