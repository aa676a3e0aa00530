"""What a page asks for, in the order in which a person would have it ask."""

import base64
import http.client
import io
import time
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from visiting import Client, Json, drawing_of, serving

from siglum.images import samples
from siglum.images.sources import load
from siglum.studio import server
from siglum.studio.app import page_files
from siglum.studio.snapshot import class_id
from siglum.studio.studio import Studio

Ids = dict[str, str]  # by kind
KINDS = ("ring", "cross", "stroke")
HOSTILE = "<img src=x onerror=alert(1)>"


def taught(client: Client, count: int = 3, *names: str) -> Ids:
    """Teach three signs by so many drawings each; return the classes' ids by kind."""
    ids = dict(zip(KINDS, client.add(*(names or KINDS)), strict=True))
    for seed in range(count):
        for kind, id_ in ids.items():
            client.teach(id_, drawing_of(kind, seed))
    return ids


def settled(client: Client) -> Json:
    """The state once what takes longer has been found out."""
    deadline = time.monotonic() + 60
    while not (state := client.get("/api/state"))["analysed"]:
        assert time.monotonic() < deadline, "it was not analysed"
        time.sleep(0.1)
    return state


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory, backbone) -> Iterator[tuple[Client, Ids]]:
    """A Studio that was taught three signs, and the classes' ids; nobody changes it."""
    folder = tmp_path_factory.mktemp("known") / "my-signs"
    with (
        closing(Studio(folder, backbone)) as opened,
        serving(opened, server.listen("127.0.0.1", 0)) as port,
    ):
        yield Client(port), taught(Client(port))


def test_the_page_and_its_files_are_there(client: Client) -> None:
    files = page_files()
    assert client.get("/").startswith(b"<!doctype html>")
    for name in files:
        if name != "index.html":
            assert client.get(f"/static/{name}") == files[name][0]


def test_an_empty_folder_says_that_nothing_can_be_read_yet(client: Client) -> None:
    state = client.get("/api/state")
    read = client.post("/api/recognise", {"drawing": drawing_of("ring")})

    assert not state["ready"] and state["classes"] == [] and state["undo"] is None
    assert state["title"] == "my-signs" and len(state["folder"]) == 16
    assert read["answers"] == [] and not read["empty"] and not read["none"]
    assert client.ask("/api/quiz", {})[0] == 409
    assert client.ask("/api/bundle")[0] == 409


def test_a_character_is_known_by_print_at_once(client: Client) -> None:
    one = client.post("/api/classes", {"name": "greek small letter alpha"})
    client.add("b", "my sign")
    state = client.get("/api/state")

    assert one["state"]["classes"][0] | {"id": ""} == {
        "id": "",
        "name": "α",
        "print": True,
        "taught": 0,
        "quiz": 0,
        "judged": {"taught": 0, "quiz": 0},
        "right": None,
        "advice": None,
    }
    assert state["ready"] and [c["print"] for c in state["classes"]] == [True, True, False]
    read = client.post("/api/recognise", {"drawing": drawing_of("ring")})
    assert {answer["name"] for answer in read["answers"]} == {"α", "b"}


def test_three_drawings_teach_a_sign(known: tuple[Client, Ids]) -> None:
    client, ids = known
    for kind, id_ in ids.items():
        read = client.post("/api/recognise", {"drawing": drawing_of(kind, 99)})
        assert read["answers"][0]["class"] == id_ and read["answers"][0]["name"] == kind
        assert sum(a["probability"] for a in read["answers"]) == pytest.approx(1)
        assert id_ in read["set"]
        assert len(base64.b64decode(read["ink"])) == read["side"] ** 2
        nearest = client.get(f"/api/samples?class={id_}")
        assert read["nearest"][0]["id"] in [sample["id"] for sample in nearest]
        assert len(read["nearest"]) == 5


