"""The best setting before anything is measured: by the memory plan, and speeds expected from bandwidth."""

from collections.abc import Mapping
from dataclasses import dataclass

from layertune.config import Floor
from layertune.errors import LayertuneError
from layertune.results.picks import EQUAL
from layertune.settings import SplitSettings
from layertune.study.bandwidth_model import MachineRates
from layertune.study.expected_speeds import Expected
from layertune.study.facts import StudyFacts


@dataclass(frozen=True, slots=True)
class Recommendation:
    """The setting to start with, before anything is measured.

    Attributes:
        best: The recommended setting.
        baselines: What other tools would choose, and the config's own baselines, by name; None where a rule gives no
            setting.
        rates: For people: the bandwidths that the speeds are expected from.
        missed_floors: Floors that no setting is expected to reach together; they did not count.
        machine: How fast this machine is, by which the speeds are expected. If it is None, not known, the setting has
            the largest share of the models' weights on the device.
    """

    best: Expected
    baselines: Mapping[str, Expected | None]
    rates: tuple[str, ...]
    missed_floors: tuple[Floor, ...]
    machine: MachineRates | None

    @property
    def by_speed(self) -> bool:
        """Whether it was chosen by expected speeds."""
        return self.machine is not None

    @property
    def settings(self) -> SplitSettings:
        """The recommended setting."""
        return self.best.settings


def recommend(study: StudyFacts) -> Recommendation:
    """Return the setting with the best expected speeds among those that fit. No model is loaded.

    Raises:
        NothingFits: no setting fits the budget.
        LayertuneError: llama.cpp cannot plan these models.
    """
    feasible, found, engines = study.feasible, study.rates, study.expected_engines
    if feasible is None or engines is None:
        raise LayertuneError(
            "llama.cpp cannot plan the memory of these models, so nothing can be recommended",
            remedy="layertune search measures them",
        )
    feasible.check()
    floors, weights = study.config.resolved_floors(), study.config.resolved_weights()
    settings = engines.best(floors, weights)
    missed: tuple[Floor, ...] = ()
    if settings is None:
        missed, settings = tuple(floors), engines.best((), EQUAL)
    if settings is None:  # `check` found one
        raise LayertuneError("no setting fits")
    return Recommendation(
        engines.expected(settings),
        {each.name: None if each.settings is None else engines.expected(each.settings) for each in study.baselines},
        found.how,
        missed,
        found.rates,
    )
