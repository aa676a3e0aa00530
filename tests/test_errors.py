import re

import pytest

from siglum import errors
from siglum.errors import ConfigError, choose


def test_every_error_is_ours_and_a_builtin_one() -> None:
    for kind, builtin in [
        (errors.ConfigError, ValueError),
        (errors.DataError, ValueError),
        (errors.RunError, Exception),
        (errors.MissingExtra, ImportError),
    ]:
        assert issubclass(kind, errors.SiglumError) and issubclass(kind, builtin)


@pytest.mark.parametrize(("name", "hint"), [("lenett", " Did you mean 'lenet'?"), ("中", "")])
def test_choose_names_all_entries_and_the_closest(name: str, hint: str) -> None:
    message = f"model must be one of lenet, mlp, got {name!r}.{hint}"

    assert choose({"lenet": 1, "mlp": 2}, "mlp", "model") == 2
    with pytest.raises(ConfigError, match=f"^{re.escape(message)}$"):
        choose({"mlp": 2, "lenet": 1}, name, "model")
