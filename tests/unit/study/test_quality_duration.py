"""How long the quality of files is expected to take."""

from types import SimpleNamespace
from typing import Any, cast

import pytest

from layertune.config.overrides import Overrides, study_config
from layertune.devices.host_rates import HostRates
from layertune.devices.target import Target
from layertune.memory.weight_bytes import WeightsUsed
from layertune.study.bandwidth_model import MachineRates
from layertune.study.facts import StudyFacts
from layertune.study.quality_duration import QualityDuration, quality_duration
from small_shapes import N_VOCAB, shape

FLOPS_PER_S = 1e9
CPU, GPU, CARD = Target("cpu", "CPU"), Target("gpu", "GPU", vram_bytes=2**30), Target("emulated", "card")


class Work:
    """A model of a million weights."""

    def weights_used(self, _engine: object) -> dict[str, WeightsUsed]:
        return {"host": WeightsUsed(n_values=1e6)}


def duration(*settings: str, target: Target = CPU, **options: Any) -> QualityDuration | None:
    config = study_config(None, Overrides(["chat=a.gguf,b.gguf"], None, "cpu", list(settings), **options))
    models = SimpleNamespace(memories=lambda: {"chat": Work()}, shape=lambda _name, _engine: shape())
    study = SimpleNamespace(config=config, models=models, target=target, machine=SimpleNamespace(n_cores=2))
    rates = MachineRates(HostRates((2,), (1e9,), (FLOPS_PER_S,)), ())
    return quality_duration(cast(StudyFacts, study), rates, (1.0, 2.0))


def test_each_choice_is_one_pass_and_the_reference_another_for_the_floor() -> None:
    found = duration()
    assert found is not None
    piece_s = 2 * 1e6 * 512 / FLOPS_PER_S + 479 * N_VOCAB * 2e-8
    n_passes, n_first, n_all = 2 + 1, 3 * 2, 3 * 4  # pieces of three texts
    assert found.n_choices == 2
    assert found.seconds == pytest.approx((n_passes * n_first * piece_s, 2 * n_passes * n_all * piece_s))


def test_cache_types_multiply_the_choices_and_a_reference_that_is_not_among_them_is_one_more() -> None:
    two, six = duration(), duration('chat.type_k=["f16", "q8_0", "q4_0"]')
    without = duration('chat.type_k=["q8_0", "q4_0"]')
    assert two is not None
    assert six is not None
    assert without is not None
    assert (six.n_choices, without.n_choices) == (6, 4)
    assert six.seconds[0] / two.seconds[0] == pytest.approx(7 / 3)
    assert without.seconds[0] / two.seconds[0] == pytest.approx(6 / 3)


def test_an_emulated_card_is_not_used_and_a_gpu_computes_for_free() -> None:
    on_cpu, on_card, on_gpu = (duration(target=target) for target in (CPU, CARD, GPU))
    assert on_cpu is not None
    assert on_gpu is not None
    assert on_card == on_cpu
    assert on_gpu.seconds[0] == pytest.approx(3 * 6 * 479 * N_VOCAB * 2e-8)


def test_nothing_is_measured_without_a_choice() -> None:
    assert duration(no_quality=True) is None
    assert duration("chat.file=a.gguf") is None
