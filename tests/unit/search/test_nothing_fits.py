"""A study ends because nothing fits only where nothing that is left could."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

import small_shapes
from layertune.errors import NothingFits
from layertune.settings import SplitSettings
from layertune.space.feasible import FeasibleSpace
from layertune.space.search_space import SearchSpace
from layertune.testing import FakeRunner
from layertune.trial.effort import Effort
from layertune.trial.outcome import Infeasible, Measured, TrialOutcome
from layertune.trial.runners import GiveUp, never
from layertune.units import MIB
from small_study import N_LAYERS, quiet, search, space, task

PLANNER = small_shapes.planner(**{name: small_shapes.shape(n_layer=n) for name, n in N_LAYERS.items()})


class Refusing(FakeRunner):
    """A card that refuses some settings, whatever their plan says."""

    def __init__(self, refuses: Callable[[SplitSettings], bool], evidence: str = "CUDA error: out of memory") -> None:
        super().__init__()
        self._refuses = refuses
        self._evidence = evidence

    def run(self, settings: SplitSettings, effort: Effort, give_up: GiveUp = never) -> TrialOutcome:
        outcome = super().run(settings, effort, give_up)
        if self._refuses(settings):
            return Infeasible("decode", "chat", self._evidence, None, 1.0)
        return outcome


def of_space(searched: SearchSpace, planned: bool) -> dict[str, object]:
    limits = replace(task().limits, vram=(400 * MIB,))
    feasible = FeasibleSpace(searched, PLANNER, limits) if planned else None
    return {"space": searched, "feasible": feasible, "limits": limits, "sampler": "random", "n_trials": 40}


@pytest.mark.parametrize("planned", [True, False])
@pytest.mark.parametrize(
    ("dimension", "values", "refused"),
    [
        ("flash_attn", ["auto", "off", "on"], {"auto", "off"}),
        ("type_k", ["f16", "q8_0", "f32"], {"f16", "q8_0"}),
        ("type_v", ["q4_0", "f16"], {"q4_0"}),
        ("n_cpu_moe", [0, 5, 11], {0, 5}),
    ],
)
def test_a_refusal_of_the_first_value_leaves_the_others(
    dimension: str, values: list[object], refused: set[object], planned: bool, tmp_path: Path
) -> None:
    searched = space(n_gpu_layers=12, **{dimension: values})
    runner = Refusing(lambda settings: getattr(settings["chat"], dimension) in refused)
    study = search(tmp_path, **of_space(searched, planned))
    study.run(runner, quiet)
    assert any(isinstance(trial.outcome, Measured) for trial in study.finished())


@pytest.mark.parametrize("planned", [True, False])
def test_the_smallest_of_every_kind_is_tried_before_nothing_fits(planned: bool, tmp_path: Path) -> None:
    searched = space(flash_attn=["auto", "on"], type_k=["f16", "q8_0"])
    runner = Refusing(lambda _settings: True)
    first = [searched.smallest()]
    with pytest.raises(NothingFits, match=r"no setting fits the budget of 400.0 MiB: the smallest was refused"):
        search(tmp_path, initial_design=first, **of_space(searched, planned)).run(runner, quiet)
    assert len(runner.ran) == 4


@pytest.mark.parametrize("planned", [True, False])
def test_after_a_measured_trial_it_is_never_that_nothing_fits(planned: bool, tmp_path: Path) -> None:
    searched, runner = space(), Refusing(lambda settings: settings["chat"].n_gpu_layers != 3)
    large = searched.settings({"chat.n_gpu_layers": 3})
    study = search(tmp_path, initial_design=[large, searched.smallest()], **of_space(searched, planned))
    study.run(runner, quiet)
    assert len(study.finished()) == 40


def test_memory_of_the_host_says_nothing_of_the_device(tmp_path: Path) -> None:
    evidence = "ggml_backend_cpu_buffer_type_alloc_buffer: failed to allocate CPU buffer of size 8589934592"
    searched = space()
    runner = Refusing(lambda settings: settings["chat"].n_gpu_layers < 6, evidence)
    study = search(tmp_path, initial_design=[searched.smallest()], **of_space(searched, planned=True))
    study.run(runner, quiet)
    assert any(isinstance(trial.outcome, Measured) for trial in study.finished())
