"""ONNX files from bytes to probabilities: the same as the recogniser's, and their examples run."""

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from PIL import Image

from siglum.api import teach
from siglum.images.ink import FILL
from siglum.recogniser.bundle import Bundle
from siglum.recogniser.calibration import Rejection
from siglum.recogniser.fit import to_bundle
from siglum.recogniser.onnx_export import write
from siglum.recogniser.predict import Recogniser, open_bundle
from tests.recogniser.small_bundles import a_bundle, pictures

NOISE = np.random.RandomState(0).randint(0, 256, (5, 1, 56, 56)).astype(np.uint8)


@pytest.fixture(scope="module")
def greek() -> Recogniser:
    fitted = teach("αβγ").fitted
    assert fitted is not None
    return open_bundle(to_bundle(fitted, "Greek"), "greek.siglum")


def run(path: Path, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    session = onnxruntime.InferenceSession(path)
    probs, rejected = session.run(["probabilities", "rejected"], {"images": images})
    return probs, rejected


def test_a_taught_recogniser_gives_equal_probabilities(greek: Recogniser, tmp_path: Path) -> None:
    images = np.concatenate([greek.bundle.reference.images, NOISE, np.zeros_like(NOISE[:1])])
    size = write(greek.bundle, tmp_path / "greek.onnx")
    probs, rejected = run(tmp_path / "greek.onnx", images)
    expected = greek.predict_arrays(images)

    np.testing.assert_allclose(probs, expected.probs, atol=1e-5)
    assert rejected.tolist() == expected.rejected.tolist() and {*rejected} == {False, True}
    assert size == (tmp_path / "greek.onnx").stat().st_size
    about = json.loads((tmp_path / "labels.json").read_text("utf-8"))
    assert (about["labels"], about["size"], about["fill"]) == (["α", "β", "γ"], 56, FILL)


def test_shapes_and_drawings_count_as_in_python(greek: Recogniser, tmp_path: Path) -> None:
    signs = teach("σ|ς,ab")
    for label in ("σ", "zig", "zig"):
        signs.add(label, [255 - image[0] for image in greek.bundle.reference.images[:2]])
    assert signs.fitted is not None
    bundle = to_bundle(signs.fitted)
    images = np.concatenate([greek.bundle.reference.images, bundle.reference.images, NOISE])
    rejection = Rejection(coverage=0.98, values=(0,), score="energy")
    calibration = bundle.calibration.model_copy(update={"rejection": rejection})
    bundle = replace(bundle, calibration=calibration)
    write(bundle, tmp_path / "signs.onnx")
    probs, rejected = run(tmp_path / "signs.onnx", images)
    expected = open_bundle(bundle, "signs").predict_arrays(images)

    np.testing.assert_allclose(probs, expected.probs, atol=1e-5)
    assert rejected.tolist() == expected.rejected.tolist() and {*rejected} == {False, True}


@pytest.mark.parametrize("planes", [1, 3])
def test_a_network_without_a_head_gives_equal_probabilities(tmp_path: Path, planes: int) -> None:
    bundle: Bundle = replace(a_bundle(), outputs={"a": "first"})
    write(bundle, tmp_path / "x.onnx")
    probs, rejected = run(tmp_path / "x.onnx", pictures(planes))

    expected = open_bundle(bundle, "x").predict_arrays(pictures(planes))
    np.testing.assert_allclose(probs, expected.probs, atol=1e-6)
    assert not rejected.any()
    assert json.loads((tmp_path / "labels.json").read_text())["outputs"] == {"a": "first"}


def test_the_examples_run(greek: Recogniser, tmp_path: Path) -> None:
    write(greek.bundle, tmp_path / "greek.onnx")
    beta = greek.bundle.reference.images[
        greek.predict_arrays(greek.bundle.reference.images).probs[:, 1].argmax(), 0
    ]
    Image.fromarray(255 - beta).resize((160, 160)).save(tmp_path / "photo.png")
    (tmp_path / "ink.bytes").write_bytes(beta.tobytes())
    expected = greek.predict_arrays(beta[None, None]).probs[0].argmax()
    commands = [[sys.executable, "example.py", "photo.png"]]
    modules = shutil.which("npm") and Path(
        subprocess.run(["npm", "root", "-g"], capture_output=True, text=True).stdout.strip()
    )
    if modules and (modules / "onnxruntime-web").exists():  # npm install -g onnxruntime-web
        (tmp_path / "node_modules").symlink_to(modules)
        commands.append(["node", "example.mjs", "ink.bytes"])
    for command in commands:
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, encoding="utf-8")
        assert done.returncode == 0, done.stderr
        assert done.stdout[0] == greek.classes[expected]
