"""`siglum serve`: every request of the API, over a real socket."""

import http.client
import io
import json
import multiprocessing
import re
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial
from typing import Any

import pytest
from PIL import Image, ImageDraw
from studio_client import Client, draw, running, workers_of
from test_protocol import BAD_BODIES, BAD_IMAGES, declared, photo

from siglum.studio.app import create_server, listen
from siglum.studio.service import MAX_BATCH, create_service
from siglum.studio.snapshot import Studio
from siglum.studio.workers import Workers

PNG, JSON = "image/png", "application/json"
TOKEN = "0123456789abcdef"
LINE = {"strokes": [[[0, 0], [3, 40]], [[-20, 20], [20, 20, 9, 0.5]]]}


@pytest.fixture(scope="module")
def client(backbone) -> Iterator[Client]:
    """A service with the small backbone, which only this machine can reach."""
    address = listen("127.0.0.1", 0)
    with running(create_service(address, workers_of(backbone)), address) as port:
        yield Client(port)


@pytest.fixture(scope="module")
def shared(backbone) -> Iterator[Client]:
    """The same with a token."""
    address = listen("127.0.0.1", 0)._replace(token=TOKEN)
    with running(create_service(address, workers_of(backbone)), address) as port:
        yield Client(port)


def form(*files: bytes, name: str = "files") -> tuple[bytes, str]:
    """Return the body and the type of a form."""
    head = 'Content-Disposition: form-data; name="{}"; filename="{}.png"\r\n\r\n'
    parts = [head.format(name, n).encode() + one for n, one in enumerate(files)]
    body = b"".join(b"--cut\r\n" + part + b"\r\n" for part in parts) + b"--cut--\r\n"
    return body, "multipart/form-data; boundary=cut"


def send(
    client: Client, path: str, method: str = "POST", body: bytes = b"{}", **headers: str
) -> http.client.HTTPResponse:
    """Send a request with these headers only."""
    connection = http.client.HTTPConnection("127.0.0.1", client.port, timeout=60)
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    connection.request(method, path, body if method == "POST" else None, named)
    with closing(connection):
        answer = connection.getresponse()
        answer.read()
        return answer


def test_an_image_is_recognised_as_in_python(client: Client, backbone) -> None:
    content = photo("ring", format="PNG")
    status, answer = client.request("/recognise", raw=content, content_type=PNG)

    assert (status, answer) == (200, backbone.predict(content).to_dict())


@pytest.mark.parametrize("drawing", [LINE, draw("cross")], ids=["any unit", "a pad"])
def test_strokes_are_recognised_as_in_python(client: Client, backbone, drawing: Any) -> None:
    image = drawing if "version" in drawing else [[p[:2] for p in s] for s in drawing["strokes"]]
    expected = backbone.predict(image).to_dict()

    assert client.post("/recognise/strokes", drawing) == expected
    assert client.post("/recognise/batch", {"drawings": [drawing] * 3}) == [expected] * 3


def test_a_batch_of_files_has_an_answer_for_each_in_their_order(client: Client, backbone) -> None:
    ring, cross = photo("ring", format="PNG"), photo("cross", format="JPEG")
    body, kind = form(ring, b"hello", cross)
    status, (first, second, third) = client.request("/recognise/files", raw=body, content_type=kind)

    assert status == 200
    assert first == backbone.predict(ring).to_dict() | {"file": "0.png"}
    assert third == backbone.predict(cross).to_dict() | {"file": "2.png"}
    assert second["file"] == "1.png" and second["detail"].startswith("Cannot read this image: not")


def test_an_output_has_the_format_that_is_asked_for(client: Client) -> None:
    name = client.post("/recognise/strokes", draw("ring"))["label"]
    answer = client.post("/recognise/strokes?output=python", draw("ring"))

    assert answer["label"] == name and answer["output"] != ""


def test_health_and_docs_need_no_script_and_no_network(client: Client) -> None:
    assert set(client.get("/health")) == {"version", "classes"}
    page, api = client.get("/docs").decode(), client.get("/openapi.json")
    assert not re.search(r"<script|<link|src=|href=.?(http|//)|url\(|@import", page)
    for path, methods in api["paths"].items():
        for method in methods:
            assert f"{method.upper()} {path}" in page
    assert len(api["paths"]) == 5


BODY, FORM = form(b"hello", name="other")
MANY, _ = form(*[b"x"] * (MAX_BATCH + 1))
BAD: dict[str, tuple[int, str, str, bytes]] = {
    **{f"{name} as image": (422, "", PNG, raw) for name, raw in BAD_IMAGES.items()},
    **{f"{name} as strokes": (422, "/strokes", JSON, raw) for name, raw in BAD_BODIES.items()},
    "too many pixels": (422, "", PNG, declared(5_001)),
    "an unknown output": (422, "?output=pdf", PNG, photo("ring", format="PNG")),
    "a form for one image": (415, "", FORM, BODY),
    "JSON for one image": (415, "", JSON, b"{}"),
    "SVG": (415, "", "image/svg+xml", b"<svg/>"),
    "no strokes": (422, "/strokes", JSON, b'{"strokes": []}'),
    "an empty stroke": (422, "/strokes", JSON, b'{"strokes": [[]]}'),
    "a path": (422, "/strokes", JSON, b'{"strokes": "/etc/passwd"}'),
    "one number": (422, "/strokes", JSON, b'{"strokes": [[[1]]]}'),
    "text": (422, "/strokes", JSON, b'{"strokes": [[["1", 2]]]}'),
    "infinity": (422, "/strokes", JSON, b'{"strokes": [[[1e999, 2]]]}'),
    "a pad without pressure": (422, "/strokes", JSON, b'{"strokes": [[[0, 0]]], "version": 1}'),
    "another field": (422, "/strokes", JSON, b'{"strokes": [[[0, 0]]], "name": "x"}'),
    "2 MB of strokes": (413, "/strokes", JSON, b" " * (2 * 2**20 + 1)),
    "20 MB of image": (413, "", PNG, b" " * (20 * 2**20 + 1)),
    "no drawings": (422, "/batch", JSON, b'{"drawings": []}'),
    "101 drawings": (422, "/batch", JSON, json.dumps({"drawings": [LINE] * 101}).encode()),
    "no files": (422, "/files", FORM, b"--cut--\r\n"),
    "files of another name": (422, "/files", FORM, BODY),
    "101 files": (422, "/files", FORM, MANY),
    "text for a file": (422, "/files", FORM, BODY.replace(b'"; filename="0.png', b"")),
    "a cut form": (422, "/files", FORM, BODY[:20]),
    "no boundary": (400, "/files", "multipart/form-data", BODY),
    "JSON for files": (415, "/files", JSON, b"{}"),
}


