import re

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from finished_study import result
from layertune.config.env_file import parse_env
from layertune.errors import ConfigError, UsageError
from layertune.export import quote, render_env
from names import HOSTILE
from readers import SHELL, shell_variables


@given(HOSTILE)
@example("a b'c")
@example("${HOME}")
@example("a' b'.gguf")
def test_every_file_name_that_an_export_holds_is_read_back(name: str) -> None:
    try:
        written = quote(name)
    except UsageError:
        return
    assert parse_env(f"CHAT_MODEL={written}\n", "test") == {"CHAT_MODEL": name}


def test_a_whole_export_is_read_back() -> None:
    variables = parse_env(render_env(result(), result().trial(1)), "test")
    assert variables["CHAT_N_GPU_LAYERS"] == "37"
    assert variables["CODE_MODEL"] == "code.gguf"
    assert len([key for key in variables if key.startswith("CHAT_")]) == 11


def test_the_worksheets_own_env_is_read_with_its_comments() -> None:
    text = "# Phase 2\nCHAT_N_GPU_LAYERS=999   # Chat: 전체 GPU (2.2GB)\nCODE_N_GPU_LAYERS=20    # Code\n"
    assert parse_env(text, "test") == {"CHAT_N_GPU_LAYERS": "999", "CODE_N_GPU_LAYERS": "20"}


def test_what_people_write_by_hand_is_read() -> None:
    text = "export A=1\r\n\n  B=\"a b\" # why\nC=\nA=2\nD=a#b\nE='# no comment'#x\n"
    with pytest.raises(ConfigError, match="line 7"):
        parse_env(text, "test")
    without = text.replace("#x", "")
    assert parse_env(without, "test") == {"A": "2", "B": "a b", "C": "", "D": "a#b", "E": "# no comment"}


@pytest.mark.parametrize(
    "value", ["$HOME", '"$HOME"', "a b", "~/a", "`id`", "a\\b", "'a\\'", "'${A}'", "'a", "a;b", "'a''b'", "a'b'", "#a"]
)
def test_what_a_shell_and_compose_read_in_two_ways_is_refused(value: str) -> None:
    with pytest.raises(ConfigError, match=r"\.env, line 2: .* write its value between single quotes"):
        parse_env(f"A=1\nB={value}\n", ".env")


@pytest.mark.parametrize("line", ["A", "A =1", "1A=2", "=1", "-A=1"])
def test_a_line_that_sets_nothing_is_refused(line: str) -> None:
    with pytest.raises(ConfigError, match="line 1 is not NAME=value; fix that line"):
        parse_env(line, ".env")


@pytest.mark.skipif(SHELL is None, reason="no POSIX shell here")
@settings(max_examples=60, deadline=None)
@given(st.text(st.sampled_from("ab'\"\\$`# \t=~;&|<>(){}*?[]!:/.한")))
def test_what_is_read_is_what_a_shell_reads(written: str) -> None:
    try:
        variables = parse_env(f"B={written}", "test")
    except ConfigError:
        return
    assert shell_variables(f"B={written}\n", ["B"]) == variables
    assert not re.search(r"[\n\r]", variables["B"])
