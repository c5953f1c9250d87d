from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

import small_shapes
from layertune.config import Objective, Workload
from layertune.sampler.posterior import ModelEngines, Observation
from layertune.settings import EngineSettings
from layertune.trial.outcome import ModelSamples

N_LAYER = 12
MEMORY = small_shapes.planner(chat=small_shapes.shape(n_layer=N_LAYER)).models["chat"]
WORKLOAD = Workload(n_prompt=64, n_generate=16)
ENGINES = [
    small_shapes.engine(n_gpu_layers, n_batch=n_batch, n_ubatch=n_ubatch)
    for n_gpu_layers in range(N_LAYER + 2)
    for n_batch, n_ubatch in ((128, 128), (256, 256), (2048, 256))
]


def canonical(engine: EngineSettings) -> EngineSettings:
    return engine.canonical(N_LAYER)


def engines(prior: Sequence[Observation] = ()) -> ModelEngines:
    return ModelEngines(ENGINES, canonical, np.arange(len(ENGINES))[:, None], MEMORY, WORKLOAD, prior)


def samples(pp: float, tg: float, together: float | None = None) -> ModelSamples:
    rate = 16 / (64 / pp + 16 / tg)
    return ModelSamples((pp,), (tg,), (64 / pp,), (rate,), () if together is None else (rate * together,))


def measured(model: ModelEngines, *n_gpu_layers: int, together: float | None = None) -> list[tuple[int, ModelSamples]]:
    rows = [model.rows[small_shapes.engine(each).canonical(N_LAYER)] for each in n_gpu_layers]
    return [(row, samples(100 + 20 * each, 10 + each, together)) for row, each in zip(rows, n_gpu_layers, strict=True)]


def test_engines_that_run_alike_are_one() -> None:
    beyond = [*ENGINES, small_shapes.engine(N_LAYER + 5), small_shapes.engine(3, n_batch=512, n_ubatch=300)]
    assert len(ModelEngines(beyond, canonical, np.arange(len(beyond))[:, None], MEMORY, WORKLOAD)) == len(ENGINES) + 1


def test_the_posterior_has_the_measured_speeds() -> None:
    model = engines()
    speeds = model.learn(measured(model, 0, 6, 13))
    row = model.rows[small_shapes.engine(6).canonical(N_LAYER)]
    assert speeds.posterior("tg_tokens_per_s").mean[row] == pytest.approx(-16, rel=0.03)
    assert speeds.posterior("pp_tokens_per_s").mean[row] == pytest.approx(-220, rel=0.03)
    assert speeds.posterior("tpot_s").mean[row] == pytest.approx(1 / 16, rel=0.03)
    assert speeds.posterior("ttft_s").mean[row] == pytest.approx(64 / 220, rel=0.03)
    assert speeds.posterior("tokens_per_s").mean[row] == pytest.approx(-16 / (64 / 220 + 1), rel=0.03)


def test_of_batches_that_hold_the_whole_prompt_the_one_with_least_memory_is_kept() -> None:
    for n_prompt, n_different in ((64, 1), (128, 1), (256, 2), (512, 3)):
        workload = Workload(n_prompt=n_prompt, n_generate=16)
        device_bytes = -np.arange(len(ENGINES))[:, None] % 3  # of each three the second needs most, the first least
        model = ModelEngines(ENGINES, canonical, device_bytes, MEMORY, workload)
        assert len(model.leanest) == n_different * (N_LAYER + 2), n_prompt
        if n_different == 1:
            assert {model.engines[row].n_batch for row in model.leanest} == {128}


def test_threads_of_prompts_are_a_feature_only_if_some_engines_have_their_own() -> None:
    counts = (1, 2, 4)
    same = [small_shapes.engine(3, n_threads=n) for n in counts]
    own = [*same, *(small_shapes.engine(3, n_threads=4, n_threads_batch=n) for n in counts)]
    for each, n_columns in ((same, 1), (own, 2)):
        features = ModelEngines(each, canonical, np.zeros((len(each), 1), dtype=int), MEMORY, WORKLOAD).features
        assert features.others.shape[1] == n_columns
    prior = [(small_shapes.engine(3, n_threads=4, n_threads_batch=1), samples(50, 10))] * 2
    assert len(ModelEngines(own, canonical, np.zeros((6, 1), dtype=int), MEMORY, WORKLOAD, prior)) == 5


