"""A bundle reads as it was written, or it is refused in one sentence."""

import hashlib
import io
import json
import pickle
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from safetensors.numpy import load as load_arrays, save as save_arrays
from small_bundles import a_bundle, a_head, a_taught_bundle, by_hand, linear, pictures

from siglum.errors import DataError
from siglum.recogniser import bundle as bundles
from siglum.recogniser.bundle import CARD, MODEL, WEIGHTS, Bundle, ReferenceOutputs
from siglum.recogniser.calibration import Calibration, Threshold
from siglum.recogniser.head import PositionPrior
from siglum.recogniser.predict import load, open_bundle

RAW = bundles.encode(a_taught_bundle())
HUGE = {"hits": 2, "total": 10**40, "low": 0, "high": 1}
MANY = {"reference_images": np.zeros((65, 1, 8, 8), "u1")}
MANY |= {"reference_logits": np.zeros((65, 4), "f4")}


def refusal(raw: bytes) -> str:
    with pytest.raises(DataError) as error:
        bundles.decode(raw, "x.siglum")
    assert "\n" not in str(error.value)
    return str(error.value)


def zipped(members: dict[str, bytes], **options: Any) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", **options) as archive:
        for name, raw in members.items():
            archive.writestr(zipfile.ZipInfo(name), raw, options.get("compression"))
    return file.getvalue()


def members() -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(RAW)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def with_json(**changes: Any) -> bytes:
    """A bundle with other contents of bundle.json."""
    parts = members()
    parts[CARD] = json.dumps(json.loads(parts[CARD]) | changes).encode()
    return zipped(parts)


def with_arrays(**changes: Any) -> bytes:
    """A bundle with other arrays, and the digest of them."""
    parts = members()
    arrays = load_arrays(parts[WEIGHTS]) | {
        key.replace("_", ".", 1): value for key, value in changes.items()
    }
    parts[WEIGHTS] = save_arrays({key: np.ascontiguousarray(a) for key, a in arrays.items()})
    document = json.loads(parts[CARD])
    document["sha256"][WEIGHTS] = hashlib.sha256(parts[WEIGHTS]).hexdigest()
    parts[CARD] = json.dumps(document).encode()
    return zipped(parts)


def test_outputs_are_saved_where_there_are_some(monkeypatch: pytest.MonkeyPatch) -> None:
    outputs = {"p": "\\pi", "q": "two\nlines, \u200d \ue050"}
    raw = bundles.encode(replace(a_taught_bundle(), outputs=outputs))

    assert bundles.decode(raw, "x").outputs == outputs
    assert b"outputs" not in RAW and bundles.decode(RAW, "x").outputs == {}
    monkeypatch.setattr(bundles, "MAX_CARD", 100)
    with pytest.raises(DataError, match="Shorten the outputs"):
        bundles.encode(replace(a_taught_bundle(), outputs=outputs))


@pytest.mark.parametrize("make", [a_bundle, a_taught_bundle])
def test_a_saved_bundle_reads_as_it_was_and_equal_bundles_are_equal_bytes(
    make: Callable[[], Bundle], tmp_path: Path
) -> None:
    bundles.save(make(), tmp_path / "x.siglum")

    assert [path.name for path in tmp_path.iterdir()] == ["x.siglum"]
    assert bundles.encode(load(tmp_path / "x.siglum").bundle) == bundles.encode(make())


def test_a_position_prior_is_saved() -> None:
    prior = PositionPrior(np.full((4, 3), 0.5, "f4"), np.full(3, 0.1, "f4"), 0.5)
    bundle = replace(a_taught_bundle(), head=replace(a_head(), position=prior))

    head = bundles.decode(bundles.encode(bundle), "x").head

    assert head is not None and head.position is not None
    assert head.position.gain == 0.5 and np.array_equal(head.position.mean, prior.mean)
    for wrong in (replace(prior, std=prior.std * 0), replace(prior, gain=1.5)):
        bundle = replace(bundle, head=replace(head, position=wrong))
        assert "classes: positions" in refusal(bundles.encode(bundle))


@settings(max_examples=400, deadline=None)
@given(st.integers(0, len(RAW) - 1), st.integers(0, 7))
def test_a_changed_bit_is_refused_or_changes_nothing(place: int, bit: int) -> None:
    """A zip has a few bits that mean nothing, such as the date."""
    damaged = bytearray(RAW)
    damaged[place] ^= 1 << bit
    try:
        bundle = bundles.decode(bytes(damaged), "x.siglum")
    except DataError as error:
        assert "\n" not in str(error)
    else:
        assert bundles.encode(bundle) == RAW


