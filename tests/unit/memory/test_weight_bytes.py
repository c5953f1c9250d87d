import re
from dataclasses import replace

import pytest

from layertune.memory.placement import TensorInventory, TensorPlacement
from layertune.memory.weight_bytes import Weights
from layertune.models import ModelShape
from layertune.models.gguf_writer import TensorSpec
from layertune.settings import Placement
from small_shapes import N_EMBD, N_LAYER, shape

ALL = N_LAYER + 1
FEED_FORWARD = [
    TensorSpec(f"blk.{layer}.ffn_{name}.weight", (N_EMBD, N_EMBD), "Q8_0")
    for layer in range(N_LAYER)
    for name in ("gate", "down")
]


def bytes_of(model: ModelShape, *parts: str) -> int:
    return sum(tensor.n_bytes for tensor in model.tensors if any(part in tensor.name for part in parts))


def weights(model: ModelShape, **homes: TensorPlacement) -> Weights:
    inventory = TensorInventory.plain(model)
    return Weights(model, replace(inventory, tensors={**inventory.tensors, **homes}))


def test_the_output_layer_moves_first() -> None:
    model = shape()
    assert weights(model).split(Placement(1))["gpu0"] == bytes_of(model, "output")


def test_then_the_last_repeating_layer_with_the_tensors_that_all_layers_share() -> None:
    model = shape()
    assert weights(model).split(Placement(2))["gpu0"] == bytes_of(model, "output", "rope_freqs", f"blk.{N_LAYER - 1}.")


def test_the_token_embedding_stays_on_the_host() -> None:
    model = shape()
    assert weights(model).split(Placement(ALL)) == {
        "gpu0": bytes_of(model, "output", "rope_freqs", "blk."),
        "host": bytes_of(model, "token_embd"),
    }


def test_a_tied_embedding_is_copied_to_the_device_as_output_layer() -> None:
    model = shape(tied=True)
    assert weights(model).split(Placement(1))["gpu0"] == bytes_of(model, "output_norm", "token_embd")


def test_an_encoder_s_embedding_is_not_copied() -> None:
    model = shape("bert", tied=True)
    assert weights(model).split(Placement(ALL))["gpu0"] == bytes_of(model, "output_norm", "rope_freqs", "blk.")


@pytest.mark.parametrize(
    ("architecture", "name", "layer"),
    [
        ("gemma4", "per_layer_model_proj.weight", 0),
        ("gemma3n", "per_layer_proj_norm.weight", 0),
        ("bloom", "token_embd_norm.bias", 0),
        ("hrm_text", "hrm.z_l_init", 0),
        ("lfm2", "token_embd_norm.weight", N_LAYER),
        ("gemma3n", "altup_unembd_proj.weight", N_LAYER),
        ("bert", "cls.output.weight", N_LAYER),
        ("t5", "dec.blk.2.attn_q.weight", 2),
        ("t5", "enc.blk.1.attn_rel_b.weight", 1),
        ("gemma4", "per_layer_token_embd.weight", None),
        ("bert", "token_types.weight", None),
    ],
)
def test_a_tensor_outside_the_blocks_goes_where_llama_cpp_has_it(
    architecture: str, name: str, layer: int | None
) -> None:
    """It moves to the device with that layer; None is the input, which stays on the host."""
    tensor = TensorSpec(name, (N_EMBD, N_EMBD), "Q8_0")
    without, model = shape(architecture), shape(architecture, more=[tensor])
    for n_gpu_layers in range(ALL + 1):
        is_there = layer is not None and layer > N_LAYER - n_gpu_layers
        more = (
            weights(model).split(Placement(n_gpu_layers))["gpu0"]
            - weights(without).split(Placement(n_gpu_layers))["gpu0"]
        )
        assert more == (tensor.n_bytes if is_there else 0)


def test_what_is_read_lazily_is_mapped_apart() -> None:
    lazy = TensorSpec("per_layer_token_embd.weight", (N_EMBD, N_EMBD), "Q8_0")
    model = shape("gemma4", more=[lazy, TensorSpec("per_layer_proj_norm.weight", (N_EMBD,), "F32")])
    home = TensorPlacement(lazy.n_bytes, is_lazy=True)
    held = weights(model, **{lazy.name: home})
    assert held.split(Placement(ALL))["host"] == bytes_of(model, "token_embd")
    assert held.split(Placement(0))["host"] == model.file_bytes + lazy.n_bytes  # it lies within the other mapping, too


def test_more_layers_than_there_are_is_all_of_them() -> None:
    assert weights(shape()).split(Placement(999)) == weights(shape()).split(Placement(ALL))


def test_without_a_device_the_whole_file_is_mapped() -> None:
    model = shape()
    assert weights(model).split(Placement(0)) == {"gpu0": 0, "host": model.file_bytes}


def test_the_mapped_range_spans_what_lies_between() -> None:
    """The embedding is first in the file and layer 0 next: with two layers on the host all between them is mapped."""
    model = shape()
    assert weights(model).split(Placement(ALL - 1))["host"] == bytes_of(
        model, "token_embd", "blk.0.", "rope_freqs"
    ) + bytes_of(model, "blk.1.", "blk.2.", "blk.3.", "output_norm")


def test_repacked_tensors_are_copies_beside_the_mapped_file() -> None:
    model = shape()
    name = "blk.0.attn_q.weight"
    copy_bytes = bytes_of(model, name)
    repacked = weights(model, **{name: TensorPlacement(copy_bytes, ("CPU_REPACK",))})
    assert repacked.split(Placement(0))["host"] == model.file_bytes + copy_bytes
    assert repacked.split(Placement(ALL))["host"] == bytes_of(model, "token_embd")