def test_what_the_settings_determine_has_no_uncertainty() -> None:
    model = engines()
    speeds = model.learn(measured(model, 0))
    kl_divergence = Objective("chat.kl_divergence", "minimize", {("", "f16", "f16"): 0.05})
    for objective, cost in ((Objective("chat.n_ctx", "maximize"), -1024.0), (kl_divergence, 0.05)):
        found = model.posterior(objective, speeds)
        assert set(found.mean) == {cost}
        assert not found.std.any()


def test_speeds_with_all_models_running_have_the_measured_contention() -> None:
    model = engines()
    speeds = model.learn(measured(model, 0, 13, together=0.5))
    alone, together = speeds.posterior("tokens_per_s"), speeds.posterior("tokens_per_s_together")
    assert together.mean == pytest.approx(alone.mean / 2)
    assert (together.std / together.mean < alone.std / alone.mean).all()  # both are negative costs


def test_the_rates_of_some_engines_are_those_of_all() -> None:
    model = engines()
    found, wanted = (
        measured(model, 0, 6, 13),
        [model.rows[small_shapes.engine(each).canonical(N_LAYER)] for each in (3, 9)],
    )
    figure = model.learn(found).posterior("tokens_per_s")
    rates, covariance = model.rates(found, wanted)
    assert rates == pytest.approx(-figure.mean[wanted])
    assert np.sqrt(np.diag(covariance)) == pytest.approx(figure.std[wanted], rel=1e-6)


def test_a_prior_study_gives_the_shape_of_the_curve() -> None:
    def kinked(n_gpu_layers: int) -> float:
        return 10 + n_gpu_layers + (6 if n_gpu_layers > 6 else 0)

    prior = [(small_shapes.engine(each), samples(90 * kinked(each), 9 * kinked(each))) for each in range(14)]
    model = engines(prior)
    rows = {each: model.rows[small_shapes.engine(each).canonical(N_LAYER)] for each in (0, 4, 8, 13)}
    here = [(rows[each], samples(10 * kinked(each), kinked(each))) for each in (0, 13)]
    token_s = model.learn(here).token.mean_s
    assert [token_s[rows[each]] for each in (4, 8)] == pytest.approx([1 / kinked(4), 1 / kinked(8)], rel=0.08)


def test_a_prior_engine_that_is_not_in_the_space_is_used_for_the_nearest_one() -> None:
    prior = [(small_shapes.engine(each, n_ctx=8192), samples(1e6, 2.0 ** (each / 4))) for each in range(14)]
    rows = [engines().rows[small_shapes.engine(each).canonical(N_LAYER)] for each in (0, 8)]
    token_s = engines(prior).learn([(rows[0], samples(1e6, 10.0))]).token.mean_s
    assert token_s[rows[1]] / token_s[rows[0]] == pytest.approx(1 / 4, rel=0.15)


def test_speeds_at_depth_have_a_posterior_of_their_own() -> None:
    model = engines()
    seen = [
        (row, replace(each, turn_s=(100.0 / (10 + row),), tg_tokens_per_s_full=(each.tg_tokens_per_s[0] / 3,)))
        for row, each in measured(model, 0, 6, 13)
    ]
    speeds = model.learn(seen)
    row = model.rows[small_shapes.engine(6).canonical(N_LAYER)]
    assert speeds.posterior("tg_tokens_per_s_full").mean[row] == pytest.approx(-16 / 3, rel=0.03)
    assert speeds.posterior("turn_s").mean[row] == pytest.approx(100.0 / (10 + row), rel=0.03)
    assert model.learn(measured(model, 0, 6, 13)).at_depth == {}
