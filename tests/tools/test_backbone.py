"""Fonts become a backbone: glyphs, synthetic signs, sampling, training and export."""

import subprocess
import sys
import time
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from numpy.random import RandomState

pytest.importorskip("torch")
pytest.importorskip("fontTools")
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from fontTools.ttLib import TTCollection, TTFont
from matplotlib import get_data_path

from siglum import cli
from siglum.images import decode
from siglum.images.ink import normalise
from siglum.recogniser.predict import open_backbone
from tools.backbone.__main__ import app
from tools.backbone.data import Recipe, draw_epoch, join, load_strokes, sample_weights
from tools.backbone.drawings import load_drawings
from tools.backbone.fonts import Face, find_fonts, read_faces
from tools.backbone.glyphs import draw_face, trustworthy

ROOT = Path(__file__).resolve().parents[2]
Box = tuple[int, int, int, int]  # left, bottom, right, top, in thousandths of an em
BAR: tuple[Box, ...] = ((100, 0, 200, 700),)
RING: tuple[Box, ...] = ((100, 0, 500, 100), (100, 400, 500, 500), (100, 0, 200, 500))
HOUSE: tuple[Box, ...] = ((0, 0, 600, 80), (0, 0, 80, 700), (520, 0, 600, 700))
LOW: tuple[Box, ...] = ((100, -200, 200, 100),)
MISSING: tuple[Box, ...] = ((50, 0, 450, 650),)


def write_font(
    path: Path,
    shapes: Mapping[str, tuple[Box, ...]],
    family: str = "Test",
    style: str = "Regular",
    weight: bool = False,
) -> Path:
    """Write a font of boxes; a character without any is blank."""
    order = [".notdef", *(f"g{ord(char):04X}" for char in shapes)]
    builder = FontBuilder(1000, isTTF=True)
    builder.setupGlyphOrder(order)
    builder.setupCharacterMap({ord(char): f"g{ord(char):04X}" for char in shapes})
    glyphs = {}
    for name, boxes in zip(order, [MISSING, *shapes.values()], strict=True):
        pen = TTGlyphPen(None)
        for left, bottom, right, top in boxes:
            pen.moveTo((left, bottom))
            for point in ((left, top), (right, top), (right, bottom)):
                pen.lineTo(point)
            pen.closePath()
        glyphs[name] = pen.glyph()
    builder.setupGlyf(glyphs)
    builder.setupHorizontalMetrics(dict.fromkeys(order, (700, 0)))
    builder.setupHorizontalHeader(ascent=800, descent=-200)
    builder.setupNameTable({"familyName": family, "styleName": style})
    builder.setupOS2()
    builder.setupPost()
    if weight:
        builder.setupFvar([("wght", 400, 400, 900, "Weight")], [])
        builder.setupGvar({})
    builder.save(path)
    return path


def faces_in(folder: Path, characters: str) -> list[Face]:
    faces, _ = read_faces(find_fonts(folder), set(characters))
    return trustworthy(faces)


def pairs(faces: list[Face]) -> list[tuple[str, str]]:
    return sorted((character, face.name) for face in faces for character in face.characters)


def test_a_face_has_its_characters_without_blanks_and_boxes(tmp_path: Path) -> None:
    write_font(tmp_path / "a.ttf", {"T": BAR, "o": RING, "E": (), "Q": MISSING}, "One")
    write_font(tmp_path / "b.ttf", {"T": HOUSE}, "Two", "Bold")

    assert pairs(faces_in(tmp_path, "ToEQ")) == [
        ("T", "One Regular"),
        ("T", "Two Bold"),
        ("o", "One Regular"),
    ]


@pytest.mark.parametrize(
    ("twins", "stays"),
    [("Tt", "T"), ("oó", "o"), ("IT", "I"), ("TÉt", "T"), ("αω", "α")],
    ids=["capital", "base", "first", "base and capital", "greek"],
)
def test_of_equal_glyphs_in_one_script_one_stays(tmp_path: Path, twins: str, stays: str) -> None:
    write_font(tmp_path / "a.ttf", dict.fromkeys(twins, BAR))

    assert pairs(faces_in(tmp_path, twins)) == [(stays, "Test Regular")]