def test_a_tied_embedding_may_be_repacked_as_output_layer() -> None:
    model = shape(tied=True)
    size_bytes = bytes_of(model, "token_embd")
    embedding = TensorPlacement(size_bytes, ("CPU", "CPU_REPACK"), is_duplicated=True)
    repacked = weights(model, **{"token_embd.weight": embedding})
    assert repacked.split(Placement(0))["host"] == model.file_bytes + size_bytes
    on_device = repacked.split(Placement(1))
    assert on_device == {"gpu0": size_bytes + bytes_of(model, "output_norm"), "host": on_device["host"]}


def test_the_device_s_own_padding_counts() -> None:
    padded = weights(shape(), **{"output.weight": TensorPlacement(10**6)})
    assert padded.split(Placement(1))["gpu0"] == 10**6 + bytes_of(shape(), "output_norm")


def test_tensors_that_llama_cpp_does_not_load_take_nothing() -> None:
    model = shape()
    inventory = TensorInventory.plain(model)
    homes = {name: home for name, home in inventory.tensors.items() if not name.startswith("blk.3.")}
    assert Weights(model, replace(inventory, tensors=homes)).split(Placement(2))["gpu0"] == bytes_of(
        model, "output", "rope_freqs"
    )


@pytest.mark.parametrize("n_layers", [1, 2, N_LAYER])
def test_experts_or_other_feed_forward_tensors_of_the_first_layers_stay_on_the_host(n_layers: int) -> None:
    model, layers = shape(more=FEED_FORWARD), range(n_layers)
    held = weights(model)
    on_device = held.split(Placement(ALL))["gpu0"]
    experts = bytes_of(model, *(f"blk.{layer}.ffn_up_exps" for layer in layers))
    dense = bytes_of(model, *(f"blk.{layer}.ffn_{name}." for layer in layers for name in ("gate", "down")))
    for placement, kept in (
        (Placement(ALL, n_cpu_moe=n_layers), experts),
        (Placement(ALL, n_cpu_ffn=n_layers), dense),
        (Placement(ALL, n_cpu_moe=n_layers, n_cpu_ffn=n_layers), experts + dense),
    ):
        assert held.split(placement)["gpu0"] == on_device - kept
        assert held.used(placement)["host"].n_bytes == kept


def test_overridden_tensors_stay_on_the_host_also_those_of_no_layer() -> None:
    model = shape(more=FEED_FORWARD)
    held = weights(model)
    on_device = held.split(Placement(ALL))["gpu0"]
    for pattern, names in (
        (r"blk[.][01][.]ffn_up", ("blk.0.ffn_up", "blk.1.ffn_up")),
        ("^output[.]", ("output.",)),
        ("rope_freqs", ("rope_freqs",)),
    ):
        overridden = held.split(Placement(ALL, tensor_overrides=(f"{pattern}=CPU",)))
        assert overridden["gpu0"] == on_device - bytes_of(model, *names)
    tied = shape(tied=True)
    overridden = weights(tied).split(Placement(ALL, tensor_overrides=("token_embd=CPU",)))
    assert overridden["gpu0"] == weights(tied).split(Placement(ALL))["gpu0"] - bytes_of(tied, "token_embd.")


def test_the_options_keep_what_llama_cpp_s_patterns_match() -> None:
    """common/common.h, llm_ffn_block_regex; ffn_norm, ffn_gate_inp and shared experts are in neither."""
    patterns = Placement(ALL, n_cpu_moe=1, n_cpu_ffn=1).host_tensors
    names = ("ffn_up_exps", "ffn_gate_up_exps", "ffn_down", "ffn_gate_inp", "ffn_norm", "ffn_up_shexp", "attn_q")
    matched = [[name for name in names if re.search(each, f"blk.0.{name}.weight")] for each in patterns]
    assert matched == [["ffn_up_exps", "ffn_gate_up_exps"], ["ffn_down"]]


def test_each_part_of_a_split_model_is_mapped_apart() -> None:
    model = shape()
    last = model.tensors[-1]
    split = replace(model, tensors=(*model.tensors[:-1], replace(last, file=1)))
    assert weights(split).split(Placement(0))["host"] == model.file_bytes
    assert weights(split).split(Placement(1))["host"] == model.file_bytes - last.n_bytes


@pytest.mark.parametrize("tied", [False, True])
def test_a_pass_uses_the_same_weights_wherever_they_are(tied: bool) -> None:
    model = shape(tied=tied)
    for n_gpu_layers in range(N_LAYER + 2):
        used = weights(model).used(Placement(n_gpu_layers))
        assert sum(each.n_bytes for each in used.values()) == bytes_of(model, "blk.")
        output = bytes_of(model, "token_embd") if tied else bytes_of(model, "output.weight")
        norm = bytes_of(model, "output_norm")
        assert sum(each.output_bytes for each in used.values()) == output + norm
        assert (used["host"].output_bytes == 0) == (n_gpu_layers > 0)


def test_a_pass_uses_only_the_experts_that_a_token_is_routed_to() -> None:
    every, some = (
        weights(shape(expert_count=4, **keys)).used(Placement(0))["host"] for keys in ({}, {"expert_used_count": 1})
    )
    experts = bytes_of(shape(), "ffn_up_exps")
    assert every.n_bytes - some.n_bytes == experts * 3 / 4
    moved = weights(shape(expert_count=4, expert_used_count=1)).used(Placement(N_LAYER + 1, n_cpu_moe=N_LAYER))
    assert moved["host"].n_bytes == experts / 4
