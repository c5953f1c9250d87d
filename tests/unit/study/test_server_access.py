"""The API key of servers that run already."""

import pytest

from layertune.errors import UsageError
from layertune.study.server_access import api_key_of


def test_the_key_is_that_of_the_variable_that_is_named_or_of_llama_servers_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LLAMA_API_KEY", raising=False)
    assert api_key_of(None) is None
    monkeypatch.setenv("LLAMA_API_KEY", "first,second")
    monkeypatch.setenv("MINE", "k3y")
    assert (api_key_of(None), api_key_of("MINE")) == ("first", "k3y")


@pytest.mark.parametrize("variable", ["NOT_THERE", "k3y", "EMPTY", "BROKEN"])
def test_a_key_that_is_none_is_refused_and_not_repeated(variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMPTY", "")
    monkeypatch.setenv("BROKEN", "k3y\nEvil: header")
    with pytest.raises(UsageError, match="key") as raised:
        api_key_of(variable)
    assert "k3y" not in str(raised.value)
