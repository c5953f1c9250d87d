"""The lines that a search prints while it runs."""

from dataclasses import replace

import pytest

from layertune.cli.progress import SearchProgress
from layertune.results.trials import FinishedTrial
from layertune.search.task import SearchTask, TrialFinished, TrialSlow
from layertune.testing import measured
from layertune.trial.outcome import Measured
from layertune.units import MIB
from small_study import on_a_gpu, space, task

SETTINGS = space().settings({"chat.n_gpu_layers": 5, "code.n_gpu_layers": 5})


def line(searched: SearchTask, outcome: Measured, capsys: pytest.CaptureFixture[str]) -> str:
    trial = FinishedTrial.of(3, SETTINGS, outcome, searched.limits.violations(SETTINGS, outcome))
    picks = {"balanced": 3} if trial.feasible() is not None else {}
    SearchProgress(searched, []).on_event(TrialFinished(trial, 1, picks))
    return capsys.readouterr().err.splitlines()[0]


def test_what_fits_is_told_by_its_peak(capsys: pytest.CaptureFixture[str]) -> None:
    outcome = measured(SETTINGS)
    assert outcome.vram is not None
    said = line(task(), outcome, capsys)
    assert f"  {outcome.vram.peak_bytes / MIB:.1f} MiB  best: trial 3" in said


def test_a_context_for_each_process_is_told_and_what_is_over_the_budget(capsys: pytest.CaptureFixture[str]) -> None:
    alone = measured(SETTINGS)
    assert alone.vram is not None
    overhead_bytes = 150 * MIB
    said = line(task(), on_a_gpu(SETTINGS, overhead_bytes), capsys)
    peak_mib = (alone.vram.peak_bytes + overhead_bytes) / MIB
    assert f"  {peak_mib:.1f} MiB ({peak_mib + 150:.1f} MiB in 2 processes), " in said
    assert f", {peak_mib + 150 - 200:.1f} MiB over vram  best: none yet" in said


def test_other_programs_are_named_once(capsys: pytest.CaptureFixture[str]) -> None:
    progress = SearchProgress(task(), [])
    for number, cores in enumerate(("1.28", "1.10")):
        outcome = replace(measured(SETTINGS), disturbances=(f"other programs took {cores} cores for 11.3 s",))
        progress.on_event(TrialFinished(FinishedTrial.of(number, SETTINGS, outcome, {}), number + 1))
    said = capsys.readouterr().err
    assert said.count("disturbed: ") == 1
    assert "disturbed: other programs took 1.28 cores for 11.3 s" in said


def test_a_trial_that_takes_long_is_told_while_it_runs(capsys: pytest.CaptureFixture[str]) -> None:
    SearchProgress(task(), []).on_event(TrialSlow("this trial takes long: 30.0 s, now at solo chat"))
    assert "this trial takes long: 30.0 s, now at solo chat" in capsys.readouterr().err
