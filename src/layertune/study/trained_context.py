"""Contexts compared with what the models were trained with.

llama-server gives no request more than that, and keeps the larger cache allocated (tools/server, "the slot context
exceeds the training context"). What counts is the header's context_length, also if the header has a rope scaling.
"""

from collections.abc import Mapping

from layertune.config import StudyConfig, dimension_values
from layertune.config.model_config import TRAINED
from layertune.errors import ConfigError
from layertune.models import ModelShape
from layertune.settings import variant


def with_trained_context(config: StudyConfig, shapes: Mapping[str, ModelShape]) -> StudyConfig:
    """Return the config with a number for each context that was written as 0.

    Args:
        config: as the user wrote it.
        shapes: each model's shape, by `variant`.

    Raises:
        ConfigError: a slot has more context than one of the model's files was trained with, or too little for the
            workload.
    """
    models = dict(config.models)
    for name, model in config.models.items():
        least = min((shapes[variant(name, file)] for file in model.paths), key=lambda shape: shape.n_ctx_train)
        most = least.n_ctx_train * model.n_parallel
        values = [most if n_ctx == TRAINED else n_ctx for n_ctx in dimension_values(model.space.n_ctx)]
        if max(values) > most:
            slots = f" in {model.n_parallel} slots" if model.n_parallel > 1 else ""
            raise ConfigError(
                f"models.{name}: n_ctx = {max(values)}{slots} is more than {least.files[0].name} was trained with, "
                f"{least.n_ctx_train} tokens a request; llama-server would not use the rest of it",
                remedy=f"write at most {most}, or 0 for that",
            )
        if model.workload.n_tokens > least.n_ctx_train:
            raise ConfigError(
                f"models.{name}: the workload needs {model.workload.n_tokens} tokens of context, and "
                f"{least.files[0].name} was trained with {least.n_ctx_train}",
                remedy="lower n_prompt and n_generate",
            )
        n_caches = model.n_parallel if "off" in dimension_values(model.space.kv_unified) else 1
        if model.workload.n_tokens > min(values) // n_caches:
            raise ConfigError(
                f"models.{name}: the workload needs {model.workload.n_tokens} tokens of context and the smallest "
                f"slot has {min(values) // n_caches}",
                remedy="raise n_ctx or lower n_prompt and n_generate",
            )
        written = values if isinstance(model.space.n_ctx, list) else values[0]
        models[name] = model.model_copy(update={"space": model.space.model_copy(update={"n_ctx": written})})
    return config.model_copy(update={"models": models})
