"""Settings: defaults, recipes, rules, and the same settings again from JSON."""

import json
import math
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, strategies as st

from siglum.config import Preprocess, Settings, TrainConfig, build, recipes
from siglum.errors import ConfigError
from siglum.files import read_toml

ALL_SETTINGS = f"Settings: {', '.join(TrainConfig.model_fields)}."


def test_a_model_brings_its_recipe_below_the_users_own_values() -> None:
    for model, recipe in recipes().items():
        config = TrainConfig(model=model, epochs=7)
        assert config.epochs == 7 and config.model_fields_set == {"model", "epochs"}
        saved = config.model_dump(mode="json")
        assert {name: saved[name] for name in recipe if name != "epochs"} == {
            name: value for name, value in recipe.items() if name != "epochs"
        }


@pytest.mark.parametrize(
    "path", sorted((Path(__file__).parents[1] / "docs/recipes").glob("*.toml"))
)
def test_the_files_of_recipes_are_settings(path: Path) -> None:
    settings = read_toml(path, "config")
    assert build(TrainConfig, settings).model_fields_set == settings.keys()


def test_options_of_a_recipe_are_replaced_one_by_one() -> None:
    config = TrainConfig(model="picture_net", model_options={"width": "16"})

    assert config.model_options == {"mirror": True, "width": 16}
    plain = TrainConfig(model="picture_net", model_options={"mirror": "false"})
    assert plain.model_options == {"mirror": False}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"lr": 0}, "lr must be greater than 0, got 0."),
        ({"lr": math.nan}, "lr must be a finite number, got nan."),
        ({"lr": "fast"}, "lr must be a valid number, got 'fast'."),
        ({"seed": 10**30}, f"seed must be less than 2147483648, got {10**30}."),
        ({"split": "random"}, "split must be 'stratified' or 'writer', got 'random'."),
        ({"channels": 2}, "channels must be 1 or 3, got 2."),
        ({"augment": "affine"}, "augment must be a valid list, got 'affine'."),
        (
            {"model_options": {"filters": [8]}},
            "model_options.filters must be true, false, a number or text, got [8].",
        ),
        ({"model": "mnist_net", "epoch": 3}, "unknown setting 'epoch'. Did you mean 'epochs'?"),
        ({"zzz": 0.1}, f"unknown setting 'zzz'. {ALL_SETTINGS}"),
        ({"fold": 1}, "fold must be below the number of folds (1), got 1."),
        ({"folds": 3, "fold": 3}, "fold must be below the number of folds (3), got 3."),
        (
            {"folds": 3, "test": "mnist5k"},
            "Cannot combine folds with test 'mnist5k'. Leave one out.",
        ),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else "",
)
def test_a_bad_setting_is_named_with_its_rule(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=f"^{re.escape(message)}$"):
        build(TrainConfig, settings)


@pytest.mark.parametrize("kind", [Preprocess, TrainConfig])
@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"position_channels": True}, "position_channels needs resize 'glyph', got 'pad'."),
        (
            {"resize": "glyph", "channels": 3},
            "resize 'glyph' needs channels 1 and polarity 'light', got 3 and 'light'.",
        ),
    ],
)
def test_settings_that_exclude_each_other_are_refused(
    kind: type[Settings], settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=f"^{re.escape(message)}$"):
        build(kind, settings)


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
@example({"model_options": {"": "NaN", "x": "1e999"}})  # text, as JSON has neither
def test_a_saved_config_builds_the_same_again(chosen: dict[str, Any]) -> None:
    """Through JSON, as in a run; the recipe must not apply a second time."""
    config = TrainConfig(**chosen)
    saved = json.loads(json.dumps(config.model_dump(mode="json")))
    again = build(TrainConfig, saved)

    assert again == config
    assert repr(again) == repr(config)  # 1, 1.0 and True are equal, and not the same


def test_measured_moments_fill_only_the_gaps() -> None:
    preprocess = TrainConfig(mean=0.5, size=32).preprocess(mean=0.1, std=0.2)

    assert preprocess == Preprocess(size=32, mean=0.5, std=0.2)


def test_position_channels_are_three_more_planes() -> None:
    assert Preprocess().planes == 1 and Preprocess(channels=3).planes == 3
    assert TrainConfig(resize="glyph", position_channels=True).preprocess().planes == 4
