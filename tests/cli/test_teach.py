"""`siglum teach`: from names, from drawings, from both; read again by `siglum predict`."""

import csv
import io
import json
import shutil
from pathlib import Path

import pytest
from PIL import Image, ImageDraw, ImageFont

from siglum.recogniser.predict import load
from tests.cli.conftest import Call

SIGNS = "A7kR"
ALPHA = Path(__file__).resolve().parents[2] / "docs" / "letters" / "alpha.png"


def draw(path: Path, text: str, turn: float = 0.0, size: int = 90) -> Path:
    image = Image.new("L", (160, 160), 255)
    font = ImageFont.load_default(size)
    ImageDraw.Draw(image).text((80, 80), text, 30, font, anchor="mm")
    path.parent.mkdir(parents=True, exist_ok=True)
    image.rotate(turn, fillcolor=255, resample=Image.Resampling.BILINEAR).save(path)
    return path


def samples(folder: Path, classes: dict[str, str], count: int = 4) -> Path:
    for name, text in classes.items():
        for number in range(count):
            draw(folder / name / f"{number}.png", text, turn=4 * number - 6, size=80 + 5 * number)
    return folder


def test_names_alone_are_enough(siglum: Call, tmp_path: Path) -> None:
    done = siglum("teach", "--chars", SIGNS, "-o", tmp_path / "signs.siglum")
    assert done.returncode == 0, done.stderr
    assert "recognises 4 signs: A 7 k R." in done.stdout
    assert "accuracy on your handwriting is unknown" in done.stdout
    assert done.stdout.count("(not yet measured)") == 2

    files = [draw(tmp_path / f"{number}.png", sign, turn=5) for number, sign in enumerate(SIGNS)]
    done = siglum("predict", tmp_path / "signs.siglum", *files, "--json")
    predictions = json.loads(done.stdout)
    assert [one["label"] for one in predictions] == list(SIGNS)
    assert all(one["label"] in one["prediction_set"] for one in predictions)

    two, blank = draw(tmp_path / "two.png", "A k", size=50), draw(tmp_path / "blank.png", " ")
    one = draw(tmp_path / "one.png", "A", size=50)
    done = siglum("predict", tmp_path / "signs.siglum", one, two, blank)
    several, nothing = done.stdout.splitlines()[4:]
    assert several.startswith(f"{two}: ") and "characters found: use --page" in several
    assert nothing.startswith(f"{blank}: No ink found: nothing stands out from the paper.")


def test_drawings_of_a_zip_whose_classes_are_renamed(siglum: Call, tmp_path: Path) -> None:
    samples(tmp_path / "mine", {"sun": "O", "cross": "X", "hook": "J"})
    packed = shutil.make_archive(str(tmp_path / "mine"), "zip", tmp_path, "mine")
    (tmp_path / "names.csv").write_text("sun,moon\n")
    out = tmp_path / "mine.siglum"
    renames = ("--rename", tmp_path / "names.csv")
    done = siglum("teach", "--samples", packed, *renames, "-o", out, "--json")
    assert done.returncode == 0, done.stderr
    record = json.loads(done.stdout)
    assert record["classes"] == ["cross", "hook", "moon"] and record["samples"] == 12
    assert record["accuracy"]["hits"] >= 11
    assert [point["samples_per_class"] for point in record["learning_curve"]] == [1, 2, 3]
    assert "cross" in siglum("predict", out, draw(tmp_path / "x.png", "X", turn=9)).stdout


def test_folders_of_people_are_no_classes(siglum: Call, tmp_path: Path) -> None:
    for person in ("anna", "bob"):
        samples(tmp_path / "mine" / person, {"cross": "X", "hook": "J"}, count=2)
    teach = ("teach", "--samples", tmp_path / "mine", "-o", tmp_path / "mine.siglum", "--json")
    warning = siglum(*teach).stderr
    (tmp_path / "mine.siglum").unlink()
    done = siglum(*teach, "--writers", warning.split("--writers '")[1].split("'")[0])

    assert "the folder 'cross' is in several folders" in warning and not done.returncode
    assert json.loads(done.stdout)["classes"] == ["cross", "hook"]


def test_characters_and_drawings_together(siglum: Call, tmp_path: Path) -> None:
    folder, out = samples(tmp_path / "mine", {"A": "A", "star": "*"}), tmp_path / "both.siglum"
    done = siglum("teach", "--chars", "A,B", "--samples", folder, "-o", out, "--title", "a few")
    assert done.returncode == 0, done.stderr
    assert f"{out} recognises a few." in done.stdout
    assert "Leave-one-out accuracy: " in done.stdout
    assert "Without drawings, not tested: B" in done.stdout

    bundle = load(out).bundle
    assert bundle.classes == ("A", "B", "star")
    assert bundle.samples is not None and len(bundle.samples.labels) == 8
    assert bundle.head is not None and len(bundle.head.vectors) > 3  # background classes
    assert "leave-one-out" in siglum("info", out).stdout


