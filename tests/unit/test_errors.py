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


def test_a_sentence_stays_short_whatever_it_quotes() -> None:
    words = str(errors.ConfigError(f"a.toml: {'x' * 10**6} is no size", remedy=f"choose one of {'y, ' * 10**5}"))
    assert len(words) < 2100
    assert words.startswith("a.toml: x")
    assert "x is no size; choose one of y" in words


def test_of_many_names_a_sentence_has_the_first_ones() -> None:
    assert errors.listed(["a", "b"]) == "a, b"
    assert errors.listed(map(str, range(10**9))) == ", ".join(map(str, range(30))) + " and more"