@pytest.mark.parametrize(("status", "path", "kind", "body"), BAD.values(), ids=BAD)
def test_bad_input_is_refused_with_a_sentence(
    client: Client, status: int, path: str, kind: str, body: bytes
) -> None:
    answer, content = client.request(f"/recognise{path}", raw=body, content_type=kind)

    assert answer in {status, 400 if status == 422 else status}, content
    assert content["detail"][0].isupper() or ":" in content["detail"], content
    assert not re.search("Traceback|class '|/work|site-packages", content["detail"])


def test_only_get_and_post_and_only_known_paths(client: Client) -> None:
    assert client.refused("/recognise") == 405
    assert client.refused("/nowhere") == 404
    assert send(client, "/health", "DELETE").status == 405


def test_a_token_opens_the_service(shared: Client) -> None:
    for wrong in ({}, {"Authorization": "Bearer x"}, {"Authorization": TOKEN}):
        answer = send(shared, "/recognise/strokes", Content_Type=JSON, **wrong)
        assert (answer.status, answer.headers["WWW-Authenticate"]) == (401, "Bearer")
    headers = {"Authorization": f"Bearer {TOKEN}", "Host": "signs.example"}  # behind a proxy
    body = json.dumps(LINE).encode()
    assert send(shared, "/recognise/strokes", body=body, Content_Type=JSON, **headers).status == 200
    for path in ("/health", "/docs", "/openapi.json"):
        assert send(shared, path, "GET").status == 200


def test_without_a_token_no_page_of_another_site_can_ask(client: Client) -> None:
    body = json.dumps(LINE).encode()
    for status, headers in (
        (200, {}),  # a program
        (200, {"Origin": f"http://127.0.0.1:{client.port}"}),
        (403, {"Origin": "http://evil.example"}),
        (403, {"Origin": "null"}),
        (400, {"Host": "evil.example"}),
    ):
        answer = send(client, "/recognise/strokes", body=body, Content_Type=JSON, **headers)
        assert answer.status == status, headers


@pytest.fixture
def own(backbone) -> Iterator[tuple[Client, Callable[[], None]]]:
    """A service with processes of its own, and a function that kills them."""
    address, others = listen("127.0.0.1", 0), {*multiprocessing.active_children()}

    def kill() -> None:
        for process in {*multiprocessing.active_children()} - others:
            process.kill()

    with (
        closing(Workers(backbone, 2)) as workers,
        running(create_service(address, workers), address) as port,
    ):
        yield Client(port), kill


def large_image() -> bytes:
    """A ring on 25 megapixels, which takes a while to read."""
    image, file = Image.new("L", (5000, 5000), 255), io.BytesIO()
    ImageDraw.Draw(image).ellipse((1500, 1500, 3500, 3500), outline=0, width=200)
    image.save(file, "PNG", compress_level=1)
    return file.getvalue()


def test_a_process_killed_in_the_middle_loses_no_request(own: tuple[Client, Any]) -> None:
    client, kill = own
    client.get("/health")
    upload = partial(client.request, "/recognise", raw=large_image(), content_type=PNG)
    with ThreadPoolExecutor(6) as pool:
        answers = [pool.submit(upload) for _ in range(2)]
        answers += [pool.submit(client.request, "/recognise/strokes", LINE) for _ in range(20)]
        time.sleep(0.1)
        kill()
        assert [answer.result()[0] for answer in answers] == [200] * 22


def test_processes_that_always_die_are_an_error_and_the_next_request_works(
    own: tuple[Client, Any],
) -> None:
    client, kill = own
    client.get("/health")
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(client.request, "/recognise", None, large_image(), PNG)
        while not answer.done():
            kill()
            time.sleep(0.01)
    status, content = answer.result()

    assert status == 503 and "Try again" in content["detail"]
    assert client.post("/recognise/strokes", LINE)["label"]


def test_the_studio_reads_on_after_its_process_is_killed(studio: Studio) -> None:
    address, others = listen("127.0.0.1", 0), {*multiprocessing.active_children()}
    with (
        closing(Workers(studio.backbone)) as workers,
        running(create_server(studio, address, workers), address) as port,
    ):
        client = Client(port)
        ids = client.teach(1)
        for process in {*multiprocessing.active_children()} - others:
            process.kill()
        assert client.post("/api/predict", {"drawing": draw("ring")})["candidates"]
        client.draw(ids["ring"], draw("ring", 7))
        assert len(client.get("/api/drawings")) == 4