def test_an_answer_explains_itself(known: tuple[Client, Ids]) -> None:
    client, _ = known
    read = client.post("/api/recognise", {"drawing": drawing_of("ring", 9), "heat": True})
    heat = np.frombuffer(base64.b64decode(read["heat"]), np.uint8)
    ink = np.frombuffer(base64.b64decode(read["ink"]), np.uint8)

    assert "of the pad's height" in read["evidence"][0]
    assert heat.max() == 255 and not heat[ink == 0].any()
    assert 0 <= read["heat_left"] <= read["answers"][0]["probability"]


def test_nothing_drawn_is_no_answer(known: tuple[Client, Ids]) -> None:
    client, _ = known
    empty = {"version": 1, "aspect": 1.0, "strokes": []}
    read = client.post("/api/recognise", {"drawing": empty, "heat": True})

    assert read["empty"] and read["answers"] == [] and "heat" not in read
    assert read["evidence"] == ["Nothing is drawn yet."]


@pytest.mark.parametrize("kind", ["dot", "stroke"])
def test_a_dot_and_a_flat_line_are_read(known: tuple[Client, Ids], kind: str) -> None:
    client, _ = known
    read = client.post("/api/recognise", {"drawing": drawing_of(kind)})

    assert not read["empty"] and len(read["answers"]) == 3


def test_a_drawing_is_on_disk_when_it_is_answered(client: Client, studio: Studio) -> None:
    (id_,) = client.add("o/O")
    kept = client.teach(id_, drawing_of("ring"), writer="Ann")["id"]
    (found,) = [one for one in samples.find(studio.folder) if one.path.name == kept]
    sample = samples.read(found.path)

    assert found.class_name == "o/O" and sample.writer == "Ann" and sample.part == "taught"
    assert client.get(f"/api/samples/{kept}.png") == found.path.with_suffix(".png").read_bytes()


def test_other_commands_read_the_folder(client: Client, studio: Studio) -> None:
    taught(client, 2)
    images = load(f"folder:{studio.folder}")

    assert sorted(images.classes) == sorted(KINDS) and len(images) == 6


def test_a_drawing_that_is_sent_again_is_kept_once(client: Client) -> None:
    (id_,) = client.add("a")
    key = "00112233aabbccdd"
    first, again = (client.teach(id_, drawing_of("ring"), key=key) for _ in range(2))

    assert first["id"] == again["id"] == key
    assert again["state"]["classes"][0]["taught"] == 1


def test_rename_merge_delete_and_undo(client: Client) -> None:
    ids = taught(client, 2)
    new = client.post(f"/api/classes/{ids['ring']}/rename", {"name": HOSTILE})
    assert [c["name"] for c in new["state"]["classes"]] == [HOSTILE, "cross", "stroke"]
    undo = new["state"]["undo"]
    assert undo == {"line": 10, "said": f"renamed \u2068ring\u2069 to \u2068{HOSTILE}\u2069"}
    assert client.get(f"/api/samples?class={new['id']}")[0]["class"] == new["id"]

    merged = client.post(f"/api/classes/{new['id']}/merge", {"into": ids["cross"]})["state"]
    assert [(c["name"], c["taught"]) for c in merged["classes"]] == [("cross", 4), ("stroke", 2)]
    deleted = client.post(f"/api/classes/{ids['stroke']}/delete", {})["state"]
    assert [c["name"] for c in deleted["classes"]] == ["cross"] and not deleted["ready"]

    state = deleted
    for expected in (2, 3, 3):
        state = client.post("/api/undo", {"line": state["undo"]["line"]})["state"]
        assert len(state["classes"]) == expected
    assert [(c["name"], c["taught"]) for c in state["classes"]] == [(k, 2) for k in KINDS]
    assert state["ready"] and state["redo"] == undo
    assert client.post("/api/redo", {"line": 10})["state"]["classes"][0]["name"] == HOSTILE


