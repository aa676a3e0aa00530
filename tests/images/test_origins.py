from pathlib import Path

import pytest
from making import BAR, HOUSE, RING, write_font

from siglum.errors import ConfigError, DataError
from siglum.images.origins import Origin, origins

HEAD = "file,kind,registry,package,version,licence,sha256"


@pytest.fixture
def place(tmp_path: Path) -> Path:
    for folder in ("hand", "text"):
        (tmp_path / "fonts" / folder / "inner").mkdir(parents=True)
    write_font(tmp_path / "fonts/hand/inner/a.ttf", {"T": BAR}, "Written")
    write_font(tmp_path / "fonts/text/b.ttf", {"T": HOUSE}, "Printed")
    write_font(tmp_path / "fonts/c.ttf", {"T": RING}, "Loose")
    return tmp_path / "fonts"


def test_a_face_is_of_the_first_folder_that_it_lies_in(place: Path) -> None:
    assert origins(f"fonts:{place}#T") == {
        "Loose Regular": Origin("", "", ""),
        "Printed Regular": Origin("text", "", ""),
        "Written Regular": Origin("hand", "", ""),
    }


def test_the_list_beside_the_fonts_tells_package_and_licence(place: Path) -> None:
    """Also of a folder within: the list names files from where it lies itself."""
    row = "hand/inner/a.ttf,script,npm,@fontsource/written,5.1,OFL-1.1,00"
    (place / "files.csv").write_text(f"{HEAD}\n{row}\n")
    expected = Origin("script", "@fontsource/written 5.1", "OFL-1.1")

    assert origins(f"fonts:{place}#T")["Written Regular"] == expected
    assert origins(f"fonts:{place / 'hand'}#T") == {"Written Regular": expected}
    assert origins(f"fonts:{place}#T")["Printed Regular"] == Origin("text", "", "")


def test_a_folder_within_may_be_named_from_here(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = "hand/inner/a.ttf,script,npm,@fontsource/written,5.1,OFL-1.1,00"
    (place / "files.csv").write_text(f"{HEAD}\n{row}\n")
    monkeypatch.chdir(place)

    assert origins("fonts:hand#T")["Written Regular"].licence == "OFL-1.1"


def test_another_list_is_refused(place: Path) -> None:
    (place / "files.csv").write_text("file,licence\nhand/inner/a.ttf,OFL-1.1\n")
    with pytest.raises(DataError) as error:
        origins(f"fonts:{place}#T")

    assert str(error.value) == (
        f"{place / 'files.csv'} must be a list as fonts/install.py writes it, got another "
        "('package')."
    )


def test_pictures_that_are_no_fonts_have_no_faces() -> None:
    with pytest.raises(ConfigError) as error:
        origins("mnist5k")

    assert str(error.value) == "source must be fonts:DIR, whose faces are known, got 'mnist5k'."
