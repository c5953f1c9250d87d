"""One Modelfile per model, for ollama.

ollama starts llama-server itself and has parameters for some of its flags only (ollama, llm/llama_server.go). Comments
name the variables that ollama's server needs, and the settings without a parameter. If such a setting would change the
memory use, the export is refused.

A value is the text between the first and the last `"` of a line. ollama drops characters that are not printable
(parser/parser.go).
"""

from layertune.errors import UsageError
from layertune.export.flags import flash_attention
from layertune.export.header import comment
from layertune.export.paths import cannot_hold, model_path
from layertune.results.result import Result, TrialInfo
from layertune.settings import DEFAULTS, SWITCHES, TENSOR_OVERRIDES


def render_ollama(result: Result, trial: TrialInfo, models_dir: str) -> dict[str, str]:
    """Return the Modelfiles. Raises UsageError if they cannot hold a file name, or ollama cannot run the settings."""
    environment = f"{_environment(trial)}{_visible(result)}"
    return {
        f"{name}.Modelfile": "\n".join(
            [
                *comment(result, trial),
                "#",
                f"# ollama create {name} -f {name}.Modelfile",
                f"# Start ollama's server with: {environment} OLLAMA_MAX_LOADED_MODELS={len(result.models)}",
                *_differences(trial, name),
                f'FROM "{_path(result, name, models_dir)}"',
                *(f"PARAMETER {key} {value}" for key, value in _parameters(trial, name).items()),
            ]
        )
        + "\n"
        for name in result.models
    }


def _parameters(trial: TrialInfo, name: str) -> dict[str, int]:
    engine = trial.settings[name]
    return {
        "num_gpu": engine.n_gpu_layers,
        "num_ctx": engine.n_ctx_slot,
        "num_batch": engine.n_ubatch,  # sets both batches of llama-server; the physical one determines the memory
        "num_thread": engine.n_threads,
    }


def _differences(trial: TrialInfo, name: str) -> list[str]:
    """Return a comment for each setting that will differ from the measured one."""
    engine = trial.settings[name]
    lines = ["# NOT AS MEASURED: ollama has no --fit off, --cache-ram and --threads-batch"]
    if engine.n_batch != engine.n_ubatch:
        lines.append(f"# NOT AS MEASURED: --batch-size {engine.n_batch}; ollama has one for both batches")
    return lines


def _environment(trial: TrialInfo) -> str:
    """Return the variables of ollama's server, which apply to all models.

    Raises:
        UsageError: the models need different values, or ollama does not have a setting.
    """
    by_name: dict[str, set[str]] = {
        "OLLAMA_KV_CACHE_TYPE": {kind for each in trial.settings.values() for kind in (each.type_k, each.type_v)},
        "OLLAMA_NUM_PARALLEL": {str(each.n_parallel) for each in trial.settings.values()},
        "OLLAMA_FLASH_ATTENTION": {flash_attention(trial, name) for name in trial.settings},
    }
    for variable, values in by_name.items():
        if len(values) > 1:
            raise UsageError(
                f"trial {trial.number} cannot run in ollama: it has one {variable} for all models, "
                f"and the trial has {' and '.join(sorted(values))}",
                remedy="choose another pick or format",
            )
    for field in ("n_cpu_moe", "n_cpu_ffn", "tensor_split", "n_threads_batch", *SWITCHES, TENSOR_OVERRIDES):
        if any(getattr(each, field) != DEFAULTS[field] for each in trial.settings.values()):
            raise UsageError(
                f"trial {trial.number} cannot run in ollama: it has no setting for {field}",
                remedy="choose another pick or format",
            )
    flash = {"on": "1", "off": "0"}
    chosen = {variable: flash.get(value, value) for variable, (value,) in by_name.items()}
    if chosen["OLLAMA_FLASH_ATTENTION"] == "auto":
        del chosen["OLLAMA_FLASH_ATTENTION"]  # the default of ollama
    return " ".join(f"{variable}={value}" for variable, value in chosen.items())


def _visible(result: Result) -> str:
    """Return the variable that keeps ollama on the measured NVIDIA cards, with a blank before it; else nothing."""
    gpus = result.hardware.device.gpus or ()
    indices = [str(gpu.nvidia_index) for gpu in gpus if gpu.nvidia_index is not None]
    return f" CUDA_DEVICE_ORDER=PCI_BUS_ID CUDA_VISIBLE_DEVICES={','.join(indices)}" if indices else ""


def _path(result: Result, name: str, models_dir: str) -> str:
    path = model_path(result, name, models_dir)
    if not path.isprintable():
        raise cannot_hold(path, "a Modelfile", "characters that are not printable")
    return path
