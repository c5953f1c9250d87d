"""What a study hands to its search and to the worker processes."""

from dataclasses import replace

from layertune.config import StudyConfig
from layertune.config.dimension import dimension_values
from layertune.config.objective import AT_DEPTH, with_floors
from layertune.results.study_info import GENERATION_WORDS
from layertune.search.schedule import Schedule
from layertune.search.task import SearchTask
from layertune.settings import LEFT_OUT
from layertune.study.facts import StudyFacts
from layertune.study.file_quality import reference_files
from layertune.study.hardware_info import hardware_info
from layertune.trial.effort import Effort
from layertune.trial.process_runner import TrialContext
from layertune.units import GIB

_ADDED = {"n_cpu_moe": 0, **LEFT_OUT}

# A context is long if it holds more than so many workloads: half of it is then more than twice as deep as the workload,
# and both turns fit behind the half.
LONG = 4

# What all models together may take of `search.trial_timeout` to fill their contexts. The trial also needs the rest.
_SHARE_OF_TIMEOUT = 0.5


def task_of(study: StudyFacts) -> SearchTask:
    """Return what the search is given."""
    search = study.config.search
    return SearchTask(
        name=study.config.name,
        space=study.space,
        objectives=study.objectives,
        limits=study.limits,
        identity=identity_of(study),
        sampler=search.sampler,
        seed=study.config.seed,
        n_trials=search.n_trials,
        early_stop=search.early_stop,
        timeout_s=search.timeout,
        initial_design=study.initial_design,
        feasible=study.feasible,
        baselines=frozenset(
            study.space.canonical(each.settings) for each in study.baselines if each.settings is not None
        ),
        floors=study.config.resolved_floors(),
        weights=study.config.resolved_weights(),
        reference_files=reference_files(study.config, study.quality),
        prior=study.prior,
        workloads={name: model.workload for name, model in study.config.models.items()},
        schedule=schedule_of(study),
    )


def trial_context(study: StudyFacts) -> TrialContext:
    """Return what a worker process needs to run a trial."""
    models = study.config.models
    return TrialContext(
        target=study.target,
        paths={key: str(path) for key, path in study.config.paths.items()},
        workloads={name: (model.workload.n_prompt, model.workload.n_generate) for name, model in models.items()},
        seed=study.config.seed,
        trial_timeout_s=study.config.search.trial_timeout,
        files=tuple(study.files.values()),
    )


def schedule_of(study: StudyFacts) -> Schedule:
    """Return how much the search measures, and what it measures again."""
    measurement, finals = study.config.measurement, study.config.finals
    sought = with_floors(study.config.resolved_objectives(), study.config.resolved_floors())
    sought_together = any(each.quantity == "tokens_per_s_together" for each in sought)
    sought_at_depth = {each.subject: None for each in sought if each.quantity in AT_DEPTH}
    effort = Effort(
        measurement.min_repeats,
        measurement.max_repeats,
        measurement.target_spread,
        measurement.warm_up,
        repeat_together=sought_together,
        together=sought_together or finals.max_rounds == 0,  # the finals measure it for the picks
        max_s=measurement.max_time,
        at_depth=sought_at_depth,
    )
    again = replace(
        effort,
        min_repeats=finals.n_repeats,
        max_repeats=finals.n_repeats,
        target_spread=finals.target_spread,
        together=True,
        n_beside_prefill=1,
        at_depth={**long_contexts(study.config), **sought_at_depth},
    )
    return Schedule(
        effort=effort,
        n_attempts=measurement.max_attempts,
        reference=study.reference,
        n_between=measurement.reference_every,
        n_rounds=finals.max_rounds,
        n_finalists=finals.max_finalists,
        n_confirming=finals.confirming_rounds,
        finals_effort=again,
        n_rounds_beside=finals.beside_prefill,
        n_rounds_at_depth=finals.at_depth,
    )


def long_contexts(config: StudyConfig) -> dict[str, float]:
    """Return the models whose context is long for their workload, and how long filling it may take in seconds."""
    largest = {
        name: max(dimension_values(model.space.n_ctx))
        // (1 if "on" in dimension_values(model.space.kv_unified) else model.n_parallel)
        for name, model in config.models.items()
    }
    long = [
        name
        for name, model in config.models.items()
        if model.workload.n_generate > 0 and largest[name] > LONG * model.workload.n_tokens
    ]
    return {name: config.search.trial_timeout * _SHARE_OF_TIMEOUT / len(long) for name in long}


def identity_of(study: StudyFacts) -> dict[str, str]:
    """Return everything that must be equal for two trials to be comparable, as text for error messages."""
    hardware, build = hardware_info(study.target, study.machine), study.build
    device = hardware.device
    threads = f", {study.target.n_threads} threads" if study.target.n_threads else ""
    identity = {
        "cpu": f"{hardware.cpu.model}, {hardware.cpu.n_cores} cores",
        "ram": f"{hardware.ram_bytes // GIB} GiB",
        "device": f"{device.kind} {device.name}, {device.vram_bytes} bytes{threads}, driver {device.driver}",
        "llama.cpp": f"{build.version} {build.commit}, {build.system_info}",
        "budget": f"{' + '.join(map(str, study.limits.vram)) or None} bytes, margin {study.limits.margin_bytes}",
        "RAM per model": f"{study.limits.ram_per_model_bytes} bytes",
        "processes": f"{study.limits.n_processes}",
        "objectives": ", ".join(objective.name for objective in study.objectives),
        "measurement": study.config.measurement.model_dump_json(
            exclude={"reference_every", "max_attempts", "max_time"}
        ),
        "finals": f"{study.config.finals.n_repeats} repetitions a round",
        "a generated token": GENERATION_WORDS["sampled"],
    }
    if study.config.floors:
        identity["floors"] = ", ".join(map(str, study.config.resolved_floors()))
    for key, files in study.files.items():
        identity[f"model {key}"] = " ".join(files.sha256())
    for name, model in study.config.models.items():
        identity[f"workload {name}"] = f"{model.workload.n_prompt} + {model.workload.n_generate} tokens" + (
            f", {model.pooling} pooling" if model.pooling else ""
        )
    for dimension in study.space.dimensions:
        if dimension.values == (_ADDED.get(dimension.field),):
            continue  # studies of before this dimension was there can go on
        identity[dimension.name] = " ".join(str(value) for value in dimension.values)
    return identity
