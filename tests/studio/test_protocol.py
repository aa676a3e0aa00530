"""The page's requests, in the order in which a person would cause them."""

import base64
import http.client
import io
import signal
import time
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from studio_client import KINDS, Client, Process, draw, studio_client

from siglum.images import strokes
from siglum.recogniser import bundle as bundles
from siglum.studio.app import MAX_WRITES
from siglum.studio.snapshot import Studio

HOSTILE = "<img src=x onerror=alert(1)>"
NOBODY = "0123456789abcdef"
JPEG = "image/jpeg"
Ids = dict[str, str]


@pytest.fixture(scope="module")
def taught(tmp_path_factory: pytest.TempPathFactory, backbone) -> Iterator[tuple[Client, Ids]]:
    """A Studio with three drawings of three signs, which nothing below changes."""
    folder = tmp_path_factory.mktemp("taught") / "my-signs"
    with studio_client(folder, backbone) as (studio, client):
        ids = client.teach(3)
        before = studio.current.state
        yield client, ids
        assert studio.store.state is before


def counts(state: dict) -> dict[str, tuple[int, int]]:
    return {one["name"]: (one["train"], one["test"]) for one in state["classes"]}


def test_an_empty_set_predicts_nothing(client: Client) -> None:
    state = client.get("/api/state")
    prediction = client.post("/api/predict", {"drawing": draw("ring")})

    assert not state["ready"] and state["classes"] == [] and state["undo"] is None
    assert state["title"] == "my-signs" and len(state["set_id"]) == 16
    assert prediction["candidates"] == [] and not prediction["empty"]
    assert client.refused("/api/test/next", {}) == 409
    assert client.refused("/api/bundle") == 409
    client.add("greek small letter alpha", "my sign")
    classes = [(one["name"], one["in_fonts"]) for one in client.get("/api/state")["classes"]]
    assert classes == [("α", True), ("my sign", False)]


def test_any_character_is_found_by_shape_and_by_name(client: Client) -> None:
    """With any backbone; the answer says what to type."""
    circle = {"drawing": draw("ring"), "within": "shapes"}
    match, *others = client.post("/api/find", circle)
    assert len(others) == 9 and "circle" in match["name"]
    again = client.post("/api/find", {**circle, "recent": [others[3]["text"]]})
    assert others[3]["text"] in [one["text"] for one in again[:4]]  # it was the fifth
    (arrow, *_) = client.get("/api/find/name?name=left+arrow")
    assert (arrow["text"], arrow["html"]) == ("←", "&larr;")
    for wrong in ({**circle, "within": "shape"}, {"drawing": {**draw("ring"), "strokes": []}}):
        assert client.refused("/api/find", wrong) == 422
    assert client.refused(f"/api/find/name?name={'a' * 101}") == 422


def test_three_drawings_teach_a_sign(taught: tuple[Client, Ids]) -> None:
    client, ids = taught
    for kind, id in ids.items():
        prediction = client.post("/api/predict", {"drawing": draw(kind, 99), "heatmap": True})
        best = prediction["candidates"][0]
        assert (best["class"], best["name"]) == (id, kind) and id in prediction["prediction_set"]
        own = [one["id"] for one in client.get("/api/drawings") if one["class"] == id]
        assert prediction["similar"][0]["id"] in own and len(prediction["similar"]) == 5
        ink, heat = (
            np.frombuffer(base64.b64decode(prediction[name]), np.uint8)
            for name in ("ink", "heatmap")
        )
        assert len(ink) == prediction["size"] ** 2
        assert heat.max() == 255 and not heat[ink == 0].any()
        assert 0 <= prediction["probability_covered"] <= best["probability"]
    empty = {"version": 1, "aspect": 1.0, "strokes": []}
    prediction = client.post("/api/predict", {"drawing": empty, "heatmap": True})
    assert prediction["empty"] and prediction["candidates"] == [] and "heatmap" not in prediction
    assert prediction["notes"] == ["Nothing is drawn yet."]