def test_two_scripts_share_a_shape_only_where_half_of_the_faces_do(tmp_path: Path) -> None:
    own = {"A": BAR, "Α": BAR, "a": RING}
    for name, alpha in {"Filled": RING, "Sound": HOUSE, "Sound too": LOW}.items():
        write_font(tmp_path / f"{name}.ttf", {**own, "α": alpha}, name)

    names = pairs(faces_in(tmp_path, "AΑaα"))
    capitals, small = ([name for c, name in names if c == letter] for letter in "Αα")
    assert capitals == ["Filled Regular", "Sound Regular", "Sound too Regular"]
    assert small == ["Sound Regular", "Sound too Regular"]


def test_a_glyph_looks_as_the_normaliser_would_frame_it(tmp_path: Path) -> None:
    write_font(tmp_path / "a.ttf", {"H": HOUSE})
    (glyph,) = draw_face(faces_in(tmp_path, "H")[0], 28)
    large = np.zeros((440, 400), dtype=np.uint8)
    large[40:390, 40:80] = large[40:390, 300:340] = large[350:390, 40:340] = 255

    assert isinstance(glyph, np.ndarray)
    shifted = [np.roll(normalise(large, 28)[0], step, axis=1) for step in (-1, 0, 1)]
    assert min(np.abs(glyph.astype(int) - other).mean() for other in shifted) < 10


def test_a_face_may_be_cut_into_web_fonts(tmp_path: Path) -> None:
    pytest.importorskip("brotli")
    for name, boxes in {"T": BAR, "o": RING}.items():
        font = TTFont(write_font(tmp_path / "part", {name: boxes}))
        font.flavor = "woff2"
        font.save(tmp_path / f"{ord(name)}.woff2")

    assert pairs(faces_in(tmp_path, "To")) == [("T", "Test Regular"), ("o", "Test Regular")]


def test_collections_and_variable_fonts_have_several_faces(tmp_path: Path) -> None:
    collection = TTCollection()
    for name in ("One", "Two"):
        collection.fonts.append(TTFont(write_font(tmp_path / name, {"T": BAR}, name)))
    collection.save(tmp_path / "both.ttc")
    write_font(tmp_path / "variable.ttf", {"T": BAR}, "Var", weight=True)

    names = [name for _, name in pairs(faces_in(tmp_path, "T"))]
    assert names == ["One Regular", "Two Regular", "Var Bold", "Var Regular"]


