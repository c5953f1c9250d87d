"""Watches a trial while it runs: says why it takes long, and ends one that is far slower than expected."""

from collections.abc import Callable, Mapping

from layertune.devices.host import n_usable_cores
from layertune.devices.host_watch import HostWatch
from layertune.trial.messages import Stage
from layertune.units import format_duration

# A setting that is merely bad is within the model's uncertainty, and a core shared with one other program halves the
# speed. Threads that wait for a core at every barrier made a trial 5 to 20 times slower.
_CUT_FACTOR = 8.0
# A short workload may wait that long for a disk or a suspended laptop.
_LEAST_CUT_S = 10.0
_BUSY_CORES = 0.5


class TrialWatch:
    """Watches one trial from the search's process; it takes no time while the trial runs as expected."""

    def __init__(
        self, slowest_s: Mapping[str, float], patience_s: float, oversubscribed: str | None, say: Callable[[str], None]
    ) -> None:
        """Start the watch.

        Args:
            slowest_s: By model, the longest that one run of its workload may take; a model without it is not cut short.
            patience_s: The seconds after which the trial is said to take long; said again whenever they have doubled.
            oversubscribed: A sentence fragment if the trial has more threads than the machine has cores.
            say: Called with a sentence about a trial that takes long.
        """
        self._slowest_s = slowest_s
        self._patience_s = patience_s
        self._oversubscribed = oversubscribed
        self._say = say
        self._host = HostWatch(0)
        self._host.start()

    def check(self, stage: Stage, stage_s: float, trial_s: float) -> str | None:
        """Return why the trial must end now, or None.

        Args:
            stage: What the worker does.
            stage_s: For how long it has done that.
            trial_s: For how long the trial has run.
        """
        expected_s = self._slowest_s.get(stage.model or "") if stage.name == "solo" else None
        if expected_s is not None and stage_s > max(_CUT_FACTOR * expected_s, _LEAST_CUT_S):
            return (
                f"cut short: one workload of {stage.model} ran {format_duration(stage_s)}, and at most "
                f"{format_duration(expected_s)} were expected{self._causes()}"
            )
        if trial_s >= self._patience_s:
            self._patience_s *= 2
            self._say(f"this trial takes long: {format_duration(trial_s)}, now at {stage.words()}{self._causes()}")
        return None

    def _causes(self) -> str:
        use = self._host.use()
        causes = [] if self._oversubscribed is None else [self._oversubscribed]
        taken = (use.foreign_cpu_s or 0.0) / max(use.window_s, 1e-9)
        if taken >= _BUSY_CORES:
            causes.append(f"other programs use {taken:.1f} of {n_usable_cores()} cores")
        return "".join(f"; {cause}" for cause in causes)
