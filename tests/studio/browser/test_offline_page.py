"""The exported page: opened from a file with the network blocked, it answers as Python does."""

import base64
import json
import random
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from axe_playwright_python.sync_playwright import Axe
from conftest import HELPERS, PHONE, WINDOW
from hand_drawn import ALL, draw, to_json
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from siglum.api import teach
from siglum.config import Preprocess
from siglum.lab.export import to_onnx
from siglum.recogniser.bundle import Bundle
from siglum.recogniser.calibration import Rejection
from siglum.recogniser.fit import to_bundle
from siglum.recogniser.head import PositionPrior
from siglum.recogniser.predict import Recogniser, open_bundle
from siglum.studio import offline_page
from tools.backbone.export import SideBySide, quantise
from tools.backbone.sign_net import SignNet

Open = Callable[..., Any]
ASK = """async (drawings) => {
  const text = (id) => document.getElementById(id).textContent;
  const { classes, ...model } = JSON.parse(text("model"));
  const worker = new Worker(URL.createObjectURL(new Blob([text("worker")])));
  const ask = (message) => new Promise((resolve) => {
    worker.onmessage = ({ data }) => resolve(data.error ?? data.answer);
    worker.postMessage(message);
  });
  model.count = classes.length;
  await ask({ model, weights: text("weights"), kernel: text("kernel") });
  const answers = [];
  for (const drawing of drawings) answers.push(await ask({ drawing }));
  return answers;
}"""
COMPUTE = """async ({ steps, table, weights, kernel, shape, image }) => {
  const decode = (base64) => Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
  const tensors = readTensors(table, decode(weights).buffer);
  const compute = await openNetwork(steps, tensors, decode(kernel));
  return [...compute({ shape, data: Float32Array.from(image) })];
}"""


@pytest.fixture(scope="session")
def recogniser() -> Recogniser:
    """Digits, Greek letters and two own signs, drawn three times each; one has two shapes."""
    names = [name for name in ALL if name not in ("wheel", "∮", "≼", "木", "→")]
    known = "".join(name for name in names if len(name) == 1 and name != "σ")
    recogniser = teach(f"{known},σ|ς")
    for name in names:
        recogniser.add(name, [to_json(draw(name, 100 + seed)) for seed in range(3)])
    return recogniser


def bundle_of(recogniser: Recogniser, title: str = "Signs") -> Bundle:
    assert recogniser.fitted is not None
    return to_bundle(recogniser.fitted, title)


