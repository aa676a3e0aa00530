"""`siglum find`: a character by its shape or its name."""

import json
from pathlib import Path

import pytest
from PIL import Image

ALPHA = Path(__file__).resolve().parents[2] / "docs" / "letters" / "alpha.png"


def test_find_prints_characters_with_what_to_type(siglum) -> None:
    done = siglum("find", ALPHA, "--top", 3)

    lines = [" ".join(line.split()) for line in done.stdout.splitlines()]
    assert (done.returncode, done.stderr, len(lines)) == (0, "", 4)
    assert lines[0] == "name code point LaTeX Typst HTML same shape"
    assert lines[1] == r"α greek small letter alpha U+03B1 \alpha alpha &alpha;"


def test_find_prints_json(siglum) -> None:
    done = siglum("find", ALPHA, "--within", "greek, arrows", "--json")

    matches = json.loads(done.stdout)
    assert len(matches) == 10
    assert (matches[0]["text"], matches[0]["latex"]) == ("α", r"\alpha")
    assert 0.5 < matches[0]["similarity"] <= 1


@pytest.mark.parametrize(
    ("name", "character"),
    [("left arrow", "←"), (r"\Gamma", "Γ"), ("u+6728", "木"), ("arrow.r.double", "⇒"), ("Δ", "Δ")],
)
def test_find_by_name(siglum, name: str, character: str) -> None:
    done = siglum("find", "--name", name, "--top", 1)

    assert done.stdout.splitlines()[1].split()[0] == character, done.stderr


def test_find_explains_what_is_wrong(siglum, tmp_path: Path) -> None:
    Image.new("L", (90, 90), 255).save(tmp_path / "blank.png")
    (tmp_path / "text.png").write_text("not an image")
    for arguments, message in (
        (["blank.png"], "No ink found"),
        (["text.png"], "Cannot read text.png: not an image"),
        (["absent.png"], "Cannot read absent.png: "),
        ([ALPHA, "--within", "gerek"], "Did you mean 'greek'?"),
        ([ALPHA, "--top", 0], "top must be 1 to 100, got 0."),
        (["--name", "zzz"], "No character has the name 'zzz'."),
        ([], "find needs an image or --name"),
        ([ALPHA, "--name", "alpha"], "find needs an image or --name"),
    ):
        done = siglum("find", *arguments, cwd=tmp_path)
        assert (done.returncode, done.stdout) == (2, "")
        assert message in done.stderr and done.stderr.count("\n") == 1


def test_find_warns_of_several_characters(siglum, tmp_path: Path) -> None:
    both = Image.new("RGB", (500, 200), (250, 247, 240))
    both.paste(Image.open(ALPHA), (20, 20))
    both.paste(Image.open(ALPHA), (320, 20))
    both.save(tmp_path / "both.png")
    done = siglum("find", "both.png", "--top", 1, cwd=tmp_path)

    assert done.returncode == 0
    assert "siglum: " in done.stderr and "characters found" in done.stderr
