"""A bundle is what was written, whole, or it is refused in words."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_bundles import (
    CLASSES,
    PLACES,
    a_bundle,
    a_head,
    a_taught_bundle,
    by_hand,
    linear,
    pictures,
)

from siglum.errors import DataError
from siglum.recogniser import bundle as bundles
from siglum.recogniser import container, documents
from siglum.recogniser.bundle import Bundle, ReferenceOutputs, Samples
from siglum.recogniser.calibration import Calibration, Threshold
from siglum.recogniser.position import PositionPrior
from siglum.recogniser.predict import open_bundle
from siglum.recogniser.prototypes import Head

RAW = bundles.encode(a_bundle())


def refusal(raw: bytes) -> str:
    with pytest.raises(DataError) as error:
        bundles.decode(raw, "x.siglum")
    return str(error.value)


def changed(change: Callable[[dict[str, bytes]], object], seal: bool = True) -> bytes:
    """A bundle with other members; with `seal` its card lists their sha256."""
    members = container.unpack(RAW, bundles.LIMITS, "x", bundles.OPTIONAL)
    change(members)
    if seal:
        card = json.loads(members["card.json"])
        card["sha256"] = {
            name: bundles._digest(raw) for name, raw in members.items() if name != "card.json"
        }
        members["card.json"] = documents.encode(card)
    return container.pack(members)


def with_json(member: str, value: Any) -> bytes:
    raw = value if isinstance(value, bytes) else documents.encode(value)
    return changed(lambda members: members.update({member: raw}))


@pytest.mark.parametrize("make", [a_bundle, a_taught_bundle])
def test_what_is_saved_is_read(make: Callable[[], Bundle], tmp_path: Path) -> None:
    made = make()

    bundles.save(made, tmp_path / "x.siglum")
    found = bundles.read_bundle(tmp_path / "x.siglum")

    assert [path.name for path in tmp_path.iterdir()] == ["x.siglum"]
    assert (found.model, found.preprocess, found.classes) == (
        made.model,
        made.preprocess,
        made.classes,
    )
    assert found.calibration == made.calibration
    assert found.card == made.card.model_copy(update={"sha256": found.card.sha256})
    assert np.array_equal(found.reference.images, made.reference.images)
    assert np.array_equal(found.reference.logits, made.reference.logits)
    if made.head is None or made.samples is None:
        assert found.head is None and found.samples is None
        return
    assert found.head is not None and found.samples is not None
    assert np.array_equal(found.head.vectors, made.head.vectors) and found.head.cosine
    assert np.array_equal(found.samples.ink, made.samples.ink)
    assert found.samples.labels.tolist() == [0, 1, 2, 3, 0]


def test_equal_bundles_are_equal_bytes() -> None:
    assert bundles.encode(a_taught_bundle()) == bundles.encode(a_taught_bundle())
    read = bundles.decode(RAW, "x")
    assert bundles.encode(read) == RAW


@settings(max_examples=400, deadline=None)
@given(st.integers(0, len(RAW) - 1), st.integers(0, 7))
def test_every_changed_bit_is_refused(place: int, bit: int) -> None:
    damaged = bytearray(RAW)
    damaged[place] ^= 1 << bit

    assert refusal(bytes(damaged)).startswith("x.siglum must ")


def test_every_truncation_is_refused() -> None:
    many = Samples(pictures(900)[:, 0], np.zeros(900, int), PLACES[:1].repeat(900, axis=0))
    large = bundles.encode(a_bundle(samples=many))
    assert len(large) > 15 * 4096

    for raw, step in ((RAW, 61), (large, 4096)):
        for length in range(0, len(raw), step):
            assert refusal(raw[:length]).startswith("x.siglum must ")


def test_another_format_is_told_before_anything_else() -> None:
    """A later format may have other members, written in another way."""
    later = container.pack({"card.json": b'{"format": 2, "new": 1}', "later.bin": b"?"})
    earlier = container.pack({"card.json": b'{"format": 0}'})

    assert refusal(later) == (
        "x.siglum must be of format 1, which this Siglum reads, got 2. Upgrade Siglum."
    )
    assert refusal(earlier) == (
        "x.siglum must be of format 1, which this Siglum reads, got 0. Make it again."
    )


@pytest.mark.parametrize("member", [n for n in bundles.LIMITS if n not in bundles.OPTIONAL])
def test_a_missing_member_is_named(member: str) -> None:
    message = refusal(changed(lambda members: members.pop(member), seal=member != "card.json"))

    assert message.startswith(f"x.siglum must hold {member}, got only ")


def test_members_other_than_the_card_lists_are_refused() -> None:
    raw = changed(lambda members: members.update({"classes.json": b'["p", "q", "r"]'}), seal=False)

    assert refusal(raw) == (
        f"x.siglum must hold what its card lists, got another sha256 of classes.json. "
        f"{container.AGAIN}"
    )


def test_json_must_be_plain() -> None:
    begin = "classes.json in x.siglum must be plain JSON, got "
    deep = with_json("classes.json", b"[" * 10_000 + b"]" * 10_000)
    assert refusal(deep) == f"{begin}lists within lists too deep."
    twice = with_json("calibration.json", b'{"temperature": 1, "temperature": 2}')
    assert refusal(twice) == (
        "calibration.json in x.siglum must be plain JSON, got 'temperature' twice in a table."
    )
    nan = with_json("preprocess.json", b'{"mean": NaN}')
    assert refusal(nan) == (
        "preprocess.json in x.siglum must be plain JSON, got NaN, which is no number."
    )


@pytest.mark.parametrize(
    ("member", "value", "message"),
    [
        ("preprocess.json", [1], "must be a table, got [1]."),
        ("preprocess.json", {"size": 4}, ": size must be at least 8, got 4."),
        ("preprocess.json", {"size": {}}, ": size must be a whole number, got {}."),
        ("preprocess.json", {"sise": 8}, ": unknown setting 'sise'. Did you mean 'size'?"),
        ("calibration.json", {"version": 2}, ": version must be one of 1, got 2."),
        ("calibration.json", {"temperature": 0}, ": temperature must be above 0.0, got 0."),
        ("card.json", {"format": 1, "data": 3}, ": data must be a table of names, got 3."),
        ("card.json", {"format": 1, "measured": {"test": []}},
         ": measured.test must be a table, got []."),
        ("classes.json", "abc", "must be a list of names, got abc."),
        ("classes.json", [], "must be a list of names, got []."),
        ("classes.json", ["a", 1, "c"], "must be a list of names, got ['a', 1, 'c']."),
        ("classes.json", ["a", "", "c"], "must be a list of names, got ['a', '', 'c']."),
        ("classes.json", ["a", "b", "a"], "must name each class once, got 'a' 2 times."),
    ],
)  # fmt: skip
def test_settings_must_keep_their_rules(member: str, value: object, message: str) -> None:
    raw = with_json(member, value)

    assert refusal(raw) == f"{member} in x.siglum{'' if message[0] == ':' else ' '}{message}"


def test_a_name_is_missing() -> None:
    assert refusal(with_json("classes.json", ["a", "b"])) == (
        "x.siglum must name every output of its network once, got 2 names for 3 outputs."
    )
    with pytest.raises(DataError) as error:
        bundles.decode(
            bundles.encode(
                a_bundle(
                    model=linear(62).SerializeToString(),
                    classes=tuple(map(str, range(61))),
                    reference=ReferenceOutputs(pictures(), by_hand(pictures(), 62)),
                )
            ),
            "x.siglum",
        )
    assert str(error.value) == (
        "x.siglum must name every output of its network once, got 61 names for 62 outputs."
    )


def test_a_network_with_more_outputs_than_golden_logits_is_refused() -> None:
    made = a_bundle(model=linear(4).SerializeToString())

    with pytest.raises(DataError) as error:
        open_bundle(made, "x.siglum")
    assert str(error.value) == (
        "x.siglum must name every output of its network once, got 3 names for 4 outputs."
    )


def test_golden_pictures_and_samples_must_fit() -> None:
    def refused(**changes: object) -> str:
        return refusal(bundles.encode(a_bundle(**changes)))

    logits = by_hand(pictures())
    assert refused(reference=ReferenceOutputs(pictures()[:, :, :7], logits)) == (
        "x.siglum must hold 1 to 64 golden pictures of 1 x 8 x 8, got (3, 1, 7, 8)."
    )
    assert refused(reference=ReferenceOutputs(pictures(2), logits)) == (
        "x.siglum must hold logits of every golden picture (2), got 3."
    )
    ink = pictures(5)[:, 0]
    assert refused(samples=Samples(ink[:, :7], np.zeros(5, int), PLACES)) == (
        "x.siglum must hold samples of 8 x 8 with a label and a place each, got (5, 7, 8), (5,) "
        "and (5, 3)."
    )
    assert refused(samples=Samples(ink, np.zeros(5, int), PLACES[:4])) == (
        "x.siglum must hold samples of 8 x 8 with a label and a place each, got (5, 8, 8), (5,) "
        "and (4, 3)."
    )
    assert refused(samples=Samples(ink, np.full(5, 3), PLACES)) == (
        "x.siglum must hold samples with labels in [0, 3), got 3 to 3."
    )
    short = Head(np.ones((2, 3), "f4"), np.ones(2, "f4"), np.zeros(2, "f4"), a_head().centre, True)
    assert refused(head=short) == (
        "x.siglum must name every output of its network once, got 3 names for 2 outputs."
    )
    places = PositionPrior(np.zeros((4, 3), "f4"), np.ones(3, "f4"), 0.5)
    assert refused(head=replace(a_head(), whereabouts=places)) == (
        "x.siglum must name every output of its network once, got 3 names for 4 outputs."
    )
    promise = Threshold(coverage=0.95, values=(0.5, 0.5))
    assert refused(calibration=Calibration(sets=promise)) == (
        "x.siglum must promise by one threshold or one a class (3), got 2."
    )


def test_a_head_must_fit_itself_and_its_network() -> None:
    head = a_head()
    with pytest.raises(DataError) as error:
        replace(head, bias=head.bias[:3])
    assert str(error.value) == (
        "head must have a scale and a bias a vector (4) and a centre a feature (3), got (4,), "
        "(3,) and (3,)."
    )
    taught = a_taught_bundle()
    wide = replace(head, vectors=np.zeros((4, 5), "f4"), centre=np.zeros(5, "f4"))
    with pytest.raises(DataError) as error:
        open_bundle(
            a_bundle(classes=taught.classes, reference=taught.golden, head=wide), "x.siglum"
        )
    assert str(error.value) == (
        "x.siglum must have a network that gives the features its head takes (5), got 3."
    )


def test_golden_pictures_are_read_again() -> None:
    logits = by_hand(pictures())
    logits[1, 2] += 0.01
    largest = np.abs(logits).max()

    with pytest.raises(DataError) as error:
        open_bundle(a_bundle(reference=ReferenceOutputs(pictures(), logits)), "x.siglum")

    assert str(error.value) == (
        "x.siglum must compute here what it computed where it was made, to 0.0001 of its largest "
        f"logit, got {0.01 / largest:.2g} at golden picture 2, class 'c'. Make it again."
    )


def test_no_file_a_folder_and_one_that_is_too_large_are_refused(tmp_path: Path) -> None:
    def refused(path: Path) -> str:
        with pytest.raises(DataError) as error:
            bundles.read_bundle(path)
        return str(error.value)

    assert refused(tmp_path / "x") == f"{tmp_path / 'x'} must be a bundle's file, got nothing."
    assert refused(tmp_path) == f"{tmp_path} must be a bundle's file, got a folder."
    with (tmp_path / "large.siglum").open("wb") as file:
        file.truncate(10**9)
    assert refused(tmp_path / "large.siglum") == (
        f"large.siglum must have at most {bundles.MAX_BYTES:,} bytes, got 1,000,000,000."
    )


def test_a_place_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    with pytest.raises(DataError) as error:
        bundles.save(a_bundle(), tmp_path / "not" / "there.siglum")

    assert str(error.value) == (
        f"{tmp_path / 'not' / 'there.siglum'} must be a place that can be written, got "
        "'No such file or directory'. Make room or choose another with -o."
    )


def test_what_does_not_fit_together_is_not_saved(tmp_path: Path) -> None:
    bundles.save(a_bundle(), tmp_path / "x.siglum")

    with pytest.raises(DataError, match="got 2 names for 3 outputs"):
        bundles.save(a_bundle(classes=CLASSES[:2]), tmp_path / "x.siglum")

    assert (tmp_path / "x.siglum").read_bytes() == RAW


def test_temperature_is_applied() -> None:
    images = pictures(6)
    logits = by_hand(images).astype(float)

    warm = open_bundle(a_bundle(), "x").predict_arrays(images).probs
    plain = open_bundle(a_bundle(calibration=Calibration()), "x").predict_arrays(images).probs

    for probs, temperature in ((warm, 2), (plain, 1)):
        likely = np.exp(logits / temperature)
        np.testing.assert_allclose(probs, likely / likely.sum(axis=1, keepdims=True), rtol=1e-4)


def test_a_head_reads_the_features() -> None:
    """By its definition, on pictures that are not golden."""
    head, images = a_head(), pictures(4, seed=9)
    moved = by_hand(images) - head.centre
    moved /= np.sqrt((moved**2).sum(axis=1))[:, None]

    found = open_bundle(a_taught_bundle(), "x").logits(images)

    np.testing.assert_allclose(
        found, 0.5 * moved @ head.vectors.T + head.bias, rtol=1e-4, atol=1e-5
    )


def test_no_pictures_have_no_probabilities() -> None:
    assert open_bundle(a_bundle(), "x").predict_arrays(pictures(0)).probs.shape == (0, 3)