def test_moving_and_deleting_drawings(client: Client) -> None:
    ids = taught(client, 2)
    one, two = (sample["id"] for sample in client.get(f"/api/samples?class={ids['ring']}"))
    moved = client.post("/api/samples/move", {"samples": [one], "class": ids["cross"]})["state"]
    assert [c["taught"] for c in moved["classes"]] == [1, 3, 2]
    assert moved["undo"]["said"] == "moved a drawing to \u2068cross\u2069"
    gone = client.post("/api/samples/delete", {"samples": [two, one, two]})["state"]
    assert [c["taught"] for c in gone["classes"]] == [0, 2, 2]
    assert gone["undo"]["said"] == "deleted 2 drawings"
    assert client.ask(f"/api/samples/{two}.png")[0] == 404
    assert client.ask("/api/samples/delete", {"samples": [one]})[0] == 404
    back = client.post("/api/undo", {"line": gone["undo"]["line"]})["state"]
    assert [c["taught"] for c in back["classes"]] == [1, 3, 2]
    assert client.get(f"/api/samples/{two}.png").startswith(b"\x89PNG")


def test_what_looks_wrong_is_found_and_said(client: Client) -> None:
    ids = taught(client, 4)
    odd = client.teach(ids["cross"], drawing_of("ring", 50))["id"]
    wrong = client.get("/api/samples?wrong=true")
    state = client.get("/api/state")

    assert [sample["id"] for sample in wrong] == [odd]
    assert wrong[0]["read"] == ids["ring"] and wrong[0]["probability"] > 0.5
    assert state["confusions"] == [
        {"meant": ids["cross"], "read": ids["ring"], "times": 1, "of": 5, "samples": [odd]}
    ]
    assert state["right"]["hits"] == 12 and state["right"]["total"] == 13
    assert state["classes"][1]["right"]["hits"] == 4
    assert [c["judged"] for c in state["classes"]] == [
        {"taught": count, "quiz": 0} for count in (4, 5, 4)
    ]


def test_the_only_drawing_of_a_sign_is_not_judged(client: Client) -> None:
    ids = taught(client, 1)

    assert all(not sample["wrong"] for sample in client.get("/api/samples"))
    assert client.get("/api/state")["right"] is None
    state = client.teach(ids["ring"], drawing_of("ring", 5))["state"]
    assert state["right"]["total"] == 2
    assert [c["judged"]["taught"] for c in state["classes"]] == [2, 0, 0]
    assert [c["taught"] for c in state["classes"]] == [2, 1, 1]


def test_what_takes_longer_comes_by_and_by(client: Client) -> None:
    ids = taught(client, 4)
    client.add("nobody drew it")
    client.teach(ids["cross"], drawing_of("ring", 50))
    state = settled(client)

    assert [point["samples"] for point in state["curve"]] == [1, 2, 3]
    assert all(0 <= p["low"] <= p["right"] <= p["high"] <= 1 for p in state["curve"])
    assert state["advice"][0] == {
        "class": class_id("nobody drew it"),
        "why": "nothing is known of it yet.",
    }
    assert "it is taken for 'ring' (1 of 5)." in [one["why"] for one in state["advice"]]
    assert any(said.startswith("Guessed") for said in state["promises"])


def test_the_quiz_asks_for_what_was_asked_least_and_never_learns_from_it(client: Client) -> None:
    ids = taught(client, 3)
    names = {v: k for k, v in ids.items()}
    before = client.post("/api/recognise", {"drawing": drawing_of("ring", 9)})
    asked = []
    for seed in range(6):
        wanted = client.post("/api/quiz", {})["class"]
        asked.append(wanted)
        answer = client.teach(wanted, drawing_of(names[wanted], 200 + seed), part="quiz")
        assert answer["right"] and answer["read"] == wanted
    wrong = client.teach(ids["ring"], drawing_of("cross", 300), part="quiz")
    state = wrong["state"]

    assert sorted(asked[:3]) == sorted(ids.values()) and sorted(asked[3:]) == sorted(ids.values())
    assert not wrong["right"] and wrong["read"] == ids["cross"]
    assert state["quiz"]["right"]["hits"] == 6 and state["quiz"]["right"]["total"] == 7
    assert state["quiz"]["confusions"][0]["samples"] == [wrong["id"]]
    assert [c["quiz"] for c in state["classes"]] == [3, 2, 2]
    assert [c["taught"] for c in state["classes"]] == [3, 3, 3] and state["right"]["total"] == 9
    after = client.post("/api/recognise", {"drawing": drawing_of("ring", 9)})
    assert before["answers"] == after["answers"] and before["nearest"] == after["nearest"]