def test_a_drawing_sent_again_is_saved_once(client: Client) -> None:
    """Its first answer may be lost, and another page may rename the class meanwhile."""
    (id,) = client.add("a")
    client.draw(id, draw("ring"), id=NOBODY)
    client.post(f"/api/classes/{id}/rename", {"name": "b"})
    assert client.draw(id, draw("ring"), id=NOBODY)["id"] == NOBODY
    client.post(f"/api/classes/{id}/merge", {"into": None})
    assert counts(client.draw(id, draw("ring"), id=NOBODY)["state"]) == {}


def test_rename_merge_delete_undo_and_redo(client: Client) -> None:
    ids = client.teach(2)
    before = client.get("/api/drawings")
    renamed = client.post(f"/api/classes/{ids['ring']}/rename", {"name": HOSTILE})["state"]
    assert [c["name"] for c in renamed["classes"]] == [HOSTILE, "cross", "stroke"]
    assert renamed["undo"]["description"] == f"renamed \u2068ring\u2069 to \u2068{HOSTILE}\u2069"
    assert client.refused(f"/api/classes/{ids['ring']}/rename", {"name": "cross"}) == 409

    merged = client.post(f"/api/classes/{ids['ring']}/merge", {"into": ids["cross"]})["state"]
    assert counts(merged) == {"cross": (4, 0), "stroke": (2, 0)}
    state = client.post(f"/api/classes/{ids['stroke']}/merge", {"into": None})["state"]
    assert counts(state) == {"cross": (4, 0)} and not state["ready"]
    assert client.refused(f"/api/drawings/{before[-1]['id']}.png") == 404
    for _ in range(3):
        state = client.post("/api/undo", {"event": state["undo"]["event"]})["state"]
    assert client.get("/api/drawings") == before and state["redo"] == renamed["undo"]
    state = client.post("/api/redo", {"event": state["redo"]["event"]})["state"]
    assert state["classes"][0]["name"] == HOSTILE


def test_a_name_may_list_the_shapes_of_a_sign(client: Client) -> None:
    client.add("α|β", "γ")
    sign, _ = client.get("/api/state")["classes"]

    assert (sign["name"], sign["output"], sign["in_fonts"]) == ("α|β", "α", True)
    assert client.refused("/api/classes", {"names": ["β"]}) == 409
    assert client.refused("/api/classes", {"names": ["a||b"]}) == 422
    assert client.refused(f"/api/classes/{sign['id']}/rename", {"name": "α|γ"}) == 409


def test_a_class_has_an_output(client: Client) -> None:
    ids = client.teach(3)
    path, text = f"/api/classes/{ids['ring']}/output", "\\ring\n\t{}\N{ZERO WIDTH JOINER}"
    state = client.post(path, {"output": text})["state"]
    again = client.post(path, {"output": text})["state"]
    client.post(f"/api/classes/{ids['ring']}/rename", {"name": "circle"})
    ring, cross = (client.post("/api/predict", {"drawing": draw(kind, 99)}) for kind in KINDS[:2])

    assert again["undo"] == state["undo"]  # nothing changed
    assert state["undo"]["description"] == "changed the output of \u2068ring\u2069"
    assert [one["output"] for one in state["classes"]] == [text, "cross", "stroke"]
    assert (ring["output"], cross["output"]) == (text, "cross")
    assert bundles.decode(client.get("/api/bundle"), "x").outputs == {"circle": text}
    state = client.post(path, {"output": ""})["state"]
    assert state["classes"][0]["output"] == "circle"
    for expected in (text, text, "ring"):
        state = client.post("/api/undo", {"event": state["undo"]["event"]})["state"]
        assert state["classes"][0]["output"] == expected
    assert client.post("/api/redo", {"event": state["redo"]["event"]})["state"]["undo"]