def test_blank_repeated_and_contradicting_samples_are_named(siglum: Call, tmp_path: Path) -> None:
    folder = samples(tmp_path / "mine", {"a": "a", "b": "b"})
    Image.new("L", (50, 50), 255).save(folder / "a" / "blank.png")
    (folder / "a" / "again.png").write_bytes((folder / "a" / "0.png").read_bytes())
    (folder / "b" / "wrong.png").write_bytes((folder / "a" / "1.png").read_bytes())
    done = siglum("teach", "--samples", folder, "-o", tmp_path / "x.siglum")
    assert done.returncode == 0
    assert "Skipped 1 image without ink, such as a/blank.png" in done.stderr
    assert "Skipped 1 image whose ink equals another's of the class" in done.stderr
    assert "Equal images with different labels: 2 images, such as a/1.png" in done.stderr


def test_accuracy_is_unknown_with_one_drawing_per_sign(siglum: Call, tmp_path: Path) -> None:
    folder = samples(tmp_path / "signs", {"mark one": "A", "mark two": "R"}, count=1)
    done = siglum("teach", "--samples", folder, "-o", tmp_path / "s.siglum")

    assert done.returncode == 0
    assert "Accuracy is unknown with one drawing per sign." in done.stdout


def test_outputs_of_a_table_are_printed(siglum: Call, tmp_path: Path) -> None:
    """Several lines, quotes, a mark at the start as Excel writes it, and a decomposed é."""
    table = 'label,output\r\nA,"two\r\n""lines"""\r\n\r\ne\u0301,\\acute e\r\n'
    (tmp_path / "o.csv").write_bytes(table.encode("utf-8-sig"))
    out, file = tmp_path / "s.siglum", draw(tmp_path / "a.png", "A")
    paper = draw(tmp_path / "blank.png", " ")
    done = siglum("teach", "--chars", "A,k,é,α", "--outputs", tmp_path / "o.csv", "-o", out)
    assert done.returncode == 0, done.stderr

    def output(*flags: str) -> str:
        (record,) = json.loads(siglum("predict", out, file, "--json", *flags).stdout)
        return record["output"]

    assert output() == output("--output", "text") == output("--output", "html") == 'two\n"lines"'
    assert 'outputs            A: two⏎"lines", é: \\acute e' in siglum("info", out).stdout
    text = siglum("predict", out, file, paper, "--csv").stdout
    assert [row["output"] for row in csv.DictReader(io.StringIO(text))] == ['two\n"lines"', ""]
    lines = siglum("predict", out, file, paper, "--output", "latex").stdout.splitlines()
    assert ' two⏎"lines" ' in lines[1] and "none of these" in lines[2]
    assert r" \alpha " in siglum("predict", out, ALPHA, "--output", "latex").stdout


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (b"", "outputs must have a first line label,output and "),
        (b"label;output\nA;B\n", "each label once, got 'label;output' in "),
        (b"name,output\nA,B\n", "got 'name,output' in "),
        (b"label\nA\n", "got 'label' in "),
        (b"label,output\nA,x\nA,y\n", "each label once, got 'A,y' in "),
        (b"label,output\nA\n", "lines of two cells, each label once, got 'A' in "),
        (b"label,output\n,x\n", "got ',x' in "),
        (b"label,output\nA" + 30_000 * b"\xcc\x81\xcc\x96" + b",x\n", "must be of classes of"),
        (b"label,output\nB,x\n", "outputs must be of classes of the recogniser, got 'B'."),
        (b"label,output\nA,\x1b[2J\n", "an output must be text of at most 1,000 characters"),
        (b'label,output\nA,"x', "outputs must be a CSV file in UTF-8, got "),
        ("label,output\nA,ä\n".encode("latin1"), "outputs must be a CSV file in UTF-8, got "),
        ("label,output\nA,ä\n".encode("utf-16"), "outputs must be a CSV file in UTF-8, got "),
    ],
)
def test_a_table_of_outputs_with_a_mistake_is_refused(
    siglum: Call, tmp_path: Path, table: bytes, message: str
) -> None:
    (tmp_path / "o.csv").write_bytes(table)
    out = tmp_path / "s.siglum"
    done = siglum("teach", "--chars", "A,k", "--outputs", tmp_path / "o.csv", "-o", out)

    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1), done.stderr
    assert message in done.stderr and not out.exists()


def test_names_that_are_not_utf_8_are_shown_as_bytes(siglum: Call, tmp_path: Path) -> None:
    out = tmp_path / "s.siglum"
    assert siglum("teach", "--chars", "ab", "--title", "caf\udce9", "-o", out).returncode == 0
    assert "caf\\xe9" in siglum("info", out).stdout

    file = draw(tmp_path / "p\udce9.png", "a")
    for form in ("--json", "--csv"):
        assert "xe9.png" in siglum("predict", out, file, form).stdout