def photo(*kinds: str) -> bytes:
    """A photo of signs in a row, dark on light."""
    from siglum.images import strokes

    cells = [255 - strokes.rasterise(strokes.parse(drawing_of(kind, 3)), 200) for kind in kinds]
    row = np.pad(np.concatenate(cells, axis=1), 40, constant_values=255)
    file = io.BytesIO()
    Image.fromarray(np.stack([row] * 3, axis=2)).save(file, "JPEG", quality=90)
    return file.getvalue()


def test_a_photo_is_read(known: tuple[Client, Ids]) -> None:
    client, ids = known
    status, found = client.ask("/api/picture", raw=photo("cross"), kind="image/jpeg")

    assert status == 200 and (found["width"], found["height"]) == (280, 280)
    (one,) = found["characters"]
    assert one["answers"][0]["class"] == ids["cross"]
    assert one["evidence"][0] == "Dark ink on light paper."
    top, left, bottom, right = one["box"]
    assert 40 < top < bottom < 240 and 40 < left < right < 240


def test_a_page_of_signs_is_boxed_and_read(known: tuple[Client, Ids]) -> None:
    client, ids = known
    status, found = client.ask(
        "/api/picture", raw=photo("ring", "cross", "ring"), kind="image/jpeg"
    )

    assert status == 200 and not found["sideways"]
    names = [one["answers"][0]["class"] for one in found["characters"]]
    assert names == [ids["ring"], ids["cross"], ids["ring"]]
    assert [one["row"] for one in found["characters"]] == [0, 0, 0]


def test_paper_without_ink_has_no_characters(known: tuple[Client, Ids]) -> None:
    client, _ = known
    file = io.BytesIO()
    Image.new("RGB", (64, 48), "white").save(file, "PNG")
    status, found = client.ask("/api/picture", raw=file.getvalue(), kind="image/png")

    assert status == 200 and found["characters"] == [] and found["width"] == 64


def test_a_photo_is_kept_as_a_sample(client: Client, studio: Studio) -> None:
    ids = taught(client, 2)
    path = f"/api/picture?class={ids['cross']}&part=taught&writer=Ann"
    status, found = client.ask(path, raw=photo("cross"), kind="image/jpeg")

    assert status == 200
    assert [c["taught"] for c in found["state"]["classes"]] == [2, 3, 2]
    kept = samples.read(studio.ledger.path(found["id"]))
    assert kept.writer == "Ann" and isinstance(kept.drawing, np.ndarray)
    status, answer = client.ask(path, raw=photo("cross", "ring"), kind="image/jpeg")
    assert status == 422 and "must show one character to be kept" in answer["error"]


def test_writers_are_counted_and_read_by_what_others_taught(client: Client) -> None:
    ids = dict(zip(KINDS, client.add(*KINDS), strict=True))
    for number, writer in enumerate(("Ann", "Bob", "")):
        for seed in range(2):
            for kind in KINDS:
                drawing = drawing_of(kind, 10 * number + seed)
                client.teach(ids[kind], drawing, writer=writer)
    client.teach(client.add("only Ann's")[0], drawing_of("dot"), writer="Ann")
    client.teach(ids["ring"], drawing_of("ring", 9), writer="Bob", part="quiz")
    writers = {one["name"]: one for one in settled(client)["writers"]}

    assert list(writers) == ["Ann", "Bob", ""]
    assert writers["Ann"]["taught"] == 7 and writers["Bob"]["taught"] == 6
    assert writers["Bob"]["classes"] == dict.fromkeys(ids.values(), 2) | {ids["ring"]: 3}
    assert writers["Ann"]["right"]["total"] == writers["Bob"]["right"]["total"] == 6
    assert writers[""]["right"] is None
    assert writers["Bob"]["right"]["hits"] >= 5


