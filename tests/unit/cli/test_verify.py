"""layertune verify, where nothing needs to be started."""

import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from deployments import demo
from layertune.cli.verify import Options, run
from layertune.errors import UsageError
from layertune.results.result import write_result
from layertune.study.verified import open_verified


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """Return a study whose model files are not here."""
    write_result(demo(), tmp_path / "result.json")
    return tmp_path


@pytest.fixture(autouse=True)
def same_sigterm() -> Iterator[None]:
    """The command has a handler of its own, which is not the tests'."""
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


def options(models_dir: Path) -> Options:
    return Options(None, "1s", 1, [], "balanced", None, models_dir)


def test_a_record_that_has_no_folder_is_refused_before_the_study_is_read(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"there is no folder .*missing for the record"):
        run(tmp_path / "no study", options(tmp_path), output=tmp_path / "missing" / "verify.md", as_json=False)


def test_a_record_that_cannot_be_written_has_been_printed(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UsageError, match="cannot write"):
        run(study, options(study), output=study / ("x" * 300), as_json=False)
    printed = capsys.readouterr()
    assert printed.out.startswith("# Verification of ")
    assert str(study) not in printed.out
    assert f"there is no {study}/gemma-3-270m-q4_k_m.gguf" in printed.err


def test_a_result_from_elsewhere_brings_its_card_s_threads(tmp_path: Path) -> None:
    made = demo()
    card = made.hardware.device.model_copy(update={"n_threads": 3})
    result = made.model_copy(update={"hardware": made.hardware.model_copy(update={"device": card})})
    write_result(result, tmp_path / "result.json")
    assert open_verified(tmp_path / "result.json", tmp_path).config.emulated.n_threads == 3


@pytest.mark.parametrize(
    "url",
    ["http://u:p@s3cret@h", "http://u:s3cret@h/?a=b", "http:/u:s3cret@h", "ftp://u:s3cret@h", "http://u:s3cret/@h"],
)
def test_an_address_that_is_refused_is_not_repeated_with_its_password(url: str, study: Path) -> None:
    given = replace(options(study), urls=[f"chat={url}", "code=http://127.0.0.1:8001"])
    with pytest.raises(UsageError, match=r"--url chat=.* is no ") as raised:
        run(study, given, output=None, as_json=False)
    assert "s3cret" not in str(raised.value)