def test_damaged_fonts_are_left_out_with_a_reason(tmp_path: Path) -> None:
    whole = write_font(tmp_path / "good.ttf", {"T": RING, "o": BAR}, "Good").read_bytes()
    for damage in (b"", b"no font at all" * 9, bytes(4096), whole[: len(whole) // 3]):
        (tmp_path / "bad.ttf").write_bytes(damage)
        faces, unreadable = read_faces(find_fonts(tmp_path), {"T"})
        assert [face.name for face in faces] == ["Good Regular"]
        assert [Path(name).name for name, _ in unreadable] == ["bad.ttf"]
    random = RandomState(0)
    for _ in range(40):  # nothing else is raised
        raw = bytearray(whole)
        for place in random.randint(0, len(raw), 6):
            raw[place] = random.randint(256)
        (tmp_path / "bad.ttf").write_bytes(raw)
        for face in faces_in(tmp_path, "To"):
            list(draw_face(face, 16))


def test_hands_draw_the_same_signs_again_each_differently() -> None:
    recipe = Recipe(signs=3, size=24)
    one, again = (load_strokes(recipe, "synthetic", 4) for _ in range(2))
    flat = one.images.reshape(12, -1).astype(float)
    cosine = flat @ flat.T / np.outer(*[np.linalg.norm(flat, axis=1)] * 2)

    np.testing.assert_array_equal(one.images, again.images)
    assert one.labels.tolist() == [0] * 4 + [1] * 4 + [2] * 4
    assert (flat > 0).any(axis=1).all() and cosine[np.triu_indices(12, 1)].max() < 0.9999


def test_drawings_of_people_are_turned_or_join_their_character(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SIGLUM_DATA", str(tmp_path))
    (tmp_path / "omniglot").mkdir()
    hook = np.full((60, 60), 255, np.uint8)
    hook[10:50, 20:24] = hook[46:50, 20:40] = 0
    raw = decode.to_png(hook[None])
    for number, alphabets in ((1, ("Greek", "Korean")), (2, ("Greek", "Balinese"))):
        path = tmp_path / "omniglot" / f"images_background_small{number}.zip"
        with zipfile.ZipFile(path, "w") as archive:
            for alphabet in alphabets:
                archive.writestr(f"{alphabet}/character01/0001_01.png", raw)
                archive.writestr(f"{alphabet}/character02/0002_01.png", raw)

    sets = load_drawings(("Greek", "Balinese"), 0, 0, Recipe(size=24).preprocess)

    classes = [name for one in sets for name in one.classes]
    assert len(classes) == len(set(classes)) == 10
    assert {name.partition("/")[0] for name in classes} == {"α", "β", "Balinese"}
    upright, turned = sets[1].images[0, 0], sets[2].images[0, 0]
    np.testing.assert_array_equal(np.rot90(upright), turned)
    assert sorted(join(sets).labels.tolist()) == list(range(10))

    with zipfile.ZipFile(tmp_path / "omniglot" / "strokes_background_small1.zip", "w") as archive:
        pen = "START\n1,-1,0\n1,-9,1\nBREAK\n1,-9,2\n5,-9,3\nBREAK\n"
        archive.writestr("x/Greek/character01/0001_01.txt", pen)
    strokes = load_strokes(Recipe(size=24, omniglot=("Greek",)), "omniglot", 2)
    assert strokes.classes == (sets[0].classes[0],)


@pytest.mark.parametrize("balance", [0.0, 0.5, 1.0])
def test_an_epoch_draws_each_class_as_often_as_expected(balance: float) -> None:
    labels = np.repeat(np.arange(3), [4, 16, 64])
    factors = np.where(np.arange(84) % 2, 3.0, 1.0)
    weights = sample_weights(labels, factors, balance, np.ones(labels.max() + 1, np.float32))

    rows = draw_epoch(labels, weights, 840, 0, 5)

    share = np.array([4.0, 16.0, 64.0]) ** (1 - balance)
    expected = 840 * share / share.sum()
    assert np.abs(np.bincount(labels[rows]) - expected).max() <= 1
    assert (rows % 2).mean() == pytest.approx(0.75, abs=0.02)
    np.testing.assert_array_equal(rows, draw_epoch(labels, weights, 840, 0, 5))
    assert (rows != draw_epoch(labels, weights, 840, 0, 6)).any()


def run(*arguments: object) -> None:
    app([*map(str, arguments)], result_action="return_value")


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
def test_fonts_become_a_backbone_that_teaches(tmp_path: Path) -> None:
    fonts = Path(get_data_path()) / "fonts" / "ttf"
    for kind, family in (("hand", "DejaVuSans"), ("text", "DejaVuSerif")):
        (tmp_path / "fonts" / kind).mkdir(parents=True)
        for style in ("", "-Bold"):
            name = f"{family}{style}.ttf"
            (tmp_path / "fonts" / kind / name).symlink_to(fonts / name)
    options = (
        "--characters a-f,A-F --epochs 6 --epoch-size 256 --signs 4 --hands 5 --size 24 "
        "--batch-size 32 --val 0.2 --margin 0.1 --plain 0.2 --threads 1 --model-options.width 4 "
        "--model-options.features 16 --model-options.pool 0 --model-options.norm 1"
    )
    train = ("train", tmp_path / "fonts", "-o", tmp_path / "run", *options.split())
    command = [sys.executable, "-m", "tools.backbone", *map(str, train)]
    killed = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE)
    while not (tmp_path / "run" / "log.jsonl").exists():
        assert killed.poll() is None
        time.sleep(0.05)
    killed.kill()
    killed.communicate()
    run(*train)  # continues
    run(*train[:3], tmp_path / "other", *train[4:], "--init", tmp_path / "run", "--lr", 0.05)
    out = tmp_path / "backbone.siglum"
    flags = ("-o", out, "--licence", "MIT", "--threads", 1, "--length", 10)
    run("export", tmp_path / "run", tmp_path / "other", *flags)

    backbone = open_backbone(out)
    card, rejection = backbone.bundle.card, backbone.bundle.calibration.rejection
    assert backbone.classes == tuple("ABCDEFabcdef")
    assert card.licence == "MIT" and card.data["counts"] == {"train": 36, "val": 12}
    assert card.measured["held-out faces"].total == 12
    assert rejection is not None and rejection.coverage == 0.98
    assert backbone.head.vectors.shape == (12, 10)  # of the 32 features of both networks
    assert len(card.command.splitlines()) == 2
    assert str(tmp_path) not in card.model_dump_json()

    taught = tmp_path / "taught.siglum"
    assert cli.run(["teach", "--chars", "aBeF", "--backbone", str(out), "-o", str(taught)]) == 0
    assert taught.exists()