def test_news_reaches_whoever_listens(client: Client) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", client.port, timeout=10)
    with closing(connection):
        connection.request("GET", "/api/events")
        stream = connection.getresponse()
        lines = (line for line in stream if line.startswith(b"data: "))
        heard = [int(next(lines)[6:])]
        client.add("a", "b")
        wanted = client.get("/api/state")["version"]
        while heard[-1] < wanted:
            heard.append(int(next(lines)[6:]))
        stream.close()

    assert len(heard) > 1 and heard == sorted(set(heard))


def test_many_at_once_lose_nothing(client: Client, studio: Studio) -> None:
    ids = dict(zip(KINDS, client.add(*KINDS), strict=True))

    def draw(number: int) -> str:
        kind = KINDS[number % 3]
        read = client.ask("/api/recognise", {"drawing": drawing_of(kind, number)})
        assert read[0] == 200, read
        return client.teach(ids[kind], drawing_of(kind, number), writer=f"w{number % 8}")["id"]

    with ThreadPoolExecutor(8) as pool:
        kept = list(pool.map(draw, range(24)))
    state = client.get("/api/state")

    assert len(set(kept)) == 24
    assert {sample["id"] for sample in client.get("/api/samples")} == set(kept)
    assert [c["taught"] for c in state["classes"]] == [8, 8, 8]
    assert studio.current.lesson is not None and len(studio.current.lesson) == 24
    assert len(samples.find(studio.folder)) == 24


def test_all_is_there_after_closing_and_opening_again(tmp_path: Path, backbone) -> None:
    states, reads = [], []
    for visit in range(2):
        with (
            closing(Studio(tmp_path / "my-signs", backbone)) as studio,
            serving(studio, server.listen("127.0.0.1", 0)) as port,
        ):
            client = Client(port)
            if not visit:
                taught(client, 3, "אב", HOSTILE, "..")
            states.append(settled(client))
            reads.append(client.post("/api/recognise", {"drawing": drawing_of("ring", 9)}))

    assert states[1].pop("version") > states[0].pop("version")
    assert states[0] == states[1]
    for read in reads:
        del read["ms"]
    assert reads[0] == reads[1]


def test_a_report_comes_with_a_policy_of_its_own(known: tuple[Client, Ids]) -> None:
    client, _ = known
    connection = http.client.HTTPConnection("127.0.0.1", client.port, timeout=20)
    with closing(connection):
        connection.request("GET", "/api/report")
        answer = connection.getresponse()
        page = answer.read().decode()

    assert answer.status == 200 and "9 of 9 drawings are read right" in page
    assert answer.headers["content-disposition"] == 'attachment; filename="my-signs.html"'
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_what_is_taken_in_can_be_cancelled_by_another_request(client: Client) -> None:
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w") as archive:
        for number in range(200):
            png = io.BytesIO()
            shade = np.full((60, 60), 255, np.uint8)
            shade[10:50, 10 + number % 40] = shade[number // 40 + 20, 10:50] = 0
            Image.fromarray(shade).save(png, "PNG")
            archive.writestr(f"a/{number}.png", png.getvalue())
    with ThreadPoolExecutor() as pool:
        sent = pool.submit(
            client.ask, "/api/open", raw=held.getvalue(), kind="application/octet-stream"
        )
        while not client.get("/api/state")["undo"]:
            pass
        client.post("/api/cancel", {})
        status, answer = sent.result()

    assert status == 200
    assert answer["said"][1] == "It was cancelled; what was taken until then is kept."
    assert 0 < len(answer["samples"]) < 200