def test_a_mistake_is_named_before_the_analysis(client: Client, studio: Studio) -> None:
    """Confusions and suggestions come with the change, the rest within seconds."""
    ids = client.teach(4)
    odd = client.draw(ids["cross"], draw("ring", 50))
    (wrong,) = (one for one in client.get("/api/drawings") if one["correct"] is False)
    state = odd["state"]
    (confusion,) = state["confusions"]

    assert (wrong["id"], wrong["prediction"]) == (odd["id"], ids["ring"])
    assert (confusion["label"], confusion["prediction"]) == (ids["cross"], ids["ring"])
    assert (confusion["count"], confusion["total"], confusion["drawings"]) == (1, 5, [odd["id"]])
    assert (state["accuracy"]["hits"], state["accuracy"]["total"]) == (12, 13)
    assert state["suggestions"][0]["message"] == "1 of 5 mistaken for 'ring'"
    assert wrong["suspect"]["prediction"] == ids["ring"]
    client.post("/api/drawings/move", {"drawings": [odd["id"]], "class": ids["cross"]})
    assert not any(one["suspect"] for one in client.get("/api/drawings"))  # confirmed
    studio.announce(
        {
            odd["id"]: (ids["cross"], None, 0.8),
            (id := studio.current.rows[0]): (ids["ring"], ids["cross"], 0.9),
        }
    )
    assert {one["id"]: one["suspect"] for one in client.get("/api/drawings") if one["suspect"]} == {
        id: {"prediction": ids["cross"], "probability": 0.9}
    }
    for number, author in enumerate(("Ann", "Bob")):
        for kind, id in ids.items():
            for seed in range(2):
                client.draw(id, draw(kind, 20 + 2 * number + seed), author=author)
    client.draw(client.add("only Ann's")[0], draw("dot"), author="Ann")
    state = client.analysed()
    curve = state["learning_curve"]
    authors = {one["name"]: one for one in state["authors"]}

    assert [point["drawings"] for point in curve][:3] == [1, 2, 3] and curve[-1]["x"] == 1
    assert all(0 <= p["low"] <= p["high"] <= 1 for p in curve)
    assert list(authors) == ["", "Ann", "Bob"] and authors["Ann"]["train"] == 7
    assert authors["Ann"]["accuracy"]["total"] == authors["Bob"]["accuracy"]["total"] == 6
    assert authors[""]["accuracy"] is None


def photo(*kinds: str, format: str = "JPEG", seed: int = 3) -> bytes:
    """A photo of signs in a row, dark on light."""
    inks = [255 - strokes.rasterise(strokes.parse(draw(kind, seed)), 200) for kind in kinds]
    row = np.pad(np.concatenate(inks, axis=1) if inks else inks, 40, constant_values=255)
    file = io.BytesIO()
    Image.fromarray(np.stack([row] * 3, axis=2)).save(file, format)
    return file.getvalue()


def test_photos_of_a_sign_of_a_page_and_of_paper_are_predicted(
    taught: tuple[Client, Ids],
) -> None:
    client, ids = taught
    path = "/api/predict/image"
    one = client.request(path, raw=photo("cross"), content_type=JPEG)[1]
    page = client.request(path, raw=photo("ring", "cross", "ring"), content_type=JPEG)[1]
    blank = io.BytesIO()
    Image.new("RGB", (64, 48), "white").save(blank, "PNG")
    paper = client.request(path, raw=blank.getvalue(), content_type="image/png")[1]

    (sign,) = one["signs"]
    assert sign["candidates"][0]["class"] == ids["cross"]
    top, left, bottom, right = sign["box"]
    assert 40 < top < bottom < 240 and 40 < left < right < 240
    assert [s["candidates"][0]["class"] for s in page["signs"]] == [
        ids[kind] for kind in ("ring", "cross", "ring")
    ]
    assert paper == {"width": 64, "height": 48, "sideways": False, "signs": []}


def test_several_photos_at_once_are_all_saved_and_each_once(client: Client) -> None:
    ids = client.teach(2)
    path = f"/api/drawings/image?class={ids['cross']}&author=Ann"
    photos = [photo("cross", seed=seed) for seed in range(4)]
    with ThreadPoolExecutor(4) as pool:
        answers = [*pool.map(lambda raw: client.request(path, raw=raw, content_type=JPEG), photos)]

    assert [status for status, _ in answers] == [200] * 4
    assert counts(client.get("/api/state"))["cross"] == (6, 0)
    assert all(one["photo"] and one["author"] == "Ann" for one in client.get("/api/drawings")[-4:])
    assert client.refused(path, raw=photos[0], content_type=JPEG) == 409
    assert client.refused(path, raw=photo("cross", "ring"), content_type=JPEG) == 422


