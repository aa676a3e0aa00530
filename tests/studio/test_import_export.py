"""What is exported can be imported again, hostile files do no harm, and the report says it all."""

import csv
import http.client
import io
import json
import threading
import zipfile
from collections.abc import Iterator
from contextlib import closing
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from studio_client import KINDS, Client, draw, save

from siglum.errors import DataError
from siglum.images.sources import load
from siglum.recogniser.predict import load as load_bundle
from siglum.studio import export, import_, report
from siglum.studio.drawings import to_png
from siglum.studio.errors import StudioError
from siglum.studio.import_ import Job, Result, create_set, import_bytes
from siglum.studio.state import Studio

NAMES = ("o", "O", "a/b", "..", "אב", "<img src=x>", "CON")
HOSTILE = "</style><script>alert(1)</script><img src=x onerror='alert(2)'>\"&amp;"


def fill(studio: Studio, names: tuple[str, ...] = NAMES) -> None:
    """Save two drawings and a test drawing of each class."""
    for number, name in enumerate(names):
        for seed in range(3):
            drawing = draw(KINDS[seed], 3 * number + seed)
            split, author = ("test", "Bob") if seed == 2 else ("train", "Ann")
            save(studio, name, drawing, split, author)


def contents(studio: Studio) -> list[tuple[str, str, str, bytes]]:
    """What a set holds, whatever the ids are."""
    now = studio.update()
    return sorted(
        (now.state.classes[e.label], e.split, e.author, now.inks[id].ink.tobytes())
        for id, e in now.state.drawings.items()
    )


def zip_of(studio: Studio) -> bytes:
    file = io.BytesIO()
    export.write_zip(file, studio.store.state, studio.store.content)
    return file.getvalue()


