"""Find a character by its shape or its name."""

import numpy as np
import pytest

import siglum
from siglum.errors import ConfigError, DataError
from siglum.images import charsets
from siglum.recogniser.find import search

Strokes = list[list[tuple[float, float]]]
DRAWINGS: dict[str, Strokes] = {
    "→": [[(0, 50), (100, 50)], [(70, 25), (100, 50), (70, 75)]],
    "木": [
        [(10, 35), (90, 35)],
        [(50, 5), (50, 95)],
        [(50, 35), (35, 60), (10, 80)],
        [(50, 35), (65, 60), (90, 80)],
    ],
    "∈": [[(80, 10), (40, 15), (15, 40), (15, 60), (40, 85), (80, 90)], [(15, 50), (75, 50)]],
    "⊥": [[(50, 5), (50, 95)], [(5, 95), (95, 95)]],
}


def characters_of(match: siglum.Match) -> tuple[str, ...]:
    return (match.character, *match.lookalikes)


@pytest.mark.parametrize("character", DRAWINGS)
def test_a_drawing_is_among_the_first_three(character: str) -> None:
    matches = siglum.find(DRAWINGS[character])

    assert len(matches) == 10
    assert any(character in characters_of(match) for match in matches[:3])


def test_common_characters_come_first_unless_a_group_is_searched() -> None:
    ring = [[(50 + 35 * np.cos(a), 50 + 45 * np.sin(a)) for a in np.linspace(0, 6.3, 40)]]
    everywhere = characters_of(siglum.find(ring, top=1)[0])

    assert {"O", "0"} & {*everywhere}
    assert "Օ" in characters_of(siglum.find(ring, top=1, within="armenian")[0])


def test_groups_limit_the_search() -> None:
    matches = siglum.find(DRAWINGS["→"], top=5, within="greek,arrows")

    assert len(matches) == 5
    assert "→" in characters_of(matches[0])
    searched = {*charsets.groups()["greek"], *charsets.groups()["arrows"]}
    assert all(set(characters_of(match)) <= searched for match in matches)


def test_characters_used_before_come_earlier() -> None:
    drawing = DRAWINGS["∈"]
    order = [match.character for match in siglum.find(drawing)]
    again = [match.character for match in siglum.find(drawing, recent=[order[5]])]

    assert again.index(order[5]) < 5


def test_every_character_is_in_one_row() -> None:
    matches = siglum.find(DRAWINGS["木"], top=50)
    shapes = [character for match in matches for character in characters_of(match)]

    assert len(shapes) == len(set(shapes))


def test_names_find_characters() -> None:
    assert search("left arrow")[0].character == search("left ar")[0].character == "←"
    assert search("greek small alpha")[0].character == "α"
    assert search(r"\oint")[0].character == "∮"
    assert search("integral.cont")[0].character == "∮"
    assert search("no such name") == []
    arrows = charsets.groups()["arrows"]
    assert all(match.character in arrows for match in search("left", within="arrows"))


def test_what_cannot_be_found_is_explained() -> None:
    with pytest.raises(DataError, match="No ink found"):
        siglum.find(np.full((50, 50), 255, np.uint8))
    with pytest.raises(ConfigError, match="within must be one of .*'gerek'. Did you mean 'greek'"):
        siglum.find(DRAWINGS["→"], within="gerek")
    with pytest.raises(DataError, match="image 1"):
        siglum.find(b"no image")