def test_waiting_changes_delay_no_reading(client: Client, studio: Studio) -> None:
    (id,) = client.add("a")
    people = 2 * MAX_WRITES
    with ThreadPoolExecutor(people) as pool, studio._changing:  # a change is being fitted
        for seed in range(people):
            pool.submit(client.draw, id, draw("ring", seed))
        while len(studio.store.state.drawings) < MAX_WRITES:
            time.sleep(0.01)
        for _ in range(3):
            assert counts(client.get("/api/state")) == {"a": (0, 0)}
            assert client.post("/api/predict", {"drawing": draw("ring")})
    assert counts(client.get("/api/state")) == {"a": (people, 0)}


def drawing(point: str = "[0.5,0.5,0,0.5]", count: int = 1) -> str:
    strokes = f"[[{','.join([point] * count)}]]"
    return f'{{"drawing": {{"version": 1, "aspect": 1, "strokes": {strokes}}}}}'


BAD_BODIES = {
    "nothing": b"",
    "half": b'{"drawing"',
    "UTF-16": '{"drawing": 1}'.encode("utf-16"),
    "a list": b"[]",
    "many digits": b'{"drawing": ' + b"9" * 5000 + b"}",
    "deep lists": b'{"drawing": ' + b"[" * 100_000,
    "deep tables": b'{"a":' * 50_000,
    "heatmap in words": drawing().replace("}}", '}, "heatmap": "yes"}').encode(),
    "NaN": drawing("[NaN,0,0,0]").encode(),
    "1e999": drawing("[1e999,0,0,0]").encode(),
    "text for a number": drawing('["0.5",0,0,0]').encode(),
    "true for a number": drawing("[true,0,0,0]").encode(),
    "100,000 points": drawing(count=100_000).encode(),
    "another version": drawing().replace('"version": 1', '"version": 2').encode(),
}


BAD_NAMES = ["", "  \u3000", "x" * 101, "a\nb", "a\0", "\x1b[2J", "\ud800", "a\u2029b", 5, None]
BAD_OUTPUTS = ["x" * 1001, "a\0", "\x1b[2J", "a\r", "\ud800", "a\u2029b", 5, None]
RENAME, MOVE = f"/api/classes/{NOBODY}/rename", "/api/drawings/move"
OUTPUT = f"/api/classes/{NOBODY}/output"
DRAWING = {"class": NOBODY, "drawing": draw("ring"), "split": "train"}
BAD_REQUESTS = {
    **{f"class {name!a}": ("/api/classes", {"names": [name]}, 422) for name in BAD_NAMES},
    **{f"output {text!a}": (OUTPUT, {"output": text}, 422) for text in BAD_OUTPUTS},
    "output of an unknown class": (OUTPUT, {"output": "x"}, 404),
    "class of another form": ("/api/classes/../rename", {"name": "x"}, 422),
    "unknown class": (RENAME, {"name": "x"}, 404),
    "unknown drawing": (MOVE, {"drawings": [NOBODY], "class": None}, 404),
    "no drawings": (MOVE, {"drawings": [], "class": None}, 422),
    "too many drawings": (MOVE, {"drawings": [NOBODY] * 20_001, "class": None}, 422),
    "into a path": (MOVE, {"drawings": [NOBODY], "class": "../../x"}, 422),
    "nothing to redo": ("/api/redo", {"event": 1}, 409),
    "event true": ("/api/undo", {"event": True}, 422),
    "event of the future": ("/api/undo", {"event": 2**70}, 409),
    "unknown action": (f"/api/classes/{NOBODY}/explode", {}, 404),
    "drawing of an unknown class": ("/api/drawings", DRAWING, 404),
    **{
        f"drawing with {change}": ("/api/drawings", DRAWING | change, 422)
        for change in (
            {"split": "taught"},
            {"author": "x" * 101},
            {"author": "a\nb"},
            {"id": "../../../../x.png"},
            {"drawing": {"version": 1, "aspect": 1, "strokes": []}},
        )
    },
}


