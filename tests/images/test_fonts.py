"""Characters drawn from fonts, most of them tiny ones that are built here with planted faults."""

import itertools
import re
from pathlib import Path

import numpy as np
import pytest
from fontTools.ttLib import TTCollection, TTFont
from hypothesis import given, settings
from hypothesis import strategies as st
from making import BAR, HOUSE, LOW, MISSING, RING, write_font
from PIL import ImageFont

from siglum.config import Preprocess
from siglum.errors import ConfigError, DataError
from siglum.images import charsets, faces, fonts, glyphs, ink, lookalike, sources
from siglum.images.contact_sheet import contact_sheet
from siglum.images.imageset import ImageSet


def found_in(place: Path, characters: str) -> ImageSet:
    return sources.load(f"fonts:{place}#{characters}", "all", Preprocess(fit="glyph"))


def pairs_of(found: ImageSet) -> list[tuple[str, str]]:
    assert found.writers is not None
    names = (found.classes[label] for label in found.labels)
    return sorted(zip(names, found.writers, strict=True))


def test_the_class_is_the_character_and_the_writer_the_face(tmp_path: Path) -> None:
    write_font(tmp_path / "a.ttf", {"T": BAR, "o": RING}, "One")
    write_font(tmp_path / "b.ttf", {"T": HOUSE}, "Two", "Bold")

    assert pairs_of(found_in(tmp_path, "To")) == [
        ("T", "One Regular"),
        ("T", "Two Bold"),
        ("o", "One Regular"),
    ]


@pytest.mark.filterwarnings("ignore:.*no font has")
def test_blanks_and_boxes_for_what_is_missing_are_left_out(tmp_path: Path) -> None:
    write_font(tmp_path / "a.ttf", {"T": BAR, "E": (), "Q": MISSING})

    assert found_in(tmp_path, "TEQ").classes == ("T",)


@pytest.mark.filterwarnings("ignore:.*no font has")
@pytest.mark.parametrize(
    ("twins", "stays"),
    [("Tt", "T"), ("oó", "o"), ("IT", "I"), ("TÉt", "T"), ("αω", "α")],
    ids=["capital", "base", "first", "base and capital", "greek"],
)
def test_of_pictures_that_are_the_same_in_one_script_one_stays(
    tmp_path: Path, twins: str, stays: str
) -> None:
    write_font(tmp_path / "a.ttf", dict.fromkeys(twins, BAR))

    assert found_in(tmp_path, twins).classes == (stays,)


@pytest.mark.filterwarnings("ignore:.*no font has")
def test_two_scripts_may_share_a_shape_where_most_faces_do_it_so(tmp_path: Path) -> None:
    """Greek Alpha is drawn as A by right; alpha drawn as a, here in one face of three, is not."""
    own = {"A": BAR, "Α": BAR, "a": RING}
    write_font(tmp_path / "1.ttf", {**own, "α": RING}, "Filled")
    write_font(tmp_path / "2.ttf", {**own, "α": HOUSE}, "Sound")
    write_font(tmp_path / "3.ttf", {**own, "α": LOW}, "Sound too")

    assert pairs_of(found_in(tmp_path, "Αα")) == [
        ("Α", "Filled Regular"),
        ("Α", "Sound Regular"),
        ("Α", "Sound too Regular"),
        ("α", "Sound Regular"),
        ("α", "Sound too Regular"),
    ]


