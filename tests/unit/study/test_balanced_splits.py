"""Splits by bytes over two cards, with experts on the host."""

from dataclasses import replace
from typing import Any

from layertune.config import StudyConfig, parse_config
from layertune.models import ModelShape, TensorInfo
from layertune.settings import Placement
from layertune.study.balanced_splits import balanced_split, device_layer_bytes, with_balanced_splits
from layertune.tensor_split import split_layers
from layertune.units import GIB, MIB
from small_shapes import shape

CARDS = (16 * GIB, 15 * GIB)
N_LAYERS, EXPERTS_BYTES, DENSE_BYTES = 48, 933 * MIB, 30 * MIB


def mixture() -> ModelShape:
    """A model like those of the complaint: 48 layers of 933 MiB of experts."""
    layers = [
        TensorInfo(f"blk.{layer}.{name}.weight", (1,), "Q4_K", n_bytes, 0)
        for layer in range(N_LAYERS)
        for name, n_bytes in (("ffn_gate_exps", EXPERTS_BYTES), ("attn_q", DENSE_BYTES))
    ]
    output = TensorInfo("output.weight", (1,), "Q6_K", 300 * MIB, 0)
    return replace(shape(n_layer=N_LAYERS), tensors=(*layers, output))


def bytes_of(split: tuple[float, ...], layer_bytes: list[int]) -> list[int]:
    counts = split_layers(split, len(layer_bytes))
    starts = [sum(counts[:index]) for index in range(len(counts))]
    return [sum(layer_bytes[start : start + count]) for start, count in zip(starts, counts, strict=True)]


def test_a_split_in_proportion_to_the_cards_overfills_one_and_the_balanced_one_neither() -> None:
    layer_bytes = device_layer_bytes(mixture(), Placement(N_LAYERS + 1, n_cpu_moe=27))
    first, second = bytes_of((16.0, 15.0), layer_bytes)
    assert first < 2 * GIB
    assert second > CARDS[1]
    split = balanced_split(layer_bytes, CARDS)
    assert split == (38.0, 11.0)
    assert all(taken < 0.75 * size for taken, size in zip(bytes_of(split, layer_bytes), CARDS, strict=True))


def test_equal_layers_are_split_in_proportion() -> None:
    assert balanced_split([MIB] * 30, (2 * GIB, GIB)) == (20.0, 10.0)
    assert balanced_split([MIB] * 30, (GIB, GIB, GIB)) == (10.0, 10.0, 10.0)


def config(**space: Any) -> StudyConfig:
    model = {"path": "a.gguf", "space": space}
    return parse_config({"models": {"a": model}, "device": "emulated:16GiB+15GiB"})


def splits(found: StudyConfig) -> Any:
    return found.models["a"].space.tensor_split


def test_models_with_experts_on_the_host_are_offered_the_balanced_split_first() -> None:
    found = splits(with_balanced_splits(config(n_cpu_moe=27), {"a": mixture()}, CARDS))
    assert found == [(38.0, 11.0), (16.0, 15.0), (1.0, 0.0), (0.0, 1.0)]


def test_of_many_numbers_of_layers_on_the_host_three_are_balanced() -> None:
    found = splits(with_balanced_splits(config(n_cpu_moe=list(range(40))), {"a": mixture()}, CARDS))
    assert len(found) == 3 + 3


def test_other_models_one_device_and_written_splits_are_left_alone() -> None:
    assert splits(with_balanced_splits(config(), {"a": mixture()}, CARDS)) is None
    assert splits(with_balanced_splits(config(n_cpu_moe=27), {"a": mixture()}, CARDS[:1])) is None
    written = config(n_cpu_moe=27, tensor_split="3,1")
    assert splits(with_balanced_splits(written, {"a": mixture()}, CARDS)) == (3.0, 1.0)
