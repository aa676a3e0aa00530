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
from test_protocol import BAD_BODIES, BAD_IMAGES, photo

from siglum.studio.app import create_server, listen
from siglum.studio.service import create_service
from siglum.studio.snapshot import Studio
from siglum.studio.workers import Workers

JSON = "application/json"
TOKEN = "0123456789abcdef"
LINE = {"strokes": [[[0, 0], [3, 40]], [[-20, 20], [20, 20]]]}


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


FORM = "multipart/form-data; boundary=cut"


def form(*files: bytes) -> bytes:
    """Return the body of a form."""
    head = 'Content-Disposition: form-data; name="files"; filename="{}.png"\r\n\r\n'
    parts = [head.format(number).encode() + file for number, file in enumerate(files)]
    return b"".join(b"--cut\r\n" + part + b"\r\n" for part in parts) + b"--cut--\r\n"


def recognise(client: Client, *files: bytes) -> list[Any]:
    """Send files; return the answers."""
    status, answers = client.request("/recognise", raw=form(*files), content_type=FORM)
    assert status == 200 and len(answers) == len(files)
    return answers


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


def test_one_or_several_images_are_recognised_as_in_python(client: Client, backbone) -> None:
    ring, cross = photo("ring", format="PNG"), photo("cross", format="JPEG")

    assert recognise(client, ring) == [backbone.predict(ring).to_dict() | {"file": "0.png"}]
    first, second, third = recognise(client, ring, b"hello", cross)
    assert first == backbone.predict(ring).to_dict() | {"file": "0.png"}
    assert third == backbone.predict(cross).to_dict() | {"file": "2.png"}
    assert second["file"] == "1.png" and second["detail"].startswith("Cannot read image 2: not")


@pytest.mark.parametrize("drawing", [LINE, draw("cross")], ids=["any unit", "a pad"])
def test_strokes_are_recognised_as_in_python(client: Client, backbone, drawing: Any) -> None:
    image = drawing if "version" in drawing else drawing["strokes"]

    assert client.post("/recognise/strokes", drawing) == backbone.predict(image).to_dict()


def test_health_and_docs_need_no_script_and_no_network(client: Client) -> None:
    assert set(client.get("/health")) == {"version", "classes"}
    page, api = client.get("/docs").decode(), client.get("/openapi.json")
    assert not re.search(r"<script|<link|src=|href=.?(http|//)|url\(|@import", page)
    for path, methods in api["paths"].items():
        for method in methods:
            assert f"{method.upper()} {path}" in page
    assert len(api["paths"]) == 3


@pytest.mark.parametrize("name", [name for name in BAD_IMAGES if name != "TIFF"])
def test_an_image_that_cannot_be_read_gets_the_reason(client: Client, name: str) -> None:
    (answer,) = recognise(client, BAD_IMAGES[name])

    assert answer["detail"].startswith("Cannot read image 1: ") and answer["file"] == "0.png"


FILE, STROKES = form(b"hello"), "/strokes"
BAD: dict[str, tuple[int, str, str, bytes]] = {
    **{f"{name} as strokes": (422, STROKES, JSON, raw) for name, raw in BAD_BODIES.items()},
    "no strokes": (422, STROKES, JSON, b'{"strokes": []}'),
    "an empty stroke": (422, STROKES, JSON, b'{"strokes": [[]]}'),
    "a path": (422, STROKES, JSON, b'{"strokes": "/etc/passwd"}'),
    "a list of paths": (422, STROKES, JSON, b'{"strokes": ["/etc/passwd"]}'),
    "one number": (422, STROKES, JSON, b'{"strokes": [[[1]]]}'),
    "text": (422, STROKES, JSON, b'{"strokes": [[["1", 2]]]}'),
    "infinity": (422, STROKES, JSON, b'{"strokes": [[[1e999, 2]]]}'),
    "a large number": (422, STROKES, JSON, b'{"strokes": [[[1%s, 2]]]}' % (b"0" * 400)),
    "a pad without pressure": (422, STROKES, JSON, b'{"strokes": [[[0, 0]]], "version": 1}'),
    "2 MB of strokes": (413, STROKES, JSON, b" " * (2 * 2**20 + 1)),
    "64 MB of files": (413, "", FORM, b" " * (64 * 2**20 + 1)),
    "an image as body": (415, "", "image/png", photo("ring", format="PNG")),
    "JSON for files": (415, "", JSON, b"{}"),
    "no files": (422, "", FORM, b"--cut--\r\n"),
    "files of another name": (422, "", FORM, FILE.replace(b"files", b"file")),
    "text for a file": (422, "", FORM, FILE.replace(b'; filename="0.png"', b"")),
    "a cut form": (422, "", FORM, FILE[:20]),
    "no boundary": (400, "", "multipart/form-data", FILE),
}


@pytest.mark.parametrize(("status", "path", "kind", "body"), BAD.values(), ids=BAD)
def test_bad_input_is_refused_with_a_sentence(
    client: Client, status: int, path: str, kind: str, body: bytes
) -> None:
    answer, content = client.request(f"/recognise{path}", raw=body, content_type=kind)

    assert answer in {status, 400 if status == 422 else status}, content
    detail = content["detail"]
    assert detail[0].isupper() or detail.startswith(("files", "strokes")), detail
    assert not re.search("Traceback|class '|root:|site-packages|an image must", detail)


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
        (400, {"Origin": "http://evil.example"}),
        (400, {"Origin": "null"}),
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
        closing(Workers(backbone)) as workers,
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
    upload = partial(recognise, client, large_image())
    with ThreadPoolExecutor(6) as pool:
        uploads = [pool.submit(upload) for _ in range(2)]
        others = [pool.submit(client.request, "/recognise/strokes", LINE) for _ in range(20)]
        time.sleep(0.1)
        kill()
        assert all("label" in upload.result()[0] for upload in uploads)
        assert [other.result()[0] for other in others] == [200] * 20


def test_processes_that_die_are_an_error_but_requests_go_on(
    own: tuple[Client, Any],
) -> None:
    client, kill = own
    client.get("/health")
    with ThreadPoolExecutor(1) as pool:
        answers = pool.submit(recognise, client, large_image())
        while not answers.done():
            kill()
            time.sleep(0.01)

    assert "Try again" in answers.result()[0]["detail"]
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