def test_every_truncation_and_every_addition_is_refused() -> None:
    for length in range(0, len(RAW), 61):
        refusal(RAW[:length])
    refusal(RAW + b"\0")
    refusal(b"\0" + RAW)
    refusal(RAW[:-2] + b"\1\0x")  # a comment
    refusal(RAW + RAW)


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"", "x.siglum is not a bundle, but empty."),
        (pickle.dumps([1]), "x.siglum is not a bundle, but a Python pickle, which is never opened"),
        (zipped({}), "x.siglum is not a bundle, but another file"),
        (zipped(members() | {"x.py": b""}), "x.siglum must be a zip of bundle.json, model.onnx, "),
        (zipped(dict(reversed(members().items()))), "x.siglum must be a zip of bundle.json, mo"),
        (zipped(members(), compression=zipfile.ZIP_DEFLATED), "x.siglum must be a zip of "),
        (zipped(members() | {MODEL: b"?"}), "x.siglum is damaged: model.onnx has another SHA-256."),
        (zipped(members() | {CARD: b'{"a": NaN}'}), "bundle.json in x.siglum is not valid JSON"),
        (with_json(format=4), "x.siglum has format 4, this Siglum reads 2 and 3. Upgrade Siglum."),
        (with_json(format=1), "x.siglum has format 1, this Siglum reads 2 and 3. Copy it again"),
        (with_json(shapes={"x": ["y", "z"]}), "do not fit 4 classes: shapes"),
        (with_json(classes=[]), "bundle.json in x.siglum: classes must "),
        (with_json(classes=["a", "b", "c", "c"]), "do not fit 4 classes: repeated names"),
        (with_json(classes=["a", "b", "c", " "]), "class names must be printable and not blank"),
        (with_json(classes=["a", "b", "c", "\x1b[2J"]), "class names must be printable"),
        (with_json(outputs={"p": "\x1b[2J"}), "an output must be text of at most 1,000 characters"),
        (with_json(outputs={"p": "x" * 1001}), "an output must be text of at most 1,000 char"),
        (with_json(outputs={"x": "y"}), "do not fit 4 classes: outputs"),
        (with_json(outputs=["p"]), "bundle.json in x.siglum: outputs must"),
        (with_json(card={"parameters": 10**40}), "bundle.json in x.siglum: card.parameters must"),
        (with_json(card={"code": "import os"}), "bundle.json in x.siglum: "),
        (with_json(card={"measured": {"test": HUGE}}), "rates must have 0 <= hits"),
        (with_json(calibration={"temperature": 0}), "calibration.temperature must be greater than"),
        (with_json(preprocess={"size": 10**9}), "bundle.json in x.siglum: preprocess.size must"),
    ],
)
def test_hostile_bundles_are_refused(raw: bytes, message: str) -> None:
    assert message in refusal(raw)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"head_vectors": np.full((4, 3), np.nan, "f4")}, "head.vectors in weights.safetensors"),
        ({"head_vectors": np.zeros((4, 3), "f8")}, "has an array 'head.vectors' of float64"),
        ({"head_vectors": np.zeros((3, 3), "f4")}, "in weights.safetensors in x.siglum must have"),
        ({"head_code": np.zeros(4, "f4")}, "has an array 'head.code'"),
        ({"samples_labels": np.array([0, 1, 2, 3, 4])}, "fit 4 classes: labels"),
        ({"samples_ink": np.zeros((5, 9, 8), "u1")}, "must have the shape (5, 8, 8)"),
        (MANY, "65 reference images"),
        ({"reference_logits": np.zeros((3, 5), "f4")}, "must have the shape (3, 4), got (3, 5)"),
        ({"position_mean": np.zeros((4, 3), "f4")}, "lacks the array position.std"),
    ],
)
def test_arrays_must_fit(changes: dict[str, Any], message: str) -> None:
    assert message in refusal(with_arrays(**changes))


def test_thresholds_must_be_one_or_one_per_class() -> None:
    threshold = Threshold(coverage=0.95, values=(0.1, 0.2))
    with pytest.raises(DataError, match="thresholds"):
        bundles.decode(bundles.encode(a_bundle(calibration=Calibration(sets=threshold))), "x")


def test_a_bundle_that_computes_something_else_is_refused() -> None:
    reference = ReferenceOutputs(pictures(), by_hand(pictures()) + np.float32(0.01))
    with pytest.raises(DataError, match="computes other outputs here"):
        open_bundle(a_bundle(reference=reference), "x.siglum")
    with pytest.raises(DataError, match="x.siglum c"):
        open_bundle(a_bundle(model=linear(2).SerializeToString()), "x.siglum")


def test_places_without_a_bundle_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"Cannot read .*none\.siglum: no such file\."):
        load(tmp_path / "none.siglum")
    with pytest.raises(DataError, match=r"Cannot read .*: not a file\."):
        load(tmp_path)
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(DataError, match="Cannot write"):
        bundles.save(a_bundle(), tmp_path / "file" / "x.siglum")