@pytest.mark.parametrize(("path", "value", "status"), BAD_REQUESTS.values(), ids=BAD_REQUESTS)
def test_a_bad_request_is_refused_and_changes_nothing(
    taught: tuple[Client, Ids], path: str, value: object, status: int
) -> None:
    assert taught[0].refused(path, value) == status


def declared(side: int) -> bytes:
    """A small PNG whose head speaks of more pixels."""
    raw = photo("ring", format="PNG")
    head = raw[12:16] + side.to_bytes(4, "big") * 2 + raw[24:29]
    return raw[:12] + head + zlib.crc32(head).to_bytes(4, "big") + raw[33:]


BAD_IMAGES = {
    "nothing": b"",
    "text": b"hello",
    "cut off": photo("ring", format="PNG")[:60],
    "a bomb": declared(30_000),
    "many pixels": declared(5_001),
    "TIFF": photo("ring", format="TIFF"),
    "SVG": b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>",
    "HTML behind the signature": b"\x89PNG\r\n\x1a\n<html>",
}


UPLOADS = {  # path and type of the body
    **{name: ("", "application/json", raw) for name, raw in BAD_BODIES.items()},
    **{f"{name} as image": ("/image", "image/png", raw) for name, raw in BAD_IMAGES.items()},
}


@pytest.mark.parametrize(("path", "content_type", "raw"), UPLOADS.values(), ids=UPLOADS)
def test_a_bad_body_is_refused(
    taught: tuple[Client, Ids], path: str, content_type: str, raw: bytes
) -> None:
    status = taught[0].refused(f"/api/predict{path}", raw=raw, content_type=content_type)
    assert status in (400, 422)


@pytest.fixture
def process(tmp_path: Path, backbone) -> Iterator[Process]:
    """`siglum studio` with the small backbone."""
    bundles.save(backbone.bundle, tmp_path / "small.siglum")
    with closing(Process(tmp_path / "my-signs", tmp_path / "small.siglum")) as opened:
        yield opened


@pytest.mark.slow
def test_a_killed_studio_has_every_drawing_that_it_acknowledged(process: Process) -> None:
    """Three clients draw; what had no answer is sent again after the restart."""
    sent: set[int] = set()
    acknowledged: set[int] = set()

    def save(number: int) -> None:
        sent.add(number)
        client.draw(ids[number % 3], draw(KINDS[number % 3], number), id=f"{number:016x}")
        acknowledged.add(number)

    def save_until_killed(first: int) -> None:
        with suppress(OSError, http.client.HTTPException):
            for number in range(first, first + 1000):
                save(number)

    for kills in range(5):
        client = process.start()
        ids = client.add(*KINDS)
        saved = {int(one["id"], 16): one["class"] for one in client.get("/api/drawings")}
        assert acknowledged <= saved.keys() <= sent, f"after {kills} kills"
        assert all(ids[number % 3] == label for number, label in saved.items())
        for number in sent - acknowledged:
            save(number)
        with ThreadPoolExecutor(3) as pool:
            clients = [pool.submit(save_until_killed, 10_000 * kills + n) for n in (0, 2000, 4000)]
            enough = len(acknowledged) + 5
            while len(acknowledged) < enough and not all(one.done() for one in clients):
                time.sleep(0.01)
            time.sleep(0.03 * kills)
            process.close()
        for one in clients:
            one.result()
    assert len(acknowledged) > 20


@pytest.mark.slow
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])  # Ctrl-C; a container that stops
def test_a_signal_stops_it_while_a_page_listens(process: Process, name: str) -> None:
    port = process.start().port
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=20)) as connection:
        connection.request("GET", "/api/events")
        with connection.getresponse() as stream:
            assert stream.readline().startswith(b"data: ")
            process.popen.send_signal(signal.Signals[name])
            output = process.popen.communicate(timeout=20)[0]

    assert process.popen.returncode == 0
    assert output == f"Everything is saved in {process.folder}.\n"
