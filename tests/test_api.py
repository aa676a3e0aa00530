"""The public names of `import siglum`: teach, predict, add, save, load."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

import siglum
from siglum.errors import ConfigError, DataError, SiglumError

LETTERS = Path(__file__).resolve().parents[1] / "docs" / "letters"


def letter(text: str, size: int = 90) -> Image.Image:
    image = Image.new("L", (160, 160), 255)
    ImageDraw.Draw(image).text((80, 80), text, 30, ImageFont.load_default(size), anchor="mm")
    return image


@pytest.fixture(scope="module")
def greek() -> siglum.Recogniser:
    return siglum.teach(chars="αβγ")


def test_the_public_names_are_pinned() -> None:
    assert siglum.__all__ == [
        "Match", "Pad", "Prediction", "Recogniser", "SiglumError", "SignClassifier", "__version__",
        "find", "load", "teach",
    ]  # fmt: skip
    assert siglum.__all__ == sorted(siglum.__all__)
    for name in siglum.__all__:
        assert getattr(siglum, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'find_all'"):
        _ = siglum.find_all


def test_importing_siglum_imports_no_library() -> None:
    libraries = {"torch", "onnxruntime", "numpy", "PIL", "sklearn", "pydantic"}
    program = f"import sys, siglum; print({libraries} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)

    assert done.stdout.strip() == "set()", done.stderr


@pytest.mark.parametrize("code", ["siglum.SignClassifier()", "from siglum import lab"])
def test_without_the_laboratory_the_message_names_the_extra(code: str) -> None:
    program = f"import sys, siglum; sys.modules |= {{'torch': None, 'sklearn': None}}; {code}"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)

    assert "siglum.errors.MissingExtra: " in done.stderr
    assert done.stderr.endswith("pip install '.[lab]' in Siglum's folder.\n")


def test_every_kind_of_image_gives_the_same_prediction(greek: siglum.Recogniser) -> None:
    path = LETTERS / "alpha.png"
    with Image.open(path) as image:
        grey, colour = np.asarray(image.convert("L")), np.asarray(image.convert("RGB"))
        kinds = [path, str(path), path.read_bytes(), grey, grey[..., None], colour, image.copy()]
        expected = greek.predict(path)
        for prediction in greek.predict(tuple(kinds)):
            assert prediction.label == expected.label == "α"
            assert prediction.probability == pytest.approx(expected.probability, abs=1e-4)


def test_a_prediction_has_everything_that_is_known(greek: siglum.Recogniser) -> None:
    prediction = greek.predict(LETTERS / "beta.png")

    assert isinstance(prediction, siglum.Prediction)
    assert prediction.label == "β" and prediction.prediction_set == ("β",)
    assert not prediction.rejected
    assert prediction.ranking[0][0] == "β"
    assert sum(probability for _, probability in prediction.ranking) == pytest.approx(1)
    assert prediction.ink.dtype == np.uint8 and prediction.ink.shape == (56, 56)
    assert prediction.report is not None and prediction.report.inverted
    assert prediction.warnings == ()
    assert list(prediction.to_dict()) == [
        "file", "label", "probability", "runner_up", "runner_up_probability", "inverted",
        "prediction_set", "rejected", "warnings", "output",
    ]  # fmt: skip
    html = prediction._repr_html_()
    for part in ('<img src="data:image/png;base64,', "invert(1)", "β: &gt; 99 %"):
        assert part in html
    assert "3 classes" in greek._repr_html_()
    assert len(repr(greek)) < 300 and "array" not in repr(prediction)


def test_strokes_are_predicted_in_any_unit() -> None:
    recogniser = siglum.teach(chars="L,X,T")
    cross = [[(100, 100), (300, 300)], [(300, 100), (100, 300)]]
    strokes = [[[0.3, 0.2, 0, 0.5], [0.3, 0.8, 9, 0.5], [0.7, 0.8, 18, 0.5]]]
    drawing = {"version": 1, "aspect": 1.0, "strokes": strokes}
    arrays = [np.array(stroke, dtype=float) for stroke in cross]

    found = recogniser.predict([cross, drawing, arrays])

    assert [prediction.label for prediction in found] == ["X", "L", "X"]
    assert recogniser.predict(cross).label == "X"


def test_drawings_are_taught_added_and_saved(tmp_path: Path) -> None:
    recogniser = siglum.teach(
        samples={"sun": [letter("O"), letter("O", 70)], "cross": [letter("X"), letter("X", 70)]}
    )
    recogniser.add("hook", [letter("J"), letter("J", 70)])
    recogniser.add("sun", letter("O", 80))
    recogniser.save(tmp_path / "signs.siglum")
    recogniser.save(tmp_path / "signs.siglum")  # as often as you like

    opened = siglum.load(tmp_path / "signs.siglum")

    assert opened.classes == ("cross", "sun", "hook")
    assert opened.predict(letter("J", 85)).label == "hook"
    opened.add("hook", letter("J", 60))
    assert opened.bundle.samples is not None and len(opened.bundle.samples.labels) == 8
    again = opened.predict(letter("X", 75))
    assert again.label == recogniser.predict(letter("X", 75)).label == "cross"


@pytest.mark.filterwarnings("ignore:Look alike")
def test_characters_of_latex_have_their_commands_as_outputs() -> None:
    outputs = siglum.teach(chars="LaTeX, é, ab", outputs={"∫": "integral"}).outputs

    assert (outputs["α"], outputs["⊕"], outputs["⟹"]) == (r"\alpha", r"\oplus", r"\Longrightarrow")
    assert outputs["∫"] == "integral" and not outputs.keys() & {"é", "a"}


def test_predictions_have_outputs_of_their_classes(tmp_path: Path) -> None:
    texts = {"L": "first line\n\tsecond", "<": "less"}
    recogniser = siglum.teach(chars="L,X,T,<,木", outputs=texts | {"X": "X", "T": ""})
    recogniser.add("hook", letter("J"))
    recogniser.save(tmp_path / "signs.siglum")
    opened = siglum.load(tmp_path / "signs.siglum")
    corner, cross, less = opened.predict([letter("L"), letter("X"), letter("<")])

    assert recogniser.outputs == opened.outputs == texts
    assert (corner.output, cross.output, less.output) == (texts["L"], "X", "less")
    assert (corner.output_as("html"), less.output_as("html")) == (texts["L"], "&lt;")
    assert less.output_as("python") == r"\u003c" and less.output_as("text") == "less"
    assert replace(less, label="木", output="木").output_as("latex") == "木"
    assert replace(less, label="less than").output_as("latex") == "less"
    with pytest.raises(ConfigError, match="output must be one of html, latex, .* got 'tex'"):
        less.output_as("tex")
    blank = opened.predict(np.full((60, 60), 255, np.uint8))
    assert blank.rejected and blank.output == blank.output_as("html") == ""


def test_names_in_two_unicode_forms_are_one_class() -> None:
    """A Mac decomposes the names of folders."""
    drawings = {"e\u0301": [letter("e")], "\xe9": [letter("e", 60)], "x": [letter("x")]}

    assert siglum.teach(samples=drawings).classes == ("x", "\xe9")


def test_confusable_characters_are_reported() -> None:
    with pytest.warns(UserWarning, match=r"Look alike in most fonts: .*U\+0041.*U\+0410"):
        siglum.teach(chars="AАB")


def test_an_image_without_ink_is_rejected_with_a_warning(greek: siglum.Recogniser) -> None:
    prediction = greek.predict(np.full((60, 60), 255, np.uint8))

    assert prediction.rejected and "No ink" in prediction.warnings[0]


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros((3, 3)), r"an array must be uint8 \(H, W\) or \(H, W, 3\), got float64 \(3, 3\)"),
        (np.zeros(3, np.uint8), r"an array must be uint8 \(H, W\)"),
        ("none.png", "Cannot read none.png: "),
        (b"hello", "Cannot read image 1: "),
        (3, "an image must be a path, bytes, a uint8 array, a Pillow image or strokes, got int"),
        ({"strokes": []}, "drawing.version: Field required"),
        ([[[(1, 2), (float("nan"), 3)]]], "drawing.strokes.0.0.0: Input should be"),
        ([[[(1, 2), (3, 4, 5, 6, 7)]]], "strokes must be lists of points"),
        *[
            ([np.zeros((9, 9))] * n, r"an array must be uint8 .* got float64 \(9, 9\)")
            for n in (1, 2)
        ],
    ],
)
def test_wrong_images_are_named(greek: siglum.Recogniser, image: object, message: str) -> None:
    with pytest.raises(SiglumError, match=message):
        greek.predict(image)  # type: ignore[call-overload]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "teach needs chars, samples or both, got neither"),
        ({"chars": "α"}, "classes must be 2 to "),
        ({"samples": {}}, "samples have no images"),
        ({"samples": {"a": ["none.png"]}}, r"samples\['a'\]: Cannot read none.png"),
        ({"chars": "a,\U00012000"}, "No font has "),
        ({"chars": ["α", "β"]}, "chars must be text, such as"),
        ({"samples": [np.zeros((9, 9), np.uint8)]}, "path or images by label, got list."),
        ({"samples": {1: []}}, "labels of samples must be text, got 1."),
        ({"samples": {"a": [np.zeros((9, 9))]}}, r"samples\['a'\]: .* must be uint8"),
        ({"chars": "αβ", "rename": {"α": "a"}}, "rename needs samples"),
        ({"chars": "αβ", "writers": "(.)"}, "writers needs samples with file names"),
        ({"chars": "αβ", "outputs": ["α"]}, "outputs must be texts by class, got "),
        ({"chars": "αβ", "outputs": {"a": "x"}}, "outputs must be of classes of the .* got 'a'."),
        ({"chars": "αβ", "outputs": {"α": 3}}, "an output must be text of at most 1,000 char"),
        ({"chars": "αβ", "outputs": {"α": "\x1b[2J"}}, "without control characters, got '.x1b"),
    ],
)
def test_wrong_arguments_are_named(arguments: dict[str, object], message: str) -> None:
    with pytest.raises((ConfigError, DataError), match=message):
        siglum.teach(**arguments)  # type: ignore[arg-type]


def test_only_taught_recognisers_take_drawings() -> None:
    from siglum.recogniser.predict import default_backbone

    with pytest.raises(DataError, match="Cannot add drawings"):
        default_backbone().add("a", letter("A"))


def test_only_drawings_with_ink_are_added_under_a_name() -> None:
    recogniser = siglum.teach(chars="L,X,T")

    with pytest.raises(ConfigError, match="label must be text, got 3."):
        recogniser.add(3, np.zeros((9, 9), np.uint8))  # type: ignore[arg-type]
    with pytest.raises(DataError, match="No drawings given for 'L'."):
        recogniser.add("L", [])
    with pytest.raises(DataError, match="No ink found in the drawings of 'L'."):
        recogniser.add("L", np.full((30, 30), 255, np.uint8))
    assert repr(recogniser) == "Recogniser(3 classes: L X T)"
