import inspect

from layertune import errors


def test_every_error_is_exported_and_drawn_with_its_exit_status_in_the_docstring() -> None:
    found = {name: kind for name, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, Exception)}
    assert sorted(found) == sorted(errors.__all__)
    lines = (errors.__doc__ or "").splitlines()
    for name, kind in found.items():
        (line,) = [line for line in lines if name in line.split()]
        assert str(kind.exit_status) in line.split(), line


def test_an_error_reads_as_one_sentence_with_its_remedy() -> None:
    assert (
        str(errors.ConfigError("a.toml: no models", remedy="add [models.chat]"))
        == "a.toml: no models; add [models.chat]"
    )
    assert str(errors.ConfigError("a.toml: no models")) == "a.toml: no models"
