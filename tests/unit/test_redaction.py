"""Passwords do not reach a terminal or a record."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from layertune.redaction import is_clear, without_password, without_secrets

SECRET = "s3cr3t"

WITH_SECRETS = [
    f"postgresql://tuner:{SECRET}@db/layertune",
    f"postgresql+psycopg://tuner:{SECRET}@db:5432/layertune",
    f"postgresql://tuner:p@{SECRET}@db/layertune",
    f"postgresql://tuner:{SECRET}@x@db/layertune",
    f"postgresql://tuner:{SECRET}/x@db/layertune",
    f"postgresql://tuner:1/{SECRET}@db/layertune",
    f"postgresql://tuner:1?{SECRET}@db/layertune",
    f"postgresql://tuner:#{SECRET}@db/layertune",
    f"postgresql://tuner:{SECRET}",
    f"postgresql:/tuner:{SECRET}@db/layertune",
    f"postgresql//tuner:{SECRET}@db/layertune",
    f"postgresql://db/layertune?user=tuner&password={SECRET}",
    f"postgresql://db/layertune?sslpassword={SECRET}",
    f"http://{SECRET}@127.0.0.1:8001",
    f"http://u:{SECRET}@127.0.0.1:8001",
    f"http://127.0.0.1:8001/?api_key={SECRET}",
    f"host=db user=tuner password={SECRET}",
    f"host=db password = '{SECRET} more'",
    f"PGPASSWORD={SECRET}",
    f"LLAMA_API_KEY={SECRET}",
    f"Authorization: Bearer {SECRET}",
]


@pytest.mark.parametrize("url", WITH_SECRETS)
def test_no_form_of_a_url_shows_its_secret(url: str) -> None:
    assert SECRET not in without_password(url)
    assert SECRET not in without_secrets(url)
    assert SECRET not in without_secrets(f"the storage {url} does not answer: try '{url}'.")


@given(st.text(min_size=1), st.sampled_from(["postgresql://u:{}@h/db", "postgresql:/u:{}@h/db", "u:{}@h", "p={}"]))
def test_what_cannot_be_parsed_for_sure_is_hidden_as_a_whole(password: str, form: str) -> None:
    url = form.format(f"<{password}>")  # no URL may hold these brackets
    assert not is_clear(url)
    assert password not in without_password(url) or password in without_password("no URL at all")


@pytest.mark.parametrize(
    "text",
    [
        "http://127.0.0.1:8001 does not answer",
        "write it like --url chat=http://127.0.0.1:8001",
        "write it like postgresql://host/name",
        "sqlite:////tmp/layertune.db",
        "http://[::1]:8080/props",
        "C:/models/a@b.gguf",
        "/srv/models//a@b.gguf: No such file",
        "see https://example.com/page#part.",
        "chat.n_ctx=4096, max_tokens=16",
    ],
)
def test_text_without_secrets_stays(text: str) -> None:
    assert without_secrets(text) == text
