"""What each model of a study is for, and what follows from it for embedding and reranking models.

They generate nothing, so their workload is a prompt. llama-server computes an input of an encoder, or of one that is
pooled over all tokens, in a single physical batch, and refuses longer inputs (tools/server, `can_split`).
"""

from collections.abc import Mapping, Sequence
from typing import Any

from layertune.config import ModelConfig, StudyConfig, Workload, dimension_values
from layertune.config.model_config import TRAINED
from layertune.config.objective import GENERATED
from layertune.errors import ConfigError
from layertune.models import ModelShape, is_causal, model_pooling
from layertune.pooling import kind_of
from layertune.settings import N_CTX_PADDING, variant
from layertune.units import pad


def with_kinds(config: StudyConfig, shapes: Mapping[str, ModelShape]) -> StudyConfig:
    """Return the config with the kind and the pooling of each embedding and reranking model, and with a workload and
    batches that fit them.

    Args:
        config: As the user wrote it.
        shapes: Each model's shape, by `variant`.

    Raises:
        ModelFileError: llama-server does not run a model, or not for what the config names.
        ConfigError: the config has what such a model cannot do.
    """
    models = {
        name: _with_kind(name, model, [shapes[variant(name, file)] for file in model.paths])
        for name, model in config.models.items()
    }
    for objective in (*config.resolved_objectives(), *(floor.objective for floor in config.resolved_floors())):
        model = models.get(objective.subject)
        if model is not None and model.pooling and objective.quantity in GENERATED:
            raise ConfigError(
                f"{objective.name}: {objective.subject} is an {model.kind} model, which generates no tokens",
                remedy=f"write {objective.subject}.tokens_per_s, which counts its prompt tokens",
            )
    return config.model_copy(update={"models": models})


def _with_kind(name: str, model: ModelConfig, shapes: Sequence[ModelShape]) -> ModelConfig:
    poolings = {model_pooling(shape, model.kind) for shape in shapes}
    if len(poolings) > 1:
        raise ConfigError(
            f"models.{name}: its files have several poolings: {', '.join(each or 'none' for each in sorted(poolings))}",
            remedy="make them models of their own",
        )
    (pooling,) = poolings
    if not pooling:
        if model.pooling or not model.workload.n_generate:
            raise ConfigError(
                f"models.{name} generates text: it has no pooling, and n_generate is at least 2",
                remedy=f'leave them out, or write models.{name}.kind = "embedding"',
            )
        return model
    pooling = model.pooling or pooling
    kind = kind_of(pooling)
    if model.kind not in (None, kind):
        raise ConfigError(
            f"models.{name}: an {model.kind} model is not pooled with {pooling}", remedy="leave pooling out"
        )
    written = model.workload
    if written.n_generate and "n_generate" in written.model_fields_set:
        raise ConfigError(f"models.{name}: an {kind} model generates nothing", remedy="leave n_generate out")
    longest = min(shape.n_ctx_train for shape in shapes)
    n_prompt = written.n_prompt if "n_prompt" in written.model_fields_set else min(written.n_prompt, longest)
    splits = pooling in ("last", "rank") and all(map(is_causal, shapes))
    space = _batches(name, model, n_prompt, longest, splits=splits)
    update = {"kind": kind, "pooling": pooling, "workload": Workload(n_prompt=n_prompt, n_generate=0)}
    return model.model_copy(update=update | {"space": model.space.model_copy(update=space)})


def _batches(name: str, model: ModelConfig, n_prompt: int, longest: int, *, splits: bool) -> dict[str, Any]:
    """Return n_ctx, n_ubatch and n_batch.

    Args:
        name: The model's name.
        model: Its config.
        n_prompt: The tokens of its workload.
        longest: What it was trained with.
        splits: Whether llama-server computes an input in several batches.
    """
    space, n_slots = model.space, model.n_parallel
    # An input that can be split is shorter than its slot (tools/server, "exceeds the available context size").
    least = min(pad(n_prompt + 1, N_CTX_PADDING), longest) if splits else n_prompt
    written = space.n_ctx if "n_ctx" in space.model_fields_set else least * n_slots
    contexts = [longest * n_slots if each == TRAINED else each for each in dimension_values(written)]
    slot = min(contexts) // n_slots
    if slot < n_prompt + splits:
        raise ConfigError(
            f"models.{name}: an input of {n_prompt} tokens needs a slot of {n_prompt + splits}, and n_ctx gives {slot}",
            remedy="raise n_ctx or lower n_prompt",
        )
    if not splits and len(contexts) > 1:
        raise ConfigError(
            f"models.{name}: llama-server computes each of its inputs in one physical batch, so n_ctx has one value",
            remedy=f"write the largest, {max(contexts)}",
        )
    default = min(512, slot) if splits else slot
    batches = dimension_values(space.n_ubatch) if "n_ubatch" in space.model_fields_set else [default]
    too_small = min(batches) < slot and not splits
    if too_small or max(batches) > min(contexts):
        raise ConfigError(
            f"models.{name}: n_ubatch is from {slot if not splits else 1} to {min(contexts)} for its n_ctx: an input "
            "is computed in one physical batch" * (not splits),
            remedy="leave n_ubatch out",
        )
    if "n_batch" in space.model_fields_set and dimension_values(space.n_batch) != batches:
        raise ConfigError(
            f"models.{name}: llama-server makes n_batch of an embedding or reranking model equal to n_ubatch",
            remedy="leave n_batch out",
        )
    one = len(batches) == 1
    return {
        "n_ctx": contexts if len(contexts) > 1 else contexts[0],
        "n_ubatch": batches[0] if one else batches,
        "n_batch": batches[0] if one else batches,
    }
