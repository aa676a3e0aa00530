from siglum import errors


def test_every_error_is_ours_and_a_builtin_one() -> None:
    for kind, builtin in [
        (errors.ConfigError, ValueError),
        (errors.DataError, ValueError),
        (errors.RunError, Exception),
        (errors.MissingExtra, ImportError),
    ]:
        assert issubclass(kind, errors.SiglumError) and issubclass(kind, builtin)