def zipped(members: dict[str, bytes]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return file.getvalue()


def picture(seed: int = 0) -> bytes:
    """A PNG of a scribble of its own."""
    random = np.random.RandomState(seed)
    image = np.full((48, 48), 255, np.uint8)
    image[12:36, 12:36] = np.kron(random.randint(0, 2, (6, 6)) * 255, np.ones((4, 4)))
    image[12, 12:36] = 0
    return to_png(image)


@pytest.fixture
def other(tmp_path: Path, backbone) -> Iterator[Studio]:
    """Another set that is empty."""
    with closing(Studio(tmp_path / "other", backbone)) as opened:
        yield opened


def take(studio: Studio, content: bytes) -> Result:
    return import_bytes(studio, content, None, Job())


def test_an_export_is_read_by_the_studio_and_every_command(
    studio: Studio, other: Studio, tmp_path: Path
) -> None:
    fill(studio)
    result = take(other, zip_of(studio))
    count = export.write_set(studio.store.folder, tmp_path / "folder", as_zip=False)
    export.write_set(studio.store.folder, tmp_path / "set.zip", as_zip=True)
    with (tmp_path / "folder" / "labels.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))

    assert contents(other) == contents(studio)
    assert result.messages == ["Imported 21 drawings and 7 new signs."]
    assert count == len(rows) == 21 and {row["label"] for row in rows} == set(NAMES)
    for row in rows:
        path = tmp_path / "folder" / row["file"]
        facts = json.loads(path.with_suffix(".json").read_text("utf-8"))
        assert facts["label"] == row["label"] and facts["strokes"] and path.is_file()
    folders = {path.name.casefold() for path in (tmp_path / "folder" / "train").iterdir()}
    assert len(folders) == len(NAMES) and folders.isdisjoint({"con", ".."})
    assert len(load(f"folder:{tmp_path / 'folder' / 'train'}")) == 14
    assert take(other, (tmp_path / "set.zip").read_bytes()).duplicates == 21
    with pytest.raises(DataError, match=r"folder exists already\. Choose another name"):
        export.write_set(studio.store.folder, tmp_path / "folder", as_zip=False)


@pytest.mark.parametrize(
    "make", [zip_of, lambda s: export.bundle(s.current)], ids=["zip", "bundle"]
)
def test_importing_the_own_export_adds_nothing(studio: Studio, make) -> None:
    fill(studio, ("ring", "cross"))
    before = contents(studio)
    result = take(studio, make(studio))

    assert contents(studio) == before and result.added == 0
    train = sum(split == "train" for _, split, *_ in before)
    assert result.duplicates in (len(before), train)
    assert result.messages[1] == f"{result.duplicates} skipped: you have them already."


def test_a_bundle_brings_its_drawings_and_is_one_step_of_undo(
    studio: Studio, other: Studio, tmp_path: Path
) -> None:
    fill(studio, ("ring", "cross"))
    content = export.bundle(studio.current)
    (tmp_path / "mine.siglum").write_bytes(content)
    result = take(other, content)
    twice = take(other, content)

    assert load_bundle(tmp_path / "mine.siglum").classes == ("ring", "cross")
    assert (result.added, result.classes_added, twice.added) == (4, 2, 0)
    event = other.store.last_event("undo")
    assert event is not None and event.description == "imported 4 drawings"
    other.store.revert("undo", event.number)
    assert not other.store.state.classes


def test_folders_of_splits_are_splits_and_a_mac_zip_keeps_its_names(other: Studio) -> None:
    raw = zipped(
        {
            f"set/{split}/α/{number}.png": picture(number)
            for number, split in enumerate(("train", "valid", "test"))
        }
        | {"set/train/__MACOSX/._1.png": b"x", "set/.DS_Store": b"x"}
    )
    result = take(other, raw)
    splits = sorted(entry.split for entry in other.store.state.drawings.values())

    assert result.added == 3 and splits == ["test", "train", "train"]
    assert list(other.store.state.classes.values()) == ["α"]


def test_a_file_that_cannot_be_read_is_named_and_the_rest_is_imported(other: Studio) -> None:
    bad = {
        "not an image": b"x",
        "a bomb": picture()[:16] + (30_000).to_bytes(4, "big") * 2 + picture()[24:],
        "blank": to_png(np.full((40, 40), 255, np.uint8)),
    }
    members = {f"a/{name}.png": raw for name, raw in bad.items()} | {"a/good.png": picture()}
    facts = (b"{", b"[" * 100_000, b"5", b'{"strokes": [[["0", 0, 0, 0]]]}', b'{"label": "a\\nb"}')
    for number, raw in enumerate(facts):
        members |= {f"b/{number}.png": picture(number + 1), f"b/{number}.json": raw}
    members["../../evil/1.png"] = picture(20)
    members["a\x01b/1.png"] = picture(21)
    result = take(other, zipped(members))
    classes = set(other.store.state.classes.values())

    assert classes == {"a"} and result.added == 1
    assert result.messages[-1].startswith("9 files could not be read: a/not an image.png: Cannot")
    assert result.messages[-1].endswith(", and 4 more")


@pytest.mark.parametrize(
    "name",
    ["a//1.png", "a/./1.png", "/a/1.png", "a/1.PNG", "a\\1.png", "//a/1.png", "a/../1.png"],
)
def test_odd_names_in_a_zip_end_in_no_traceback(other: Studio, name: str) -> None:
    result = take(other, zipped({name: picture()}))
    assert result.added == (".." not in name)


def test_files_that_are_left_out_are_named(other: Studio) -> None:
    result = take(other, zipped({"loose.png": picture(), "a/1.heic": b"x", "a/1.png": picture()}))

    assert result.messages[1] == (
        "2 files could not be read: loose.png: it lies in no folder of a class.; "
        "a/1.heic: its format is not supported."
    )


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"hello",
        zipped({"a/1.png": picture()})[:40],
        zipped({"bundle.json": b"{}"}),
        zipped({"bundle.json": b'{"format": 1}', "run.py": b"1"}),
    ],
    ids=["empty", "text", "cut", "no format", "code"],
)
def test_a_file_of_another_kind_is_refused(client: Client, raw: bytes) -> None:
    status, kind = client.refused("/api/import", raw=raw, content_type="application/zip")
    assert status == 422 and kind in ("unreadable", "invalid")
    assert client.get("/api/state")["classes"] == []


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("MAX_MEMBERS", 3), ("MAX_UNPACKED", 100)),
        *(("MAX_SECONDS", -1.0), ("MAX_PIXELS", 1), ("MAX_STORED", 1)),
    ],
)
def test_an_import_has_limits(
    other: Studio, monkeypatch: pytest.MonkeyPatch, name: str, value: float
) -> None:
    monkeypatch.setattr(import_, name, value)
    raw = zipped({f"a/{number}.png": picture(number) for number in range(9)})
    if name in ("MAX_MEMBERS", "MAX_UNPACKED"):  # before it is read
        with pytest.raises(StudioError, match="This zip (has|unpacks to) more than"):
            take(other, raw)
    else:
        result = take(other, raw)
        assert f"stopped after {result.added} of 9 images" in result.messages[1]
    assert len(other.store.state.drawings) < 9


