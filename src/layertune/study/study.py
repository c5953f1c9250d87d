"""The library's door: open a study, then estimate, recommend or search. The commands do the same."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from layertune.config import CONFIG_NAME, StudyConfig, load_config
from layertune.config.threads import with_default_threads
from layertune.devices.cores import this_cores
from layertune.devices.host import this_machine
from layertune.regular_files import is_there
from layertune.settings import SplitSettings
from layertune.space.limits import Limits
from layertune.space.search_space import SearchSpace
from layertune.study.auto_space import with_auto_spaces
from layertune.study.balanced_splits import with_balanced_splits
from layertune.study.default_budget import with_default_budget, with_recorded_budget
from layertune.study.estimate import Estimate, estimate
from layertune.study.facts import StudyFacts, ignore
from layertune.study.kinds import with_kinds
from layertune.study.models_on_device import models_of
from layertune.study.trained_context import with_trained_context

if TYPE_CHECKING:  # slower to import than an estimate takes
    from layertune.results.result import Result
    from layertune.sampler.posterior import Observation
    from layertune.search.task import Event
    from layertune.study.recommendation import Recommendation


class Study(StudyFacts):
    """A study that can be estimated and searched; see `open_study`."""

    def estimate(self, settings: SplitSettings | None = None) -> Estimate:
        """Return what settings take of each device, and whether they fit. Nothing is loaded.

        Args:
            settings: by model; without them those of the config, where of several values the first counts, and of
                n_gpu_layers the largest.

        Raises:
            BuildError: llama.cpp cannot load a model.
        """
        return estimate(self.config, self.models, settings)

    def recommend(self) -> "Recommendation":
        """Return the best setting by memory plan and bandwidth, next to the baselines. Nothing is loaded or measured
        but the speed of the memory.

        Raises:
            NothingFits: no setting fits the budget.
            LayertuneError: llama.cpp cannot plan these models.
        """
        from layertune.study.recommendation import recommend

        return recommend(self)

    def search(
        self,
        folder: Path | None = None,
        *,
        storage: str | None = None,
        resume: bool = False,
        on_event: "Callable[[Event], None]" = ignore,
    ) -> "Result":
        """Measure settings until the search stops, and return the result. Every finished trial is kept in `folder`.

        Args:
            folder: where the study keeps its trials and writes `.env`, `result.json` and the report; without it
                `studies/NAME`.
            storage: the URL of a database that several machines share, instead of the folder's journal.
            resume: go on with the study that the folder holds.
            on_event: called with each event of `layertune.search.task`.

        Raises:
            UsageError: the folder holds a study already, or its trials are in another storage.
            StudyMismatch: the study was made with other models, settings or hardware.
            NothingFits: no setting fits the budget.
            StorageError: a trial cannot be written.
            ModelFileError: a model file was replaced or deleted; every finished trial is kept.
            Interrupted: Ctrl-C; every finished trial is kept.
        """
        from layertune.study.file_quality import check_quality, measure_files, measured_models
        from layertune.study.quality_objectives import without_worse
        from layertune.study.searching import search, write_first

        folder = folder or self.default_folder
        if resume and (config := self._resumed(folder)) != self.config:
            return open_study(config, self.notify).search(folder, storage=storage, resume=True, on_event=on_event)
        study: StudyFacts = self
        check_quality(self.config)
        if measured_models(self.config):
            write_first(self, folder, storage, resume=resume)
        if quality := measure_files(self):
            study = replace(open_study(without_worse(self.config, quality, self.notify), self.notify), quality=quality)
        return search(study, folder, storage=storage, resume=resume, on_event=on_event)

    def _resumed(self, folder: Path) -> StudyConfig:
        """Return the config to resume the study in `folder` with: other memory may be free than when it was begun."""
        if not self.has_default_budget or not is_there(folder / CONFIG_NAME):
            return self.config
        as_written = self.config.model_copy(update={"budget": self.config.budget.model_copy(update={"vram": None})})
        resumed = with_recorded_budget(as_written, load_config(folder / CONFIG_NAME))
        return self.config if resumed.budget.vram is None else resumed


def open_study(config: StudyConfig, notify: Callable[[str], None] = ignore, *, shared: bool = False) -> Study:
    """Read the models' headers and find the device.

    Args:
        config: of `load_config`, `parse_config`, or made in Python.
        notify: called with a sentence when something takes long or cannot be had.
        shared: whether other machines search the same study, in one storage.

    Raises:
        ModelFileError: a model cannot be read, or llama-server does not run it.
        DeviceError: the device is not here, or nothing is free of it.
        ResultFileError, ConfigError: `search.warm_start` leads to no study of these models.
        ConfigError: a context is larger than what its model was trained with or too small for the workload, or an
            embedding model has settings that it cannot have.
    """
    machine = this_machine()
    cores = this_cores()
    config = with_default_threads(config, cores.n_compute, cores.n_processors)
    models = models_of(config)
    config = with_trained_context(with_kinds(config, models.shapes), models.shapes)
    has_default_budget = models.target.kind == "gpu" and config.budget.vram is None
    if has_default_budget:
        config = with_default_budget(config, models.target, notify, shared=shared)
    config, space_notes = with_auto_spaces(config, models)
    config = with_balanced_splits(config, models.shapes, models.budgets_bytes(config))
    space = SearchSpace.of(
        config,
        {name: shape.n_layer for name, shape in models.shapes.items()},
        n_threads=config.host.n_cpus_of(machine.n_cores),
        offloads=models.target.kind != "cpu",
        capacities=models.budgets_bytes(config),
    )
    limits = Limits(
        vram=models.vram_bytes(config),
        margin_bytes=config.budget.margin,
        ram_per_model_bytes=config.host.ram_per_model,
        n_processes=models.n_processes,
        file_bytes={name: shape.file_bytes for name, shape in models.shapes.items()},
        shares_ram=any(device.shares_ram for device in models.target.devices),
    )
    warm_start = config.search.warm_start
    prior: Mapping[str, Sequence[Observation]] = {}
    if warm_start is not None:
        from layertune.study.prior import read_prior

        prior = read_prior(warm_start, models.shapes)
    return Study(
        config, machine, models, space, limits, prior, notify, space_notes, has_default_budget=has_default_budget
    )
