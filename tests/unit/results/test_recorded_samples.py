from finished_study import result
from layertune.results.result import quiet_trials
from layertune.results.trial_info import recorded_samples


def test_a_trial_gives_back_the_samples_that_it_recorded() -> None:
    (trial, *_) = quiet_trials(result())
    samples = recorded_samples(trial, "chat")
    metrics = (trial.metrics or {})["chat"]
    assert list(samples.pp_tokens_per_s) == metrics["pp_tokens_per_s"].samples
    assert list(samples.tokens_per_s_together) == metrics["tokens_per_s_together"].samples


def test_what_stayed_disturbed_or_was_not_measured_is_not_quiet() -> None:
    study = result()
    disturbed = study.trials[0].model_copy(update={"warnings": ["disturbed: another program ran"]})
    noted = study.trials[1].model_copy(update={"warnings": ["on battery"]})
    found = quiet_trials(study.model_copy(update={"trials": [disturbed, noted, *study.trials[2:]]}))
    assert [trial.number for trial in found] == [1]
