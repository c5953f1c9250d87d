import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from finished_study import result
from layertune.errors import UsageError
from layertune.export import EXPORTERS, render_env, render_json

GOLDEN = Path(__file__).parent / "golden"


def test_the_env_is_the_golden_one() -> None:
    assert render_env(result(), result().picked("chat")) == (GOLDEN / "chat.env").read_text()


def test_the_env_says_when_the_card_was_emulated() -> None:
    assert "# EMULATED: " in render_env(result(), result().trial(1))


def test_the_json_has_the_trial_and_where_it_comes_from() -> None:
    text = render_json(result(), result().trial(1))
    assert '"fingerprint": "f00d"' in text
    assert '"number": 1' in text


def test_every_format_of_the_help_is_there() -> None:
    assert list(EXPORTERS) == ["env", "json"]


@pytest.mark.skipif(shutil.which("sh") is None, reason="no POSIX shell here")
@settings(max_examples=60, deadline=None)
@given(st.text(min_size=1, max_size=30))
def test_a_shell_reads_any_file_name_back_or_it_is_refused(name: str) -> None:
    assume("\0" not in name)
    study = result(file=name)
    try:
        text = render_env(study, study.trial(1))
    except UsageError:
        return
    shell = subprocess.run(
        ["sh", "-c", 'eval "$1"; printf %s "$CHAT_MODEL"', "sh", text], capture_output=True, check=True, text=True
    )
    assert shell.stdout == name


@pytest.mark.parametrize("name", ["a'b.gguf", "a\nB=1.gguf", "a\\.gguf", "a\x1b.gguf"])
def test_a_name_that_quotes_cannot_hold_is_refused(name: str) -> None:
    study = result(file=name)
    with pytest.raises(UsageError, match=r"cannot stand in a \.env file; rename"):
        render_env(study, study.trial(1))


@pytest.mark.parametrize(
    "name", ["$(touch pwned).gguf", "`id`.gguf", "${HOME}.gguf", "# x.gguf", "a b.gguf", "한국어.gguf"]
)
def test_nothing_in_a_name_is_expanded(name: str) -> None:
    study = result(file=name)
    assert f"CHAT_MODEL='{name}'\n" in render_env(study, study.trial(1))
