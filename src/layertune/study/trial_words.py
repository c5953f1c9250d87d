"""A trial in words, as a search shows it while it runs."""

from layertune.results.statistics import Metric
from layertune.results.trial_summary import reason
from layertune.results.trials import FinishedTrial
from layertune.settings import DEFAULTS, KEPT_ON_HOST, SWITCHES, SplitSettings
from layertune.space.limits import Limits
from layertune.trial.outcome import Failed, Infeasible, Measured
from layertune.units import format_bytes


def trial_line(trial: FinishedTrial, limits: Limits) -> str:
    """Return a trial's settings, speeds and peak memory in one line, or why it was not measured."""
    outcome = trial.outcome
    if not isinstance(outcome, Measured):
        return f"trial {trial.number}: {layers(trial.settings)}  {outcome.state}: {why(outcome)}"
    speeds = "  ".join(
        f"{name} {Metric.of(report.samples.tokens_per_s).median:.1f} tok/s" for name, report in outcome.models.items()
    )
    over = [f"{format_bytes(round(excess))} over {name}" for name, excess in trial.violations.items() if excess > 0]
    return ", ".join([f"trial {trial.number}: {layers(trial.settings)}  {speeds}{_vram(outcome, limits)}", *over])


def _vram(outcome: Measured, limits: Limits) -> str:
    """Say the trial's peak, and what processes of their own will take where that is more."""
    if outcome.vram is None:
        return ""
    peak_bytes, deployed_bytes = outcome.vram.peak_bytes, sum(limits.deployed(outcome))
    deployed = f" ({format_bytes(deployed_bytes)} in {limits.n_processes} processes)"
    return f"  {format_bytes(peak_bytes)}{deployed if deployed_bytes > peak_bytes else ''}"


def why(outcome: Infeasible | Failed) -> str:
    """Return why a trial was not measured."""
    if isinstance(outcome, Infeasible) and outcome.excess_bytes is not None:
        return f"{outcome.stage} {outcome.model or ''} refused, {format_bytes(outcome.excess_bytes)} too many"
    return reason(outcome) or ""


def without_figures(remark: str) -> str:
    """Return what a remark has in common with those of other trials: other programs take different shares each time."""
    return remark.partition(" took ")[0] if remark.startswith("disturbed: ") else remark


def layers(settings: SplitSettings) -> str:
    """Return each model's layers on the device, what of them stays on the host, and its batch."""
    return " ".join(
        f"{name} ngl={engine.n_gpu_layers}"
        + "".join(f" {kept}={n}" for kept in KEPT_ON_HOST if (n := getattr(engine, kept)))
        + "".join(f" {switch}={now}" for switch in SWITCHES if (now := getattr(engine, switch)) != DEFAULTS[switch])
        + (" -ot" if engine.tensor_overrides else "")
        + f" b={engine.n_batch}"
        for name, engine in settings.items()
    )
