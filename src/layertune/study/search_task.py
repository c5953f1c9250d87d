"""What a study hands to its search and to the worker processes."""

from dataclasses import replace

from layertune.config.objective import with_floors
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
    sought_together = any(
        each.quantity == "tokens_per_s_together"
        for each in with_floors(study.config.resolved_objectives(), study.config.resolved_floors())
    )
    effort = Effort(
        measurement.min_repeats,
        measurement.max_repeats,
        measurement.target_spread,
        measurement.warm_up,
        repeat_together=sought_together,
        together=sought_together or finals.max_rounds == 0,  # the finals measure it for the picks
        max_s=measurement.max_time,
    )
    again = replace(
        effort,
        min_repeats=finals.n_repeats,
        max_repeats=finals.n_repeats,
        target_spread=finals.target_spread,
        together=True,
        n_beside_prefill=1,
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
    )


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
