"""Options that would have been taken in silence for something else, and names that no file can have."""

import errno
from pathlib import Path

import pytest
import typer

from finished_study import result
from layertune.cli import main
from layertune.cli.command_line import run_commands
from layertune.config.overrides import Overrides, study_config
from layertune.errors import LayertuneError, UsageError
from layertune.results.result import write_result

LONG = Path("n" * 300)


@pytest.mark.parametrize(
    ("models", "settings", "words"),
    [
        (["chat=a.gguf", "chat=b.gguf"], [], "--model chat is given twice, a.gguf and b.gguf; leave one of them out"),
        (["chat=a.gguf"], ["chat.n_ctx=1024", "chat.n_ctx=2048"], "--set chat.n_ctx is given twice, 1024 and 2048"),
    ],
)
def test_an_option_that_is_given_twice_for_one_name_is_refused(
    models: list[str], settings: list[str], words: str
) -> None:
    with pytest.raises(UsageError, match=words):
        study_config(None, Overrides(models, None, "cpu", settings))


def test_a_storage_without_a_url_is_refused() -> None:
    from layertune.study.searching import check_storage

    with pytest.raises(UsageError, match="the storage's URL is empty"):
        check_storage(Path("studies/none"), "")


def test_an_empty_folder_of_models_is_refused(tmp_path: Path) -> None:
    write_result(result(), tmp_path / "result.json")
    with pytest.raises(UsageError, match="--models-dir is empty"):
        main.export(tmp_path, "llama-server", models_dir="")


@pytest.mark.parametrize("name", [LONG, LONG / "study", Path("study") / LONG], ids=["itself", "its folder", "in one"])
def test_a_name_that_no_file_can_have_is_one_sentence_of_every_command(name: Path, tmp_path: Path) -> None:
    write_result(result(), tmp_path / "result.json")
    for command in (
        lambda: main.pareto(name),
        lambda: main.report(name),
        lambda: main.report(tmp_path, output=name),
        lambda: main.export(name),
        lambda: main.export(tmp_path, output=name),
        lambda: main.export(name, explain=True),
        lambda: main.compare([name, name]),
        lambda: main.predict(name, "rtx-4060"),
        lambda: main.predict(tmp_path, str(name)),
        lambda: main.estimate(name),
        lambda: main.estimate(scenario=name),
        lambda: main.estimate(model=[f"chat={name}"], device="cpu"),
        lambda: main.search(name),
        lambda: main.search(model=[f"chat={name}"], study=name, device="cpu"),
        lambda: main.verify(name),
        lambda: main.verify(tmp_path, env=name, models_dir=name),
        lambda: main.verify(tmp_path, output=name / "record.md"),
    ):
        with pytest.raises(LayertuneError) as caught:
            command()
        assert "\n" not in str(caught.value)


def test_a_system_that_opens_no_more_files_is_one_sentence(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    app = typer.Typer()

    @app.command()
    def command() -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr("sys.argv", ["layertune"])
    with pytest.raises(SystemExit) as ended:
        run_commands(app)
    assert ended.value.code == 1
    assert "raise its limit, like ulimit -n 1024" in capfd.readouterr().err
