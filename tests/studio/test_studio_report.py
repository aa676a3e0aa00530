"""The report loads and runs nothing, says what is so, and shows odd names as they are."""

import re
from contextlib import closing
from html.parser import HTMLParser
from pathlib import Path

from visiting import drawing_of

from siglum.images import strokes
from siglum.studio import report
from siglum.studio.analysis import analysed
from siglum.studio.changes import AddClass
from siglum.studio.studio import Studio

HOSTILE = "</style><script>alert(1)</script><img src=x onerror='alert(2)'>\"&amp;"
KINDS = ("ring", "cross", "stroke")


class Tags(HTMLParser):
    """Every tag with its attributes, and all text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data.replace("\N{NO-BREAK SPACE}", " ")


def page_of(folder: Path, backbone, count: int = 3) -> str:
    """The page of three signs, of which one has a hostile name and one is drawn wrongly once."""
    with closing(Studio(folder, backbone)) as studio:
        for name in (HOSTILE, "cross", "אב"):
            studio.record(AddClass(name))
        for seed in range(count):
            for name, kind in zip((HOSTILE, "cross", "אב"), KINDS, strict=True):
                drawing = strokes.parse(drawing_of(kind, seed))
                for part in ("taught", "quiz"):
                    studio.draw(drawing, name, (HOSTILE, "Bob")[seed % 2], part)
        if count:
            wrong = strokes.parse(drawing_of("ring", 70))
            studio.draw(wrong, "cross", "Bob", "taught")
        studio.analysed(analysed(backbone, studio.current))
        return report.page(studio, studio.current)


def test_a_report_says_how_well_it_is_read(tmp_path: Path, backbone) -> None:
    page = page_of(tmp_path / "my-signs", backbone)
    text = Tags(page).text

    assert "my-signs · 3 signs, 10 drawings to learn from" in text
    assert "9 of 10 drawings are read right: 90 %, the true rate is between 60 % and 98 %." in text
    assert "What is confused" in text and "1 of 4" in text
    assert "Tested: 9 of 9 right" in text and "9 of 9: 100 % (70 to 100)" in text
    assert re.search(r"With 2 drawings a sign, \d+ % right", text)
    assert "Who drew" in text and "read by what the others taught" in text


def test_a_report_loads_and_runs_nothing(tmp_path: Path, backbone) -> None:
    page = page_of(tmp_path / "my-signs", backbone)
    parsed = Tags(page)

    assert {tag for tag, _ in parsed.tags}.isdisjoint({"script", "link", "iframe", "object"})
    for tag, attributes in parsed.tags:
        assert not any(name.startswith("on") for name in attributes), tag
        assert tag != "img" or str(attributes["src"]).startswith("data:image/png;base64,")
    assert HOSTILE in parsed.text and "alert(1)</script>" not in page
    assert "http://" not in page and "https://" not in page and "url(" not in page
    (policy,) = (a["content"] for t, a in parsed.tags if "http-equiv" in a)
    assert policy is not None and policy.startswith("default-src 'none';")
    drawn = [a for t, a in parsed.tags if t == "img"]
    assert len(drawn) == 11 and all(a["class"] == "drawn" for a in drawn)


def test_a_report_of_nothing(tmp_path: Path, backbone) -> None:
    with closing(Studio(tmp_path / "my-signs", backbone)) as studio:
        text = Tags(report.page(studio, studio.current)).text

    assert "my-signs · 0 signs, 0 drawings to learn from" in text and "No signs yet" in text


def test_a_report_of_print_alone(tmp_path: Path, backbone) -> None:
    with closing(Studio(tmp_path / "my-signs", backbone)) as studio:
        for name in "aαb":
            studio.record(AddClass(name))
        text = Tags(report.page(studio, studio.current)).text

    assert "Known from print alone: how well it reads is not tested." in text
    assert "known from print" in text and "not tested" in text


def test_a_report_has_room_for_so_many_pictures(tmp_path: Path, backbone, monkeypatch) -> None:
    monkeypatch.setattr(report, "ALL", 4)
    page = page_of(tmp_path / "my-signs", backbone)

    assert page.count("<img") == 4 and "and 3 more" in page
