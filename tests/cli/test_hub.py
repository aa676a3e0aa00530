"""Bundles on the Hugging Face Hub, for which a server on this machine stands."""

import base64
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from siglum import teach
from tests.cli.conftest import Call

yaml = pytest.importorskip("yaml", reason="huggingface_hub is missing: pip install '.[hub]'")
URL = "https://huggingface.co/anna/greek"


class Request(BaseHTTPRequestHandler):
    def answer(self) -> None:
        hub, path = self.server, self.path.partition("?")[0]
        data = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        status = int((self.headers["Authorization"] or "401")[-3:])  # the end of the token
        reply = {"url": URL, "commitUrl": f"{URL}/commit/0", "commitOid": "0", "id": "anna/greek"}
        if path == "/api/repos/create" and status == 200:
            key = "/api/models/{organization}/{name}".format(**json.loads(data))
            status = 409 if key in hub.private else 200
            hub.private.setdefault(key, b'"private"' in data)
        elif "/preupload/" in path:
            one = {"uploadMode": "regular", "shouldIgnore": False}
            reply = {"files": [one | {"path": file["path"]} for file in json.loads(data)["files"]]}
        elif "/commit/" in path:
            values = [json.loads(line)["value"] for line in data.splitlines()[1:]]
            hub.files |= {one["path"]: base64.b64decode(one["content"]) for one in values}
        elif "/resolve/" in path:
            reply = hub.files.get(path.rpartition("/")[2])
            status = 200 if reply else 404
        else:
            reply["private"] = hub.private.get(path)
        body = reply if isinstance(reply, bytes) else json.dumps(reply).encode()
        self.send_response(status)
        for name, value in {"Content-Length": len(body), "ETag": "0", "X-Repo-Commit": "0"}.items():
            self.send_header(name, str(value))
        self.end_headers()
        self.wfile.write(b"" if self.command == "HEAD" else body)

    do_GET = do_HEAD = do_POST = answer  # noqa: N815


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ThreadingHTTPServer]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Request) as server:
        server.files, server.private = {"x.siglum": b"x"}, {"/api/models/anna/public": False}
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
        monkeypatch.setenv("HF_TOKEN", "hf_200")
        monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
        threading.Thread(target=server.serve_forever).start()
        yield server
        server.shutdown()


def test_a_bundle_is_shared_with_a_model_card(
    siglum_process: Call, hub: ThreadingHTTPServer, later_signs: Path, tmp_path: Path
) -> None:
    siglum_process("teach", "--samples", later_signs, "-o", "greek.siglum", cwd=tmp_path)
    for line in ("push greek.siglum hf:anna/greek",) * 2 + ("pull hf:anna/greek -o new.siglum",):
        done = siglum_process(*line.split(), cwd=tmp_path)
        assert (done.returncode, done.stderr) == (0, "")
    raw, new = (tmp_path / "greek.siglum").read_bytes(), (tmp_path / "new.siglum").read_bytes()
    assert hub.private["/api/models/anna/greek"] and raw == hub.files["greek.siglum"] == new
    ring = later_signs / "ring" / "w0_00.png"
    assert " ring " in siglum_process("predict", "new.siglum", ring, cwd=tmp_path).stdout

    _, front, text = hub.files["README.md"].decode().split("---\n", 2)
    card = yaml.safe_load(front)
    assert (card["library_name"], card["pipeline_tag"]) == ("siglum", "image-classification")
    (metric,) = card["model-index"][0]["results"][0]["metrics"]
    assert 0.9 < metric["value"] <= 1 and "95 % CI" in metric["name"]
    assert "\nclasses            3: cross ring stroke\n" in text


@pytest.mark.parametrize(
    ("line", "variables", "message"),
    [
        ("push greek.siglum hf:greek", {}, "repository must be hf:USER/NAME, got 'hf:greek'."),
        ("push greek.siglum hf:-/greek", {}, "The name cannot start or end with '-'"),
        ("push greek.siglum hf:anna/public", {}, "is public. Add --public"),
        ("push greek.siglum hf:anna/greek", {"HF_TOKEN": "hf_503"}, "503 Service Unavailable"),
        ("push greek.siglum hf:anna/greek", {"HF_TOKEN": ""}, "401 Unauthorized"),
        ("pull hf:anna/x", {"HF_ENDPOINT": "http://127.0.0.1:9"}, "Connection refused"),
        ("push greek.siglum hf:a/b", {"start": "sys.modules['huggingface_hub'] = None"}, "'hub'"),
        ("push x.png hf:anna/greek", {}, "x.png is not a bundle"),
        ("pull hf:anna/greek", {}, "greek.siglum already exists. Choose another name"),
        ("pull hf:anna/none", {}, "404 Not Found"),
        ("pull hf:anna/x", {}, "x.siglum is not a bundle"),
    ],
)
def test_a_mistake_is_one_line_and_writes_nothing(
    siglum_process, hub, tmp_path: Path, line: str, variables: dict[str, str], message: str
) -> None:
    teach("αβγ").save(tmp_path / "greek.siglum")
    (tmp_path / "x.png").write_bytes(b"x")
    before = sorted(tmp_path.rglob("*"))
    done = siglum_process(*line.split(), cwd=tmp_path, **variables)

    assert done.returncode == 2 and done.stderr.count("\n") == 1 and message in done.stderr
    assert "hf_" not in done.stderr + done.stdout
    assert sorted(tmp_path.rglob("*")) == before and [*hub.files] == ["x.siglum"]