def test_large_photos_are_read_at_a_reduced_size(other: Studio) -> None:
    """Twenty photos of 24 megapixels: seconds, not minutes."""
    file = io.BytesIO()
    image = Image.new("L", (6000, 4000), 255)
    image.paste(0, (2000, 1000, 2300, 3000))
    image.save(file, "JPEG")
    result = take(other, zipped({f"a/{number}.jpg": file.getvalue() for number in range(20)}))

    assert result.added == 20
    (image,) = {other.store.content(id)[1] for id in other.store.state.drawings}
    assert max(Image.open(io.BytesIO(image)).size) <= 1024


def test_one_import_at_a_time_and_a_cancelled_one_adds_nothing(client: Client) -> None:
    raw = zipped({f"a/{number}.png": picture(number) for number in range(400)})
    results: list[dict] = []

    def send() -> None:
        path, kind = "/api/import", "application/zip"
        results.append(client.request(path, raw=raw, content_type=kind)[1])

    thread = threading.Thread(target=send)
    thread.start()
    while not (progress := client.get("/api/import"))["done"]:
        assert thread.is_alive()
    assert progress["running"] and progress["total"] == 400
    refusal = client.refused("/api/import", raw=raw, content_type="application/zip")
    client.post("/api/import/cancel", {})
    thread.join()

    assert refusal == (409, "busy")
    assert results[0]["cancelled"] and results[0]["added"] == 0
    assert results[0]["state"]["classes"] == [] and not client.get("/api/import")["running"]


def test_a_set_is_created_whole_or_not_at_all(tmp_path: Path, backbone) -> None:
    photos = tmp_path / "photos"
    for name in ("a", "b"):
        (photos / name).mkdir(parents=True)
        (photos / name / "1.png").write_bytes(picture(ord(name)))
    assert create_set(tmp_path / "new", photos, backbone).added == 2
    (tmp_path / "bad.zip").write_bytes(b"x")
    with pytest.raises(Exception, match=r"Choose a \.siglum file"):
        create_set(tmp_path / "bad", tmp_path / "bad.zip", backbone)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bad.zip", "new", "photos"]


class Page(HTMLParser):
    """The tags and the text of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture
def page(studio: Studio) -> Page:
    """The report of three signs, one of a hostile name, one drawn wrongly once."""
    names = (HOSTILE, "cross", "אב")
    for seed in range(3):
        for name, kind in zip(names, KINDS, strict=True):
            for split in ("train", "test"):
                save(studio, name, draw(kind, seed), split, (HOSTILE, "Bob")[seed % 2])
    save(studio, "cross", draw("ring", 70), author="Bob")
    studio.analyse(studio.current)
    return Page(report.report_page(studio, studio.current)[0])


def test_a_report_says_how_well_it_works(page: Page) -> None:
    assert "my-signs · 3 signs, 10 drawings to learn from" in page.text
    assert "Leave-one-out accuracy: 90 % (95 % CI 60 to 98 %, 9 of 10)" in page.text
    assert "Confusions" in page.text and "1 of 4" in page.text
    assert "Test: 9 of 9 correct" in page.text and "People" in page.text
    assert "With 2 drawings per sign it recognises" in page.text


def test_a_report_loads_and_runs_nothing(page: Page) -> None:
    names = {tag for tag, _ in page.tags}
    assert names.isdisjoint({"script", "link", "iframe", "object", "base", "form"})
    for tag, attributes in page.tags:
        assert not any(name.startswith("on") for name in attributes), tag
        assert tag != "img" or str(attributes["src"]).startswith("data:image/png;base64,")
    assert HOSTILE in page.text
    (policy,) = (a["content"] for _, a in page.tags if "http-equiv" in a)
    assert policy is not None and policy.startswith("default-src 'none';")
    assert len([tag for tag, _ in page.tags if tag == "img"]) == 11


def test_a_report_of_little(studio: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "No signs yet" in report.report_page(studio, studio.current)[0]
    studio.store.add_classes(["a", "α"])
    assert "Known from fonts alone" in report.report_page(studio, studio.update())[0]
    monkeypatch.setattr(report, "MAX_ALL", 4)
    fill(studio, ("a", "α"))
    text = report.report_page(studio, studio.update())[0]
    assert text.count("<img") == 4


def test_a_report_has_a_policy_of_its_own(client: Client) -> None:
    with closing(http.client.HTTPConnection("127.0.0.1", client.port)) as connection:
        connection.request("GET", "/api/report")
        answer = connection.getresponse()
        answer.read()

    assert answer.headers["content-disposition"] == 'attachment; filename="my-signs.html"'
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