@pytest.fixture(scope="session")
def path(recogniser: Recogniser, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("page") / "signs.html"
    size = offline_page.write(bundle_of(recogniser), path)
    assert size == path.stat().st_size <= 3_000_000
    return path


@pytest.fixture
def visit(browser: Any, path: Path) -> Iterator[Open]:
    """Open the page from its file, without a network; it asks for nothing and logs no error."""
    contexts, problems = [], list[str]()

    def visit(url: str = path.as_uri(), offline: bool = True, **settings: Any) -> Any:
        options = {"viewport": WINDOW, "permissions": ["clipboard-read", "clipboard-write"]}
        context = browser.new_context(offline=offline, **options | settings)
        contexts.append(context)
        context.add_init_script(HELPERS)
        context.on("weberror", lambda error: problems.append(str(error.error)))
        context.on("console", lambda message: problems.append(message.text))
        page = context.new_page()
        if offline:
            page.on("request", lambda request: problems.append(request.url))
            page.goto(url)
            problems.remove(url)
        else:
            page.goto(url)
        return page

    yield visit
    for context in contexts:
        context.close()
    assert not [problem for problem in problems if not problem.startswith(("blob:", "data:"))]


def answer(page: Any, name: str, seed: int = 0) -> str:
    """Draw a sign on the empty pad; return the headline."""
    page.keyboard.press("Escape")
    page.evaluate("(given) => draw(...given)", ["#pad", draw(name, seed), {}])
    page.wait_for_selector("#answers li")
    page.evaluate("predicted()")
    return " ".join(page.locator("#headline").inner_text().split())


def test_a_drawing_is_recognised_and_copied(visit: Open) -> None:
    page = visit()

    assert answer(page, "β").startswith("β")
    assert page.locator("#answers li").count() == 5
    for act, text in (
        (lambda: page.click("#answers li:first-child button"), "β"),
        (lambda: page.select_option("#format", "latex") and page.click("#copy"), r"\beta"),
        (lambda: page.select_option("#format", "typst") and page.keyboard.press("Tab"), r"\beta"),
        (lambda: page.keyboard.press("1"), "beta"),
    ):
        act()
        page.wait_for_function(
            "async (text) => await navigator.clipboard.readText() === text", arg=text
        )
    assert answer(page, "zig").startswith("zig")
    assert answer(page, "木").startswith("? None of these signs")
    page.keyboard.press("Control+z")
    page.keyboard.press("Escape")
    page.wait_for_selector("#samples", state="visible")


def test_the_keyboard_alone_is_enough(visit: Open) -> None:
    page = visit()
    page.focus("#pad")
    keys = [*["ArrowUp"] * 12, " ", *["ArrowDown"] * 24, " "]
    for key in keys:
        page.keyboard.press(key)
    page.wait_for_selector("#answers li")
    page.focus("#pad")
    page.keyboard.press("2")  # a line may be none of the signs; the second answer can be copied

    page.locator("#live", has_text="Copied").wait_for(state="attached")


@pytest.mark.parametrize(
    ("scheme", "settings"), [("light", {}), ("dark", PHONE)], ids=["desktop", "phone"]
)
def test_the_page_is_accessible(visit: Open, scheme: str, settings: dict[str, Any]) -> None:
    page = visit(color_scheme=scheme, **settings)
    answer(page, "φ")
    page.click("summary")
    violations = [
        (one["id"], node["html"])
        for one in Axe().run(page).response["violations"]
        for node in one["nodes"]
    ]

    assert not violations
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    if settings:
        heights = "[...document.querySelectorAll('button, select')].map((one) => one.offsetHeight)"
        assert min(height for height in page.evaluate(heights) if height) >= 44


def drawings(count: int) -> list[dict[str, Any]]:
    """Drawings with the pressure of a pen; some leave the pad, and some are no signs at all."""
    chance, names = random.Random(0), list(ALL)
    made = []
    for number in range(count):
        strokes = to_json(draw(names[number % len(names)], number))["strokes"]
        shift, pressure = chance.choice([0, 0, 0, 0.3]), chance.random()
        for stroke in strokes:
            for point in stroke:
                pressure = min(max(pressure + chance.uniform(-0.1, 0.1), 0), 1)
                point[:] = [round(point[0] + shift, 5), round(point[1], 5), 0.0, round(pressure, 3)]
        if number % 10 == 0:
            points = [[chance.random(), chance.random(), 0.0, 0.5] for _ in range(9)]
            strokes = [[[round(value, 5) for value in point] for point in points]]
        made.append(
            {"version": 1, "aspect": chance.choice([1.0, 1.0, 1.5, 0.7]), "strokes": strokes}
        )
    return made


def compare(page: Any, recogniser: Recogniser, count: int) -> tuple[float, float]:
    """Return the share of equal answers, and the largest difference of a probability."""
    given = drawings(count)
    expected = recogniser.predict_images(given)
    equal, largest = 0, 0.0
    for one, other in zip(page.evaluate(ASK, given), expected, strict=True):
        probs = {recogniser.classes[label]: share for label, share in one["ranking"]}
        equal += (next(iter(probs)), one["isRejected"]) == (other.label, other.rejected)
        largest = max(largest, *(abs(probs[label] - share) for label, share in other.ranking))
    return equal / count, largest


@pytest.mark.slow
def test_500_drawings_get_the_answers_of_python(visit: Open, recogniser: Recogniser) -> None:
    equal, largest = compare(visit(), recogniser, 500)

    assert equal >= 0.995 and largest <= 0.01


def test_a_recogniser_from_fonts_gives_the_answers_of_python(visit: Open, tmp_path: Path) -> None:
    bundle = bundle_of(teach("1-9, α-ξ, π-ω"))
    rejection = Rejection(coverage=0.98, values=(3.0,), score="energy")
    calibration = bundle.calibration.model_copy(update={"rejection": rejection})
    mean = np.random.RandomState(0).uniform(0.2, 0.8, (len(bundle.classes), 3)).astype("f4")
    prior = PositionPrior(mean, np.full(3, 0.2, np.float32), gain=0.5)
    assert bundle.head is not None
    head = replace(bundle.head, position=prior)
    bundle = replace(bundle, calibration=calibration, head=head)
    offline_page.write(bundle, tmp_path / "greek.html")
    page = visit((tmp_path / "greek.html").as_uri())
    equal, largest = compare(page, open_bundle(bundle, "greek"), 50)

    assert equal >= 0.98 and largest <= 0.01


NODES: dict[str, tuple[list[Any], dict[str, Any]]] = {  # further inputs, and attributes
    "Add": ([(7,)], {}),
    "BatchNormalization": ([(3,)] * 4, {"epsilon": 0.01}),
    "Clip": ([np.float32(-0.5), np.float32(0.5)], {}),
    "Concat": (["images"], {"axis": 1}),
    "Conv": ([(5, 3, 3, 2), (5,)], {"pads": [1, 0, 2, 1], "strides": [2, 1]}),
    "Div": (["images"], {}),
    "Expand": ([np.array([1, 3, 6, 7])], {}),
    "Flatten": ([], {}),
    "Gemm": ([(126, 5), (5,)], {}),
    "Gemm transposed": ([(5, 126), (5,)], {"transB": 1}),
    "Max": ([np.float32(0.1), "images"], {}),
    "MaxPool": ([], {"kernel_shape": [3, 2], "pads": [1, 0, 1, 1], "strides": [2, 2]}),
    "ReduceL2": ([np.array([1])], {"keepdims": 1}),
    "Relu": ([], {}),
    "Reshape": ([np.array([-1, 126])], {"allowzero": 1}),
    "Shape": ([], {"start": 1, "end": 3}),
    "Sub": ([(7,)], {}),
}
BEFORE = dict.fromkeys(("Gemm", "Gemm transposed"), ("Flatten", []))
BEFORE["Expand"] = "ReduceL2", ["axes"]


def network(operator: str, random: np.random.RandomState) -> bytes:
    """Return a network of one operator on an image of 3 x 6 x 7 values."""
    inputs, attributes = NODES[operator]
    arrays: dict[str, Any] = {"axes": np.array([1])}
    names = ["images"]
    for number, one in enumerate(inputs):
        names.append(one if isinstance(one, str) else f"constant{number}")
        if isinstance(one, tuple):  # as a page stores matrices, in half precision
            arrays[names[-1]] = np.abs(random.normal(size=one)).astype("f2").astype("f4")
        elif not isinstance(one, str):
            arrays[names[-1]] = np.asarray(one)
    nodes = []
    if operator in BEFORE:
        before, more = BEFORE[operator]
        nodes, names[0] = [helper.make_node(before, ["images", *more], ["before"])], "before"
    if operator == "Conv":
        attributes = {"kernel_shape": [*arrays["constant0"].shape[2:]], **attributes}
    nodes.append(helper.make_node(operator.split()[0], names, ["result"], **attributes))
    value = partial(helper.make_tensor_value_info, shape=None)
    graph = helper.make_graph(
        nodes,
        "network",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 3, 6, 7])],
        [value("result", TensorProto.INT64 if operator == "Shape" else TensorProto.FLOAT)],
        [numpy_helper.from_array(array, name) for name, array in arrays.items()],
    )
    opset = [helper.make_opsetid("", 18)]
    return bytes(helper.make_model(graph, opset_imports=opset, ir_version=8).SerializeToString())