@pytest.mark.filterwarnings("ignore:.*no font has")
def test_small_letters_that_are_small_capitals_are_left_out(tmp_path: Path) -> None:
    shapes = dict(zip("ABDEGT", itertools.cycle([RING, HOUSE]), strict=False))
    halves = {
        char.lower(): tuple((a // 2, b // 2, c // 2, d // 2) for a, b, c, d in boxes)
        for char, boxes in shapes.items()
    }
    write_font(tmp_path / "a.ttf", {**shapes, **halves, "o": BAR})

    assert set(found_in(tmp_path, "ABab,o").classes) <= {"A", "B", "o"}
    assert "A" in found_in(tmp_path, "ABab,o").classes


def test_size_and_place_are_those_on_the_line(tmp_path: Path) -> None:
    """The line is 1,000 high as declared, with an eighth of an em free above and below."""
    write_font(tmp_path / "a.ttf", {"o": RING, "T": BAR})
    preprocess = Preprocess(fit="glyph", place=True)
    found = sources.load(f"fonts:{tmp_path}#To", "all", preprocess)
    height, width, place = found.images[:, 1:, 0, 0].T / 255

    np.testing.assert_allclose(height, [0.7 / 1.25, 0.5 / 1.25], atol=0.02)
    np.testing.assert_allclose(width, [0.1 / 1.25, 0.4 / 1.25], atol=0.02)
    np.testing.assert_allclose(place, [(0.925 - 0.35) / 1.25, (0.925 - 0.25) / 1.25], atol=0.02)


def test_the_line_does_not_depend_on_what_is_asked_for(tmp_path: Path) -> None:
    shapes = dict.fromkeys(faces.LINE, BAR) | {"g": LOW, "α": RING}
    write_font(tmp_path / "a.ttf", shapes)
    preprocess = Preprocess(fit="glyph", place=True)
    alone = sources.load(f"fonts:{tmp_path}#α", "all", preprocess).images
    among = sources.load(f"fonts:{tmp_path}#αbg", "all", preprocess)

    np.testing.assert_array_equal(alone[0], among.images[among.labels == 2][0])


def test_a_picture_is_what_the_normaliser_makes_of_it(tmp_path: Path) -> None:
    """The same frame as for a photograph of it; the edges of strokes may differ a little."""
    write_font(tmp_path / "a.ttf", {"o": RING, "T": BAR, "H": HOUSE})
    face = faces.read(faces.find([tmp_path]), "oTH")[0][0]
    for _, picture in glyphs.pictures_of(face):
        assert not isinstance(picture, DataError)
        ours = glyphs.planes(picture, Preprocess(fit="glyph"))[0]
        framed, _ = ink.normalise(picture, 28)

        assert np.abs(ours.astype(int) - framed).mean() < 4


def test_the_same_fonts_give_the_same_pictures_wherever_they_lie(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prints = []
    for number in range(2):
        folder = tmp_path / f"place{number}"
        folder.mkdir()
        write_font(folder / f"z{number}.ttf", {"T": BAR, "o": RING}, "One")
        write_font(folder / "y.ttf", {"T": HOUSE}, "Two")
        monkeypatch.setenv("SIGLUM_CACHE", str(tmp_path / f"cache{number}"))
        found = found_in(folder, "To")
        prints.append((found.fingerprint, found.writers, found.classes))

    assert prints[0] == prints[1]


@pytest.mark.parametrize("flavor", ["woff", "woff2"])
def test_web_fonts_are_read_and_drawn_alike(tmp_path: Path, flavor: str) -> None:
    """A face cut into a file a script, as web fonts are, is one face."""
    if flavor == "woff2":
        pytest.importorskip("brotli")
    whole = write_font(tmp_path / "whole.ttf", {"T": BAR, "o": RING})
    (tmp_path / "web").mkdir()
    for name, boxes in {"T": BAR, "o": RING}.items():
        font = TTFont(write_font(tmp_path / "part.ttf", {name: boxes}))
        font.flavor = flavor
        font.save(tmp_path / "web" / f"{ord(name)}.{flavor}")

    found = found_in(tmp_path / "web", "To")
    assert set(found.writers or ()) == {"Test Regular"}
    # FreeType fits strokes to pixels by what else is in a file: the edges differ by a shade.
    shades = found.images.astype(int) - found_in(whole, "To").images
    assert np.abs(shades).max() < 32


def test_every_face_of_a_collection_is_read(tmp_path: Path) -> None:
    collection = TTCollection()
    for name in ("One", "Two"):
        collection.fonts.append(TTFont(write_font(tmp_path / f"{name}.ttf", {"T": BAR}, name)))
    collection.save(tmp_path / "both.ttc")

    assert found_in(tmp_path / "both.ttc", "T").writers == ("One Regular", "Two Regular")


def test_a_variable_font_is_drawn_in_bold_too(tmp_path: Path) -> None:
    write_font(tmp_path / "a.ttf", {"T": BAR}, weight=True)

    assert found_in(tmp_path, "T").writers == ("Test Bold", "Test Regular")


DAMAGES = {
    "empty": b"",
    "text": b"no font at all, but long enough for any header that somebody may look for",
    "zeros": bytes(4096),
}


@pytest.mark.parametrize("damage", [*DAMAGES, "cut", "flipped"])
def test_a_damaged_font_is_left_out_with_a_reason(tmp_path: Path, damage: str) -> None:
    write_font(tmp_path / "good.ttf", {"T": BAR}, "Good")
    data = bytearray(write_font(tmp_path / "source", {"T": RING}, "Bad").read_bytes())
    if damage == "flipped":
        data[12:200:7] = bytes(len(data[12:200:7]))
    cut = {"cut": data[: len(data) // 3], "flipped": data}
    (tmp_path / "bad.ttf").write_bytes(DAMAGES.get(damage) or bytes(cut.get(damage, b"")))

    with pytest.warns(UserWarning, match=r"1 of 2 files are left out, such as .*bad\.ttf, which"):
        found = found_in(tmp_path, "T")
    assert found.writers == ("Good Regular",)
    ((name, reason),) = found.unreadable
    assert name.endswith("bad.ttf")
    assert re.match(r"(cannot be opened by FreeType|is damaged) \(.+\)$", reason)


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_no_flipped_bytes_ever_raise_anything_else(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("flipped")
    path = write_font(folder / "a.ttf", {"T": RING, "o": BAR})
    whole = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 8))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(whole)

    found, unreadable = faces.read([path], "To")
    for face in glyphs.kept(found):
        assert all(picture is not None for _, picture in glyphs.pictures_of(face))
    assert all(reason for _, reason in unreadable)


def test_damaged_outlines_of_the_letters_that_tell_the_line_stop_nothing(tmp_path: Path) -> None:
    """FreeType opens such a font, and fails at the letter."""
    path = write_font(tmp_path / "a.ttf", dict.fromkeys({*faces.LINE, "T"}, RING), "Bad")
    table = TTFont(path).reader.tables["glyf"]
    raw = bytearray(path.read_bytes())
    raw[table.offset : table.offset + table.length] = b"\x7f" * table.length
    path.write_bytes(raw)
    part = faces.Part(str(path), 0, (), "".join(sorted(faces.LINE)))
    with pytest.raises(OSError):
        faces.opened(part).getbbox(faces.LINE[0], anchor="ls")

    found, _ = faces.read([path], "T" + "".join(faces.LINE))

    assert all(0.5 <= face.above <= 2 and 0.1 <= face.below <= 1 for face in found)


def fails(spec: str, kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=f"^{re.escape(message)}$"):
        sources.load(spec)


def test_a_place_without_fonts_is_told(tmp_path: Path) -> None:
    fails(
        f"fonts:{tmp_path}#αβ",
        DataError,
        f"fonts:{tmp_path}#αβ must find a font with one of 2 characters, got none in {tmp_path}. "
        "Install fonts, or name another folder.",
    )


def test_characters_that_no_font_has_are_told(tmp_path: Path) -> None:
    write_font(tmp_path / "a.ttf", {"T": BAR})
    said = re.escape("no font has 1 of 2 characters: ♔ (U+2654 WHITE CHESS KING)")

    with pytest.warns(UserWarning, match=said):
        assert found_in(tmp_path, "T♔").classes == ("T",)


def test_without_a_place_the_systems_fonts_are_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "fonts").mkdir()
    write_font(tmp_path / "fonts" / "a.ttf", {"T": BAR})
    monkeypatch.setattr(faces.sys, "platform", "linux")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    monkeypatch.setenv("XDG_DATA_DIRS", str(tmp_path / "nowhere"))

    assert len(sources.load("fonts:#T")) == len(sources.load("fonts")) == 1


def test_a_real_font_makes_a_sheet() -> None:
    matplotlib = pytest.importorskip("matplotlib")
    place = Path(matplotlib.__file__).parent / "mpl-data/fonts/ttf/DejaVuSans.ttf"
    found = sources.load(f"fonts:{place}#αβγ,digits", "all", Preprocess(fit="glyph"))

    assert found.classes == tuple("0123456789αβγ")
    assert (found.images.max(axis=(1, 2, 3)) == 255).all()
    ink = np.asarray(contact_sheet(found).convert("L")) < 128
    assert ink.any()


def test_pillows_own_face_tells_lower_case_from_capitals(tmp_path: Path) -> None:
    font = ImageFont.load_default(20)
    if not isinstance(font, ImageFont.FreeTypeFont):
        pytest.skip("this Pillow has no FreeType")
    path = tmp_path / "default.ttf"
    path.write_bytes(font.font_bytes)
    found = found_in(path, "latin")

    assert len(found.classes) == 52


# What characters there are, and how they are named.


def test_groups_hold_what_can_be_drawn_once_and_in_order() -> None:
    every = [character for characters in charsets.groups().values() for character in characters]

    assert len(every) == len(set(every)) > 10_000
    assert all(map(charsets.stands_alone, every))
    for characters in charsets.groups().values():
        assert list(characters) == sorted(characters) != []


def test_kanji_and_hangul_are_those_of_the_standards() -> None:
    """2,965 of JIS X 0208's first level, and KS X 1001's 2,350 syllables and 51 letters."""
    assert len(charsets.groups()["kanji"]) == 2965
    assert len(charsets.groups()["hangul"]) == 2350 + 51
    assert {"一", "亜", "腕"} <= {*charsets.groups()["kanji"]}
    assert {"가", "힝", "ㄱ"} <= {*charsets.groups()["hangul"]}


@pytest.mark.parametrize(
    ("text", "characters"),
    [
        ("αβγ", "αβγ"),
        ("β α", "βα"),
        ("greek small letter alpha", "α"),
        ("GREEK SMALL LETTER ALPHA,1, BALLOT BOX WITH CHECK", "α1☑"),
        ("e\u0301", "é"),
        ("OHM SIGN", "Ω"),
        ("☑\ufe0e", "☑"),
        (",", ","),
        ("chess", "♔♕♖♗♘♙♚♛♜♝♞♟"),
        ("chess,♔", "♔♕♖♗♘♙♚♛♜♝♞♟"),
        ("ox", "ox"),
    ],
)
def test_characters_are_named_in_these_ways(text: str, characters: str) -> None:
    assert charsets.resolve(text) == tuple(characters)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "greek small leter alpha",
            "characters must be a group, a Unicode name or characters, got 'greek small leter "
            "alpha'. Did you mean 'GREEK SMALL LETTER ALPHA'?",
        ),
        (
            "é,e\u0301",
            r"characters must differ, got '\xe9' and 'e\u0301', which are both é (U+00E9 LATIN "
            "SMALL LETTER E WITH ACUTE). Name it once.",
        ),
        (
            "greec",
            "characters must differ, got 'e' and 'e', which are both e (U+0065 LATIN SMALL LETTER "
            "E). Name it once. Did you mean 'greek'?",
        ),
        (
            "x\u0302",
            "characters must be single code points, got 'x\u0302' (U+0078 and U+0302), which "
            "Unicode does not compose. Teach it by samples.",
        ),
        (
            "\u200d",
            "characters must be ones that can stand alone, got U+200D (ZERO WIDTH JOINER).",
        ),
        ("a,,b", "characters must be named between commas, got 'a,,b'."),
        ("", "characters must be named between commas, got ''."),
    ],
)
def test_what_names_no_character_is_told(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=f"^{re.escape(message)}$"):
        charsets.resolve(text)


def test_look_alikes_are_found_in_the_pictures(tmp_path: Path) -> None:
    """Planted: A like Alpha in two faces of two, o like O but for its size, T like nothing."""
    big = tuple((2 * a, 2 * b, 2 * c, 2 * d) for a, b, c, d in RING)
    shapes = {"A": HOUSE, "Α": HOUSE, "o": RING, "O": big, "T": BAR}
    for name in ("One", "Two"):
        write_font(tmp_path / f"{name}.ttf", shapes, name)
    found = lookalike.pairs(found_in(tmp_path, "".join(shapes)))

    assert lookalike.groups(found) == [("A", "Α"), ("O", "o")]
    assert [(pair.faces, pair.both) for pair in found] == [(2, 2), (2, 2)]


def test_look_alikes_need_faces() -> None:
    with pytest.raises(ConfigError, match=r"^images must be of known faces, got none for mnist5k"):
        lookalike.pairs(sources.load("mnist5k"))


def test_every_group_can_be_asked_for_by_its_name() -> None:
    assert fonts.CHOICE not in "".join(charsets.GROUPS)
    for name in charsets.GROUPS:
        assert charsets.resolve(name) == charsets.groups()[name]
