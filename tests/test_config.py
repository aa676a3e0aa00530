import json
import math
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from siglum.cli.train import Flags
from siglum.config import RECIPES, Preprocess, Settings, TrainConfig, build
from siglum.errors import ConfigError

KNOWN = f"Settings: {', '.join(TrainConfig.model_fields)}."


@pytest.mark.parametrize("model", RECIPES)
def test_a_model_brings_its_recipe(model: str) -> None:
    config = TrainConfig(model=model)

    assert {name: getattr(config, name) for name in RECIPES[model]} == RECIPES[model]


def test_what_is_given_beats_the_recipe() -> None:
    config = TrainConfig(model="mnist_net", lr=0.5)

    assert config.lr == 0.5
    assert config.batch_size == RECIPES["mnist_net"]["batch_size"]


def test_options_of_a_recipe_are_beaten_one_by_one() -> None:
    config = TrainConfig(model="picture_net", model_options={"width": "16"})

    assert config.model_options == {"mirror": True, "width": 16}
    plain = TrainConfig(model="picture_net", model_options={"mirror": "false"})
    assert plain.model_options == {"mirror": False}


def test_a_model_without_a_recipe_keeps_the_defaults() -> None:
    assert TrainConfig(model="other") == TrainConfig().model_copy(update={"model": "other"})


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"lr": 0}, "lr must be above 0.0, got 0."),
        ({"lr": math.nan}, "lr must be a finite number, got nan."),
        ({"lr": math.inf}, "lr must be a finite number, got inf."),
        ({"lr": "fast"}, "lr must be a number, got 'fast'."),
        ({"lr": None}, "lr must be a number, got None."),
        ({"epochs": 0}, "epochs must be at least 1, got 0."),
        ({"epochs": 1.5}, "epochs must be a whole number, got 1.5."),
        ({"epochs": "three"}, "epochs must be a whole number, got 'three'."),
        ({"size": 7}, "size must be at least 8, got 7."),
        ({"size": 1025}, "size must be at most 1024, got 1025."),
        ({"seed": 10**30}, f"seed must be below 2147483648, got {10**30}."),
        ({"split": "random"}, "split must be one of 'stratified' or 'writer', got 'random'."),
        ({"channels": 2}, "channels must be one of 1 or 3, got 2."),
        ({"nesterov": "maybe"}, "nesterov must be true or false, got 'maybe'."),
        ({"data": 3}, "data must be text, got 3."),
        ({"model": ["mlp"]}, "model must be text, got ['mlp']."),
        ({"augment": "affine"}, "augment must be a list, got 'affine'."),
        ({"augment": [1]}, "augment.0 must be text, got 1."),
        ({"rename": ["a"]}, "rename must be a table of names, got ['a']."),
        ({"rename": {"a": 1}}, "rename.a must be text, got 1."),
        (
            {"model_options": {"filters": [8]}},
            "model_options.filters must be true, false, a number or text, got [8].",
        ),
        ({"lrr": 0.1}, "unknown setting 'lrr'. Did you mean 'lr'?"),
        ({"zzz": 0.1}, f"unknown setting 'zzz'. {KNOWN}"),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else "",
)
def test_a_bad_setting_is_named_with_its_rule(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=f"^{re.escape(message)}$"):
        build(TrainConfig, settings)


def test_an_unknown_setting_beside_a_recipe_is_an_error() -> None:
    with pytest.raises(ConfigError, match=r"^unknown setting 'epoch'\. Did you mean 'epochs'\?"):
        build(TrainConfig, {"model": "mnist_net", "epoch": 3})


def test_a_config_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="frozen"):
        TrainConfig().lr = 1.0  # type: ignore[misc]


text = st.text(st.characters(codec="utf-8"), max_size=8)
settings = st.fixed_dictionaries(
    {},
    optional={
        "data": text,
        "rename": st.dictionaries(text, text, max_size=3),
        "writers": st.none() | text,
        "val": st.floats(0, 1, exclude_max=True),
        "seed": st.integers(0, 2**31 - 1),
        "model": st.sampled_from(["glyph_net", "mnist_net", "picture_net", "mine.py:Net"]),
        "model_options": st.dictionaries(
            text,
            st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | text,
            max_size=3,
        ),
        "epochs": st.none() | st.integers(1, 1000),
        "lr": st.floats(0, 10, exclude_min=True),
        "mean": st.none() | st.floats(-1, 1),
        "augment": st.lists(text, max_size=2),
    },
)


@given(settings)
def test_a_saved_config_builds_the_same_again(chosen: dict[str, Any]) -> None:
    """Through JSON, as runs keep it; the recipe must not creep in a second time."""
    config = TrainConfig(**chosen)
    saved = json.loads(json.dumps(config.model_dump(mode="json")))
    again = build(TrainConfig, saved)

    assert again == config
    assert repr(again) == repr(config)  # 1, 1.0 and True are equal, and not the same


def test_a_saved_preprocess_builds_the_same_again() -> None:
    preprocess = Preprocess(
        size=32, channels=3, resize="stretch", polarity="keep", mean=0.1, std=0.3
    )

    assert build(Preprocess, json.loads(preprocess.model_dump_json())) == preprocess


def test_measured_moments_fill_only_the_gaps() -> None:
    given_mean = TrainConfig(mean=0.5, size=32).preprocess(mean=0.1, std=0.2)

    assert given_mean == Preprocess(size=32, mean=0.5, std=0.2)


@pytest.mark.parametrize("kind", [Preprocess, TrainConfig])
@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"position_channels": True},
            "position_channels needs resize 'glyph', got 'pad'. Set resize to glyph, or leave "
            "position_channels out.",
        ),
        (
            {"resize": "glyph", "channels": 3},
            "channels must be 1 with resize 'glyph', got 3. Set channels to 1, or resize to pad.",
        ),
        (
            {"resize": "glyph", "polarity": "keep"},
            "polarity must be 'light' with resize 'glyph', got 'keep'. Leave polarity out, or set "
            "resize to pad.",
        ),
    ],
)
def test_settings_that_exclude_each_other_are_refused(
    kind: type[Settings], settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=f"^{re.escape(message)}$"):
        build(kind, settings)


def test_position_channels_are_three_more_planes() -> None:
    assert Preprocess().planes == 1 and Preprocess(channels=3).planes == 3
    assert TrainConfig(resize="glyph", position_channels=True).preprocess().planes == 4


def test_flags_may_need_a_setting_from_the_file() -> None:
    assert Flags(position_channels=True).position_channels


def test_recipe_values_are_not_what_the_user_set() -> None:
    config = TrainConfig(model="mnist_net", lr=0.5)

    assert config.model_fields_set == {"model", "lr"}