def check_network(browser: Any, raw: bytes, image: NDArray[np.float32]) -> None:
    """Compare what the page's script computes for an image with onnxruntime."""
    (expected,) = onnxruntime.InferenceSession(raw).run(None, {"images": image[None]})
    steps, arrays = offline_page.read_network(raw)
    table, weights = offline_page.pack(arrays)
    page = browser.new_page()
    names = ("raster.js", "ink.js", "network.js", "recognise.js")
    script = (
        offline_page.join_scripts(names) + "Object.assign(window, { openNetwork, readTensors });"
    )
    page.add_script_tag(content=script, type="module")
    page.wait_for_function("() => Boolean(window.openNetwork)")
    network = {
        "steps": steps,
        "table": table,
        "weights": base64.b64encode(weights).decode(),
        "kernel": base64.b64encode((offline_page.FOLDER / "kernel.wasm").read_bytes()).decode(),
        "shape": image.shape,
        "image": image.ravel().tolist(),
    }
    result = page.evaluate(COMPUTE, network)
    page.close()

    np.testing.assert_allclose(result, expected.ravel(), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("operator", NODES)
def test_every_operator_computes_what_onnxruntime_computes(browser: Any, operator: str) -> None:
    names = {name.split()[0] for name in NODES}
    assert names | {"Mul"} == offline_page.OPERATORS  # products are those of 8-bit weights
    random = np.random.RandomState(0)
    raw, image = network(operator, random), random.normal(size=(3, 6, 7)).astype("f4")

    check_network(browser, raw, image)


def test_networks_side_by_side_with_8_bit_weights(browser: Any) -> None:
    torch.manual_seed(0)
    networks = [SignNet(2, image_size=24, width=4, features=8, pool=pool).eval() for pool in (0, 1)]
    for one in networks:
        one.head = torch.nn.Identity()
    preprocess = Preprocess(size=24, mean=0.5, std=0.5)
    raw = quantise(to_onnx(SideBySide(networks), preprocess, "sign_net", "features"))

    check_network(browser, raw, np.random.RandomState(0).normal(size=(1, 24, 24)).astype("f4"))


def test_a_folder_is_installed_and_opens_without_a_network(
    visit: Open, recogniser: Recogniser, tmp_path: Path
) -> None:
    site = tmp_path / "site"
    offline_page.write(bundle_of(recogniser), site)

    class Handler(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(site)))
    Thread(target=server.serve_forever, daemon=True).start()
    page = visit(f"http://127.0.0.1:{server.server_port}/", offline=False)
    page.evaluate("navigator.serviceWorker.ready.then(() => null)")
    page.wait_for_function("() => navigator.serviceWorker.controller")
    client = page.context.new_cdp_session(page)
    errors = client.send("Page.getInstallabilityErrors")["installabilityErrors"]
    server.shutdown()
    server.server_close()
    page.reload()

    assert [one["errorId"] for one in errors if one["errorId"] != "in-incognito"] == []
    assert answer(page, "7").startswith("7")


def test_names_and_outputs_are_text_and_never_markup(visit: Open, tmp_path: Path) -> None:
    name = "</script><img src=x onerror=alert(1)>"
    recogniser = teach("ab")
    recogniser.add(name, [to_json(draw("zig", seed)) for seed in range(2)])
    offline_page.write(bundle_of(recogniser, name), tmp_path / "names.html")
    page = visit((tmp_path / "names.html").as_uri())

    assert answer(page, "zig", 5).startswith(name)
    assert json.loads(page.locator("#model").text_content())["classes"][2]["name"] == name
