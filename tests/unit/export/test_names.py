"""A file name comes out of every format as it went in, or is refused in one sentence."""

from collections.abc import Callable

import pytest
import yaml
from hypothesis import given, settings

from deployments import named
from finished_study import result
from layertune.errors import UsageError
from layertune.export import EXPORTERS, MODELS_DIR, export_files
from layertune.results.result import Result
from names import AWKWARD, HOSTILE
from readers import (
    SHELL,
    interpolated,
    llama_swap_words,
    modelfile_commands,
    preset_sections,
    shell_variables,
    shell_words,
    unit_words,
)
from two_files import priced

Files = dict[str, str]

pytestmark = pytest.mark.skipif(SHELL is None, reason="no POSIX shell here")


def model_of(words: list[str]) -> str:
    return words[words.index("--model") + 1]


def by_compose(files: Files) -> str:
    command = yaml.safe_load(files["compose.yml"])["services"]["inference-chat"]["command"]
    return model_of([interpolated(word, {}) for word in command])


def by_shell(files: Files) -> str:
    return model_of(shell_words(files["chat.sh"]))


def by_environment(files: Files) -> str:
    return shell_variables(files["chat.server.env"], ["LLAMA_ARG_MODEL"])["LLAMA_ARG_MODEL"]


def by_router(files: Files) -> str:
    return preset_sections(files["preset.ini"])["chat"]["model"]


def by_llama_swap(files: Files) -> str:
    return model_of(llama_swap_words(yaml.safe_load(files["llama-swap.yaml"]), "chat"))


def by_ollama(files: Files) -> str:
    return modelfile_commands(files["chat.Modelfile"])["FROM"]


def by_systemd(files: Files) -> str:
    return model_of(unit_words(files["llama-server-chat.service"]))


READERS: list[tuple[str, Callable[[Files], str]]] = [
    ("compose", by_compose),
    ("llama-server", by_shell),
    ("llama-server", by_environment),
    ("preset", by_router),
    ("llama-swap", by_llama_swap),
    ("ollama", by_ollama),
    ("systemd", by_systemd),
]
each_reader = pytest.mark.parametrize(("format", "read"), READERS)


def check(format: str, read: Callable[[Files], str], name: str) -> None:
    study = named(name, ("chat",))
    try:
        files = EXPORTERS[format](study, study.trial(0), MODELS_DIR)
    except UsageError:
        return
    assert read(files) == f"{MODELS_DIR}/{name}"


@each_reader
@pytest.mark.parametrize("name", AWKWARD)
def test_an_awkward_file_name_is_kept_or_refused(format: str, read: Callable[[Files], str], name: str) -> None:
    check(format, read, name)


@each_reader
@settings(max_examples=60, deadline=None)
@given(HOSTILE)
def test_any_file_name_is_kept_or_refused(format: str, read: Callable[[Files], str], name: str) -> None:
    check(format, read, name)


@each_reader
def test_every_format_names_the_file_that_the_trial_loads(format: str, read: Callable[[Files], str]) -> None:
    for number, file in ((0, "large.gguf"), (1, "small.gguf")):
        assert read(export_files(priced(), format, str(number))) == f"{MODELS_DIR}/{file}"


HELD: dict[str, Callable[[str], bool]] = {
    "compose": lambda _name: True,
    "llama-server": lambda _name: True,
    "systemd": lambda _name: True,
    "llama-swap": lambda name: "\n" not in name,
    "ollama": str.isprintable,
    "preset": lambda name: name.isprintable() and not set(name) & set(";#") and name[-1] != " ",
}


@pytest.mark.parametrize("format", HELD)
@pytest.mark.parametrize("name", AWKWARD)
def test_a_format_refuses_only_file_names_that_it_cannot_hold(format: str, name: str) -> None:
    study = named(name)
    if HELD[format](name) and "\0" not in name:
        EXPORTERS[format](study, study.trial(0), MODELS_DIR)
        return
    with pytest.raises(UsageError, match=r"cannot hold the file name .*; rename the model file without"):
        EXPORTERS[format](study, study.trial(0), MODELS_DIR)


@settings(deadline=None)
@given(HOSTILE)
def test_text_of_the_header_stays_within_the_comments_of_every_format(word: str) -> None:
    study = result(name=word, sampler=word)
    device = study.hardware.device.model_copy(update={"name": word})
    hostile = study.model_copy(update={"hardware": study.hardware.model_copy(update={"device": device})})
    for read in (_yaml("compose"), _yaml("llama-swap"), _sections, _commands, _units):
        assert read(hostile) == read(result())
    assert "${" not in "".join(line for line in _swap_text(hostile).splitlines() if line.startswith("#"))


@pytest.mark.parametrize("word", ["a\nid\n", "$(id)", "`id`\r\nid", "\u2028id"])
def test_the_shell_runs_no_text_of_the_header(word: str) -> None:
    files = EXPORTERS["llama-server"](study := result(name=word), study.trial(1), MODELS_DIR)
    plain = EXPORTERS["llama-server"](study := result(), study.trial(1), MODELS_DIR)
    assert shell_words(files["chat.sh"]) == shell_words(plain["chat.sh"])


def _yaml(format: str) -> Callable[[Result], object]:
    return lambda study: yaml.safe_load("".join(EXPORTERS[format](study, study.trial(1), MODELS_DIR).values()))


def _swap_text(study: Result) -> str:
    return EXPORTERS["llama-swap"](study, study.trial(1), MODELS_DIR)["llama-swap.yaml"]


def _sections(study: Result) -> object:
    return preset_sections(EXPORTERS["preset"](study, study.trial(1), MODELS_DIR)["preset.ini"])


def _commands(study: Result) -> object:
    return [modelfile_commands(text) for text in EXPORTERS["ollama"](study, study.trial(1), MODELS_DIR).values()]


def _units(study: Result) -> object:
    return [unit_words(text) for text in EXPORTERS["systemd"](study, study.trial(1), MODELS_DIR).values()]


def test_two_files_of_one_name_are_refused_since_one_folder_serves_both() -> None:
    study = result()
    other = study.models["chat"].model_copy(update={"sha256": "cd"})
    alike = study.model_copy(update={"models": study.models | {"code": other}})
    with pytest.raises(UsageError, match=r"chat and code were measured with different files called Qwen.*rename one"):
        export_files(alike)
    same = study.model_copy(update={"models": study.models | {"code": study.models["chat"]}})
    assert "CODE_MODEL=Qwen" in export_files(same)[".env"]
