"""The page's files as text: what a browser would refuse or fetch from elsewhere is not in them."""

import re
from pathlib import Path

import pytest

import siglum.studio

PAGE = Path(siglum.studio.__file__).parent / "page"
FILES = sorted(PAGE.iterdir())
SPACES = "http://www.w3.org/2000/svg"  # a name, not an address


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_nothing_is_loaded_from_elsewhere(file: Path) -> None:
    assert "//" not in re.sub(r"(?m)//\s.*$|/\*.*?\*/", "", file.read_text().replace(SPACES, ""))


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_names_never_become_markup_and_nothing_is_inline(file: Path) -> None:
    text = file.read_text()
    ways = r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|createContextualFragment|eval\("

    assert re.findall(ways, text) == []
    if file.suffix == ".html":
        assert re.findall(r"<style|\sstyle=|\son\w+=|<script(?! type=\"module\" src=)", text) == []


@pytest.mark.parametrize("file", [*PAGE.glob("*.js"), *PAGE.glob("*.html")], ids=lambda f: f.name)
def test_what_a_file_names_is_there(file: Path) -> None:
    """Imports by name, files under /static/, and elements that are sought by id."""
    text = file.read_text()
    for name in re.findall(r"from \"\./(.+?)\"|/static/([\w.]+)", text):
        assert (PAGE / "".join(name)).is_file(), name
    for names, source in re.findall(r"import \{(.+?)\} from \"\./(.+?)\"", text):
        there = (PAGE / source).read_text()
        for name in names.split(","):
            assert re.search(rf"export [\w ]*\b{name.strip()}\b", there), (name, source)
    everything = "".join(one.read_text() for one in FILES)
    for wanted in re.findall(r"byId\(\"([\w-]+)\"\)", text):
        assert re.search(rf"\bid(=|: )\"{wanted}\"", everything), wanted


def test_every_program_is_asked_for_at_once() -> None:
    """A browser finds imports one file at a time; the page names them all."""
    named = re.findall(r"/static/([\w.]+\.js)", (PAGE / "index.html").read_text())

    assert sorted(named) == sorted(file.name for file in PAGE.glob("*.js"))
