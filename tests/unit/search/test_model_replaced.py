"""A model file that changes ends a study; what was measured stays, and the trial that ran is run again."""

from pathlib import Path

import pytest

from layertune.errors import ModelFileError
from layertune.settings import SplitSettings
from layertune.testing import FakeRunner
from small_study import quiet, search, with_finals


@pytest.mark.parametrize("n_ran", [1, 3, 4])
def test_every_finished_trial_is_kept_and_the_one_that_ran_is_run_again(n_ran: int, tmp_path: Path) -> None:
    runner = FakeRunner()

    def replaced(_settings: SplitSettings) -> None:
        if len(runner.ran) == n_ran:
            raise ModelFileError("chat.gguf was replaced or changed")

    runner.before = replaced
    study = search(tmp_path, n_trials=4, schedule=with_finals(2))
    with pytest.raises(ModelFileError, match=r"chat\.gguf was replaced"):
        study.run(runner, quiet)
    kept = study.finished()
    assert len(kept) == n_ran - 1
    again = FakeRunner()
    resumed = search(tmp_path, n_trials=4, schedule=with_finals(2))
    resumed.run(again, quiet)
    assert [trial.settings for trial in resumed.finished()][: len(kept)] == [trial.settings for trial in kept]
    assert len(resumed.finished()) == 4
    assert again.ran[0] == runner.ran[-1]
