"""`siglum teach`: from names, from drawings, from both; read again by `siglum predict`."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image, ImageDraw, ImageFont

from siglum.recogniser.predict import load

Siglum = Callable[..., tuple[int, str, str]]


@pytest.fixture
def call(siglum: Callable[..., subprocess.CompletedProcess[str]]) -> Siglum:
    """Run a command: its exit code, what it printed, what it warned of."""

    def run(*arguments: str) -> tuple[int, str, str]:
        done = siglum(*arguments)
        return done.returncode, done.stdout, done.stderr

    return run


SIGNS = "A7kR"


def draw(path: Path, text: str, turn: float = 0.0, size: int = 90) -> Path:
    """Write a picture of a character in the letters that Pillow brings along."""
    image = Image.new("L", (160, 160), 255)
    font = ImageFont.load_default(size)
    ImageDraw.Draw(image).text((80, 80), text, 30, font, anchor="mm")
    path.parent.mkdir(parents=True, exist_ok=True)
    image.rotate(turn, fillcolor=255, resample=Image.Resampling.BILINEAR).save(path)
    return path


def samples(folder: Path, classes: dict[str, str], count: int = 4) -> Path:
    """Write `count` pictures of each class: {class: what it looks like}."""
    for name, text in classes.items():
        for number in range(count):
            draw(folder / name / f"{number}.png", text, turn=4 * number - 6, size=80 + 5 * number)
    return folder


def test_names_alone_are_enough(call: Siglum, tmp_path: Path) -> None:
    out = tmp_path / "signs.siglum"
    code, printed, _ = call("teach", "--chars", SIGNS, "-o", str(out))
    assert code == 0
    assert "recognises 4 signs: A 7 k R." in printed
    assert "accuracy on your handwriting is unknown" in printed
    assert printed.count("(not measured)") == 2

    files = [draw(tmp_path / f"{number}.png", sign, turn=5) for number, sign in enumerate(SIGNS)]
    code, printed, _ = call("predict", str(out), *map(str, files), "--json")
    assert code == 0
    answers = json.loads(printed)
    assert [answer["label"] for answer in answers] == list(SIGNS)
    assert all(answer["label"] in answer["prediction_set"] for answer in answers)


def test_what_is_wrong_with_a_picture_is_said_beside_its_answer(
    call: Siglum, tmp_path: Path
) -> None:
    out = tmp_path / "signs.siglum"
    assert call("teach", "--chars", SIGNS, "-o", str(out))[0] == 0
    one, two, blank = (
        draw(tmp_path / f"{name}.png", text, size=50)
        for name, text in (("one", "A"), ("two", "A k"), ("blank", " "))
    )

    code, printed, _ = call("predict", str(out), str(one), str(two), str(blank))
    assert code == 0
    below = printed.splitlines()[4:]
    assert below == [
        f"{two}: Several characters found: use --page, or crop to one.",
        f"{blank}: No ink found: nothing stands out from the paper. Use a darker pen.",
    ]
    answers = json.loads(call("predict", str(out), str(one), str(two), "--json")[1])
    assert [len(answer["warnings"]) for answer in answers] == [0, 1]


def test_drawings_of_invented_signs(call: Siglum, tmp_path: Path) -> None:
    folder = samples(tmp_path / "mine", {"sun": "O", "cross": "X", "hook": "J"})
    out = tmp_path / "mine.siglum"
    code, printed, _ = call("teach", "--samples", str(folder), "-o", str(out), "--json")
    assert code == 0
    said = json.loads(printed)
    assert said["classes"] == ["cross", "hook", "sun"]
    assert said["samples"] == 12
    assert said["accuracy"]["hits"] >= 11
    assert [point["samples_per_class"] for point in said["learning_curve"]] == [1, 2, 3]

    code, printed, _ = call("predict", str(out), str(draw(tmp_path / "x.png", "X", turn=9)))
    assert code == 0
    assert "cross" in printed


def test_both_together_and_what_is_kept(call: Siglum, tmp_path: Path) -> None:
    folder = samples(tmp_path / "mine", {"A": "A", "star": "*"})
    out = tmp_path / "both.siglum"
    code, printed, _ = call(
        "teach", "--chars", "A,B", "--samples", str(folder), "-o", str(out), "--title", "a few"
    )
    assert code == 0
    assert f"{out} recognises a few." in printed
    assert "Leave-one-out accuracy: " in printed
    assert "Without drawings, not tested: B" in printed

    bundle = load(out).bundle
    assert bundle.classes == ("A", "B", "star")
    assert bundle.samples is not None and len(bundle.samples.labels) == 8
    assert bundle.head is not None and len(bundle.head.vectors) > 3  # outsiders behind the classes
    code, printed, _ = call("info", str(out))
    assert code == 0
    assert "8, stored in the bundle" in printed
    assert "leave-one-out" in printed


def test_an_archive_and_renamed_classes(call: Siglum, tmp_path: Path) -> None:
    import shutil

    samples(tmp_path / "mine", {"one": "1", "two": "2"})
    packed = shutil.make_archive(str(tmp_path / "mine"), "zip", tmp_path, "mine")
    (tmp_path / "names.csv").write_text("one,1\ntwo,2\n")
    out = tmp_path / "digits.siglum"
    code, _, _ = call(
        "teach", "--samples", packed, "--rename", str(tmp_path / "names.csv"), "-o", str(out)
    )
    assert code == 0
    assert load(out).classes == ("1", "2")


def test_blank_repeated_and_contradicting_samples_are_named(call: Siglum, tmp_path: Path) -> None:
    folder = samples(tmp_path / "mine", {"a": "a", "b": "b"})
    Image.new("L", (50, 50), 255).save(folder / "a" / "blank.png")
    (folder / "a" / "again.png").write_bytes((folder / "a" / "0.png").read_bytes())
    (folder / "b" / "wrong.png").write_bytes((folder / "a" / "1.png").read_bytes())
    code, _, warned = call("teach", "--samples", str(folder), "-o", str(tmp_path / "x.siglum"))
    assert code == 0
    assert "Skipped 1 image without ink, such as a/blank.png" in warned
    assert "Skipped 1 image equal to another of its class" in warned
    assert "Equal images with different labels: 2 images, such as a/1.png" in warned


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "teach needs chars, samples or both, got neither."),
        (("--chars", "aba"), "characters must differ, got a (U+0061"),
        (("--chars", "e\u0301,é"), "characters must differ, got é (U+00E9"),
        (
            ("--chars", "a,CUNEIFORM SIGN A"),
            "No font has 𒀀 (U+12000 CUNEIFORM SIGN A), and it has no samples. Give samples of it.",
        ),
        (("--samples", "no-such-folder"), "no-such-folder"),
        (("--chars", "ab", "--backbone", "none.siglum"), "Cannot read none.siglum: no such file."),
    ],
)
def test_mistakes_are_told(
    call: Siglum, tmp_path: Path, arguments: tuple[str, ...], message: str
) -> None:
    code, _, said = call("teach", *arguments, "-o", str(tmp_path / "x.siglum"))
    assert code == 2
    assert message in said
    assert not list(tmp_path.glob("*.siglum"))


def test_one_name_in_two_normal_forms_is_refused(call: Siglum, tmp_path: Path) -> None:
    folder = samples(tmp_path / "mine", {"e\u0301": "e", "\xe9": "e", "x": "x"}, count=1)
    if len(list(folder.iterdir())) < 3:
        pytest.skip("this file system takes both names for one")
    code, _, said = call("teach", "--samples", str(folder), "-o", str(tmp_path / "x.siglum"))
    assert code == 2
    assert "samples have the class 'é' in two Unicode forms" in said


def test_nothing_is_overwritten(call: Siglum, tmp_path: Path) -> None:
    out = tmp_path / "x.siglum"
    out.write_text("mine")
    code, _, said = call("teach", "--chars", "ab", "-o", str(out))
    assert code == 2
    assert "x.siglum exists already. Choose another name with -o." in said
    assert out.read_text() == "mine"


def test_one_drawing_a_sign_is_known_and_not_yet_judged(call: Siglum, tmp_path: Path) -> None:
    folder = samples(tmp_path / "signs", {"mark one": "A", "mark two": "R"}, count=1)
    code, printed, _ = call("teach", "--samples", str(folder), "-o", str(tmp_path / "s.siglum"))

    assert code == 0
    assert "Accuracy is unknown with one drawing per sign." in printed
    assert "No drawings yet" not in printed


def test_names_that_are_not_utf_8_are_shown_as_bytes(call: Siglum, tmp_path: Path) -> None:
    out = tmp_path / "s.siglum"
    assert call("teach", "--chars", "ab", "--title", "caf\udce9", "-o", str(out))[0] == 0
    assert "caf\\xe9" in call("info", str(out))[1]

    file = draw(tmp_path / "p\udce9.png", "a")
    for form in ("--json", "--csv"):
        code, printed, _ = call("predict", str(out), str(file), form)
        assert code == 0 and "xe9.png" in printed
