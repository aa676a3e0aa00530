"""Exports can be imported again, hostile files do no harm, and old sets are converted."""

import csv
import io
import json
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from studio_client import KINDS, Client, draw, save

import siglum
from siglum.errors import DataError, SiglumError
from siglum.images.characters import read_outputs
from siglum.images.decode import to_png
from siglum.images.sources import load
from siglum.recogniser.predict import load as load_bundle
from siglum.studio import exchange
from siglum.studio.exchange import import_upload, open_source
from siglum.studio.label_review import open_review, write_corrected
from siglum.studio.snapshot import Studio

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
    """Return the contents of a set, without the ids."""
    now = studio.update()
    return sorted(
        (now.state.classes[e.label], e.split, e.author, now.inks[id].ink.tobytes())
        for id, e in now.state.drawings.items()
    )


def classes(studio: Studio) -> list[str]:
    return list(studio.store.state.classes.values())


def zipped(members: dict[str, bytes]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return file.getvalue()


def picture(seed: int = 0) -> bytes:
    """A PNG of a scribble of its own."""
    random = np.random.RandomState(seed)
    image = np.full((1, 48, 48), 255, np.uint8)
    image[0, 12:36, 12:36] = np.kron(random.randint(0, 2, (6, 6)) * 255, np.ones((4, 4)))
    image[0, 12, 12:36] = 0
    return to_png(image)


@pytest.fixture
def other(tmp_path: Path, backbone) -> Iterator[Studio]:
    """Another set that is empty."""
    with closing(Studio(tmp_path / "other", backbone)) as opened:
        yield opened


def test_an_export_is_read_by_the_studio_and_every_command(
    studio: Studio, other: Studio, tmp_path: Path
) -> None:
    fill(studio)
    count = exchange.write_set(studio.store.folder, tmp_path / "folder")
    exchange.write_set(studio.store.folder, tmp_path / "set.zip")
    result, twice = (
        import_upload(other, (tmp_path / "set.zip").read_bytes(), None) for _ in range(2)
    )
    with (tmp_path / "folder" / "labels.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))

    assert contents(other) == contents(studio)
    assert result["messages"] == ["Imported 21 drawings and 7 new signs."]
    assert count == len(rows) == 21 and {row["label"] for row in rows} == set(NAMES)
    for row in rows:
        path = tmp_path / "folder" / row["file"]
        facts = json.loads(path.with_suffix(".json").read_text("utf-8"))
        assert facts["label"] == row["label"] and facts["strokes"] and path.is_file()
    folders = {path.name.casefold() for path in (tmp_path / "folder" / "train").iterdir()}
    assert len(folders) == len(NAMES) and folders.isdisjoint({"con", ".."})
    assert len(load(f"folder:{tmp_path / 'folder' / 'train'}")) == 14
    assert twice["duplicates"] == 21 and twice["added"] == 0
    with pytest.raises(DataError, match=r"folder exists already\. Choose another name"):
        exchange.write_set(studio.store.folder, tmp_path / "folder")


def test_a_file_of_strokes_becomes_a_set_with_the_same_strokes(
    studio: Studio, tmp_path: Path, backbone
) -> None:
    fill(studio, ("o", "x"))
    assert exchange.write_set(studio.store.folder, tmp_path / "set.ndjson") == 6
    opened, messages = open_source(tmp_path / "set.ndjson", backbone)

    with closing(opened):
        old, new = studio.update().state.drawings, opened.update().state.drawings
        assert messages == ["Imported 6 drawings and 2 new signs."]
        assert [(one.author, one.split, one.photo) for one in new.values()] == [
            (one.author, one.split, False) for one in old.values()
        ]
        for before, after in zip(old, new, strict=True):
            sets = (studio, before), (opened, after)
            points = [json.loads(one.store.content(id)[0] or "") for one, id in sets]
            counts = [[len(stroke) for stroke in one["strokes"]] for one in points]
            assert counts[0] == counts[1]
    with pytest.raises(DataError, match=r"^No such file: .*new\.ndjson\.$"):
        open_source(tmp_path / "new.ndjson", backbone)


def test_a_bundle_brings_its_drawings_once_and_is_one_step_of_undo(
    studio: Studio, other: Studio, tmp_path: Path
) -> None:
    fill(studio, ("ring", "cross"))
    before, content = contents(studio), exchange.export_bundle(studio)
    (tmp_path / "mine.siglum").write_bytes(content)
    first, twice, own = (import_upload(one, content, None) for one in (other, other, studio))

    assert load_bundle(tmp_path / "mine.siglum").classes == ("ring", "cross")
    assert (first["added"], first["classes_added"], twice["added"]) == (4, 2, 0)
    assert contents(studio) == before and own["duplicates"] == 4  # its own
    assert own["messages"][1] == "4 skipped: you have them already."
    event = other.store.last_event("undo")
    assert event is not None and event.description == "imported 4 drawings"
    other.store.revert("undo", event.number)
    assert classes(other) == []


def test_an_import_makes_no_character_a_shape_of_two_signs(other: Studio) -> None:
    other.store.add_classes(["α|β"])

    with pytest.raises(SiglumError, match="'β' must be a shape of one class, got 2"):
        import_upload(other, zipped({"β/1.png": picture(1)}), None)
    assert classes(other) == ["α|β"] and not other.store.state.drawings


def test_outputs_are_exported_and_imported(studio: Studio, other: Studio, tmp_path: Path) -> None:
    fill(studio, ("ring", "cross"))
    ids = studio.store.add_classes(["ring", "cross", "α"])
    texts = {"ring": "\\ring\n{}", "α": '"\\alpha"'}
    for id, text in zip(ids, (texts["ring"], "", texts["α"]), strict=True):
        studio.store.set_output(id, text)
    studio.update()
    exchange.write_set(studio.store.folder, tmp_path / "set.zip")
    exchange.write_set(studio.store.folder, tmp_path / "folder")
    (ring,) = other.store.add_classes(["ring"])
    other.store.set_output(ring, "mine")
    import_upload(other, (tmp_path / "set.zip").read_bytes(), None)

    assert '<pre class="quiet">\\ring\n{}</pre>' in exchange.report_page(studio)
    assert read_outputs(tmp_path / "folder" / "outputs.csv") == texts
    assert classes(other) == ["ring", "α", "cross"]
    assert other.store.state.outputs == texts | {"ring": "mine"}  # which an import does not replace
    event = other.store.last_event("undo")
    assert event is not None
    other.store.revert("undo", event.number)
    assert (classes(other), other.store.state.outputs) == (["ring"], {"ring": "mine"})
    import_upload(other, exchange.export_bundle(studio), None)
    assert other.store.state.outputs == texts | {"ring": "mine"}
    renames = {"ring": "circle"}
    taught = siglum.teach("α", studio.store.folder, rename=renames, outputs={"α": "own"})
    assert taught.outputs == {"circle": texts["ring"], "α": "own"}
    (tmp_path / "folder" / "outputs.csv").write_bytes(b"label,output\nring\n")
    opened, messages = open_source(tmp_path / "folder", studio.backbone)
    opened.close()
    assert messages[-1].endswith("each label once, got 'ring' in outputs.csv.")
    assert opened.store.state.outputs == {}
    long = zipped({"a/1.png": picture(), "outputs.csv": b"label,output\n%s,y\n" % (b"x" * 101)})
    with pytest.raises(SiglumError, match="A name in this file cannot be used: .* 1 to 100 char"):
        import_upload(other, long, None)


class Unmarked(zipfile.ZipInfo):
    """A member whose name is UTF-8 without the mark that says it, as a Mac writes it."""

    def _encodeFilenameFlags(self) -> tuple[bytes, int]:  # noqa: N802
        return self.filename.encode(), self.flag_bits & ~0x800


def test_a_zip_from_a_mac_brings_its_names_and_splits(client: Client) -> None:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for number, split in enumerate(("train", "valid", "test")):
            archive.writestr(Unmarked(f"set/{split}/δέλτα/{number}.png"), picture(number))
            archive.writestr(Unmarked(f"__MACOSX/set/{split}/δέλτα/._{number}.png"), b"\0\5\x16\7")
        archive.writestr("set/.DS_Store", b"x")
    raw, kind = file.getvalue(), "application/zip"
    answer = client.request("/api/import", raw=raw, content_type=kind)[1]

    assert answer["messages"] == ["Imported 3 drawings and 1 new sign."]
    (sign,) = answer["state"]["classes"]
    assert (sign["name"], sign["train"], sign["test"]) == ("δέλτα", 2, 1)


def test_a_file_that_cannot_be_read_is_named_and_the_rest_is_imported(other: Studio) -> None:
    bad = {
        "not an image": b"x",
        "a bomb": picture()[:16] + (30_000).to_bytes(4, "big") * 2 + picture()[24:],
        "blank": to_png(np.full((1, 40, 40), 255, np.uint8)),
    }
    members = {f"a/{name}.png": raw for name, raw in bad.items()}
    members |= {"a/good.png": picture(), "a/1.heic": b"x", "loose.png": picture(3)}
    facts = (b"{", b"[" * 100_000, b"5", b'{"strokes": [[["0", 0, 0, 0]]]}', b'{"label": "a\\nb"}')
    facts += (b'{"time": "\\ud800"}',)
    for number, raw in enumerate(facts):
        members |= {f"b/{number}.png": picture(number + 1), f"b/{number}.json": raw}
    members |= {"c\x01d/1.png": picture(21), "b/3.JPG": picture(22)}  # beside 3.png
    result = import_upload(other, zipped(members), None)

    assert classes(other) == ["a", "b", "c\\x01d"]  # with bad facts the image counts
    assert result["added"] == 7
    (message,) = (one for one in result["messages"] if "could not be read" in one)
    assert message.startswith("7 files could not be read: ") and "a/1.heic" in message


def test_a_review_has_the_images_of_a_class_called_hash(tmp_path: Path, backbone) -> None:
    """Their lines begin as comments do."""
    for number, name in enumerate(("#/0.png", "#/1.png", "a/2.png")):
        (tmp_path / "signs" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "signs" / name).write_bytes(picture(number))
    head = "# source: folder:signs\nfile,old,new,suggestion,probability\n"
    lines = ["#/0.png,#,#,a,0.9\n", "#/1.png,#,#,,0.9\n", "a/2.png,a,a,,0.9\n"]
    (tmp_path / "issues.csv").write_text("".join([head, *lines]))
    opened, messages = open_review(tmp_path / "issues.csv", backbone)
    with closing(opened):
        report = write_corrected(tmp_path / "issues.csv", opened.store.state)

    assert messages == ["1 suspect: see Review."] and "0 labels corrected, 0 left out" in report
    assert (tmp_path / "issues-corrected.csv").read_text() == "".join([head, *lines])


ODD_NAMES = ["a//1.png", "a/./1.png", "/a/1.png", "a/1.PNG", "a\\1.png", "//a/1.png", "a/../1.png"]


@pytest.mark.parametrize("name", ODD_NAMES)
def test_odd_names_in_a_zip_end_in_no_traceback(other: Studio, tmp_path: Path, name: str) -> None:
    try:
        assert import_upload(other, zipped({name: picture()}), None)["added"] == 1
    except SiglumError as error:
        assert "leads out of it" in str(error)
    assert not list(tmp_path.rglob("1.png"))


OTHER_FILES = {
    "empty": b"",
    "text": b"hello",
    "cut": zipped({"a/1.png": picture()})[:40],
    "no images": zipped({"notes.txt": b"x"}),
    "no format": zipped({"bundle.json": b"{}"}),
    "code": zipped({"bundle.json": b'{"format": 1}', "run.py": b"1"}),
}


@pytest.mark.parametrize("raw", OTHER_FILES.values(), ids=OTHER_FILES)
def test_a_file_of_another_kind_is_refused(client: Client, raw: bytes) -> None:
    assert client.refused("/api/import", raw=raw, content_type="application/zip") == 422
    assert client.get("/api/state")["classes"] == []


LIMITS = {"MAX_FILES": 3, "MAX_UNPACKED": 100, "MAX_SECONDS": -1, "MAX_PIXELS": 1, "MAX_STORED": 1}


@pytest.mark.parametrize(("name", "value"), LIMITS.items())
def test_an_import_has_limits(
    other: Studio, monkeypatch: pytest.MonkeyPatch, name: str, value: float
) -> None:
    monkeypatch.setattr(exchange, name, value)
    raw = zipped({f"a/{number}.png": picture(number) for number in range(9)})
    if name in ("MAX_FILES", "MAX_UNPACKED"):  # before it is read
        with pytest.raises(SiglumError, match="This zip (has|unpacks to) more than"):
            import_upload(other, raw, None)
    else:
        result = import_upload(other, raw, None)
        assert f"stopped after {result['added']} of 9 images" in result["messages"][1]
    assert len(other.store.state.drawings) < 9


def test_large_photos_are_read_at_a_reduced_size(other: Studio) -> None:
    """Twenty photos of 24 megapixels: seconds, not minutes."""
    file = io.BytesIO()
    image = Image.new("L", (6000, 4000), 255)
    image.paste(0, (2000, 1000, 2300, 3000))
    image.save(file, "JPEG")
    raw = zipped({f"a/{number}.jpg": file.getvalue() for number in range(20)})

    assert import_upload(other, raw, None)["added"] == 20
    (image,) = {other.store.content(id)[1] for id in other.store.state.drawings}
    assert max(Image.open(io.BytesIO(image)).size) <= 1024


def test_one_import_at_a_time_and_a_cancelled_one_adds_nothing(client: Client) -> None:
    raw = zipped({f"a/{number}.png": picture(number) for number in range(400)})
    upload = partial(client.request, "/api/import", raw=raw, content_type="application/zip")
    with ThreadPoolExecutor() as pool:
        first = pool.submit(upload)
        while not (progress := client.get("/api/import"))["done"]:
            assert not first.done()
        assert progress["running"] and progress["total"] == 400
        assert upload()[0] == 409
        client.post("/api/import/cancel", {})
        result = first.result()[1]

    assert result["messages"] == ["Import cancelled. Nothing was added."]
    assert result["state"]["classes"] == [] and not client.get("/api/import")["running"]


def test_a_report_says_how_well_it_works_and_loads_and_runs_nothing(studio: Studio) -> None:
    assert "No signs yet" in exchange.report_page(studio)
    studio.store.add_classes(["a", "α"])
    studio.update()
    assert "Known from fonts alone" in exchange.report_page(studio)
    for seed in range(3):
        for name, kind in zip((HOSTILE, "cross", "אב"), KINDS, strict=True):
            for split in ("train", "test"):
                save(studio, name, draw(kind, seed), split, (HOSTILE, "Bob")[seed % 2])
    save(studio, "cross", draw("ring", 70), author="Bob")
    studio.analyse(studio.current)
    page = exchange.report_page(studio)

    assert "</bdi> · 5 signs, 10 drawings to learn from" in page
    assert "Leave-one-out accuracy: " in page and "95\xa0% CI" in page
    assert "Confusions" in page and "Test: " in page and "People" in page
    assert "With 2 drawings per sign it recognises" in page
    assert HOSTILE not in page and "&lt;/style&gt;&lt;script&gt;alert(1)" in page
    assert "<script" not in page and "<link" not in page and "http" not in page.split("</style>")[1]
    assert "content=\"default-src 'none';" in page
    assert page.count("<img") == page.count('src="data:image/png;base64,') == 11
