"""Cutting out the ink goes with some settings only, and says so."""

import re
from typing import Any

import pytest

from siglum.cli.train import Flags
from siglum.config import Preprocess, Settings, TrainConfig, build
from siglum.errors import ConfigError


@pytest.mark.parametrize("kind", [Preprocess, TrainConfig])
@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"place": True},
            "place must go with fit 'glyph', which finds the ink, got fit 'pad'. "
            "Set fit to glyph, or leave place out.",
        ),
        (
            {"fit": "glyph", "channels": 3},
            "channels must be 1 with fit 'glyph', which keeps nothing but ink, got 3. "
            "Set channels to 1, or fit to pad.",
        ),
        (
            {"fit": "glyph", "ink": "keep"},
            "ink must be 'light' with fit 'glyph', which makes all ink light, got 'keep'. "
            "Leave ink out, or set fit to pad.",
        ),
    ],
)
def test_what_does_not_go_together_is_said(
    kind: type[Settings], settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=f"^{re.escape(message)}$"):
        build(kind, settings)


def test_the_network_sees_three_planes_more_with_place() -> None:
    assert Preprocess().planes == 1 and Preprocess(channels=3).planes == 3
    assert TrainConfig(fit="glyph", place=True).preprocess().planes == 4


def test_what_is_typed_may_need_what_stands_in_a_file() -> None:
    assert Flags(place=True).place
