import re

import pytest

from siglum import errors
from siglum.errors import ConfigError, choose, closest_match


@pytest.mark.parametrize(
    ("kind", "builtin"),
    [
        (errors.ConfigError, ValueError),
        (errors.DataError, ValueError),
        (errors.RunError, Exception),
        (errors.MissingExtra, ImportError),
    ],
)
def test_every_error_is_ours_and_a_builtin_one(kind: type, builtin: type) -> None:
    assert issubclass(kind, errors.SiglumError)
    assert issubclass(kind, builtin)


def test_choose_returns_the_entry() -> None:
    assert choose({"lenet": 1, "mlp": 2}, "mlp", "model") == 2


def test_choose_names_all_entries_and_the_nearest() -> None:
    message = "model must be one of lenet, mlp, got 'lenett'. Did you mean 'lenet'?"

    with pytest.raises(ConfigError, match=f"^{re.escape(message)}$"):
        choose({"mlp": 2, "lenet": 1}, "lenett", "model")


def test_choose_offers_nothing_when_nothing_is_near() -> None:
    with pytest.raises(ConfigError, match=r"^model must be one of lenet, mlp, got '中'\.$"):
        choose({"mlp": 2, "lenet": 1}, "中", "model")


def test_closest_match_takes_lists_and_tuples() -> None:
    assert closest_match("lrr", ["lr", "seed"]) == " Did you mean 'lr'?"
    assert closest_match("", ("lr", "seed")) == ""
