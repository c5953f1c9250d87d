"""The fake that the search's tests rest on does what it says. That it obeys the seam, tests/contract says."""

from statistics import median, stdev

import pytest
from hypothesis import given
from hypothesis import strategies as st

from finalists import split
from layertune.testing import FakeRunner, measured
from layertune.testing.fake_runner import Noise, true_tokens_per_s
from layertune.trial.effort import Effort
from layertune.trial.messages import Progress
from layertune.trial.outcome import Measured, TrialOutcome
from layertune.units import MIB

PAIR, ALONE = split(3, "chat", "code"), split(3, "chat")
THREE = Effort(3, 3, 0.02)


def speeds(outcome: TrialOutcome, model: str = "chat") -> tuple[float, ...]:
    assert isinstance(outcome, Measured)
    return outcome.models[model].samples.tokens_per_s


def test_without_noise_the_figures_are_the_true_ones() -> None:
    assert FakeRunner().run(PAIR, THREE) == measured(PAIR)
    assert speeds(measured(PAIR)) == (true_tokens_per_s(PAIR, "chat"),) * 3


@given(st.integers(1, 5), st.integers(0, 5))
def test_repetitions_are_as_many_as_the_effort_asks_for(least: int, more: int) -> None:
    assert len(speeds(FakeRunner().run(PAIR, Effort(least, least + more, 0.02)))) == (max(least, 2) if more else least)
    wild = FakeRunner(noise=Noise(repeat=0.5))
    assert len(speeds(wild.run(PAIR, Effort(least, least + more, 1e-9)))) == least + more


def test_progress_is_told_from_the_least_repetitions_on_until_it_is_given_up() -> None:
    told: list[Progress] = []

    def give_up(progress: Progress) -> str | None:
        told.append(progress)
        return "enough" if len(told) == 3 else None

    outcome = FakeRunner(noise=Noise(repeat=0.1)).run(PAIR, Effort(2, 9, 1e-9, n_beside_prefill=2), give_up)
    assert isinstance(outcome, Measured)
    assert [len(each.models["code"].tokens_per_s) for each in told] == [2, 3, 4]
    assert all(each.models["code"].tokens_per_s_together == () for each in told)
    assert outcome.vram is not None
    assert told[0].used_bytes == outcome.vram.peak_bytes
    assert (outcome.stopped, len(speeds(outcome))) == ("enough", 4)
    assert len(outcome.models["chat"].samples.tokens_per_s_together) == 1


def test_all_models_at_once_and_beside_a_prefill_are_clocked_where_that_is_asked_for() -> None:
    asked = FakeRunner().run(PAIR, Effort(3, 3, 0.02, repeat_together=False, n_beside_prefill=2))
    alone = FakeRunner().run(ALONE, Effort(3, 3, 0.02, n_beside_prefill=2))
    assert isinstance(asked, Measured)
    assert isinstance(alone, Measured)
    assert len(asked.models["chat"].samples.tokens_per_s_together) == 1
    assert len(asked.models["chat"].samples.ttft_s_beside_prefill) == 2
    assert len(asked.models["chat"].samples.tpot_s_beside_prefill) == 2
    assert len(alone.models["chat"].samples.tokens_per_s_together) == 3
    assert alone.models["chat"].samples.ttft_s_beside_prefill == ()


def test_the_same_seed_is_the_same_noise_and_each_run_has_its_own() -> None:
    first, again = (FakeRunner(noise=Noise(0.1, 0.1, seed=4)) for _ in range(2))
    ours, theirs = (
        [speeds(first.run(PAIR, THREE)) for _ in range(3)],
        [speeds(again.run(PAIR, THREE)) for _ in range(3)],
    )
    assert ours == theirs
    assert len(set(ours)) == 3
    assert speeds(FakeRunner(noise=Noise(0.1, 0.1, seed=5)).run(PAIR, THREE)) not in ours


@pytest.mark.parametrize(
    ("noise", "between", "within"), [(Noise(load=0.03), 0.03, 0), (Noise(repeat=0.03), 0.02, 0.03)]
)
def test_noise_scatters_as_much_as_it_says(noise: Noise, between: float, within: float) -> None:
    runner = FakeRunner(noise=noise)
    found = [speeds(runner.run(PAIR, THREE)) for _ in range(400)]
    truth = true_tokens_per_s(PAIR, "chat")
    medians = [median(samples) for samples in found]
    assert median(medians) == pytest.approx(truth, rel=0.01)
    assert stdev(medians) / truth == pytest.approx(between, rel=0.2)
    scatter = median(stdev(samples) for samples in found) / truth
    assert scatter == pytest.approx(within, rel=0.3, abs=1e-9)


def test_machine_speed_disturbances_and_mishaps_are_those_of_the_numbered_run() -> None:
    refused = FakeRunner(cap_bytes=0).run(PAIR, THREE)
    runner = FakeRunner(
        machine_speed=lambda n_run: 1.0 if n_run else 0.5, disturbances={1: "noise"}, outcomes={2: refused}
    )
    slow, disturbed, mishap, plain = (runner.run(PAIR, THREE) for _ in range(4))
    assert speeds(slow)[0] == true_tokens_per_s(PAIR, "chat") / 2
    assert isinstance(disturbed, Measured)
    assert disturbed.disturbances == ("noise",)
    assert mishap == refused
    assert plain == measured(PAIR)
    assert (runner.ran, runner.efforts) == ([PAIR] * 4, [THREE] * 4)


def test_what_exceeds_the_card_is_refused_by_how_many_bytes() -> None:
    outcome = FakeRunner(cap_bytes=60 * MIB).run(PAIR, THREE)
    assert outcome == FakeRunner(cap_bytes=60 * MIB).run(PAIR, THREE)
    assert not isinstance(outcome, Measured)
    assert outcome.state == "infeasible"
    assert outcome.excess_bytes == 2 * MIB
