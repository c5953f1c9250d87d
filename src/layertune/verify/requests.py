"""Outcomes of the requests of one phase, and their statistics."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from statistics import median


@dataclass(frozen=True, slots=True)
class Percentiles:
    """Percentiles of samples, in their unit."""

    p50: float
    p95: float
    p99: float

    @classmethod
    def of(cls, samples: Sequence[float]) -> "Percentiles | None":
        """Return the percentiles of the samples, None without samples."""
        if not samples:
            return None
        in_order = sorted(samples)
        return cls(*(percentile(in_order, percent) for percent in (50, 95, 99)))


def percentile(in_order: Sequence[float], percent: int) -> float:
    """Return the smallest sample that at least `percent` of all samples do not exceed (nearest rank).

    The value is always a measured one. With fewer than a hundred samples the 99th percentile is the largest.
    """
    return in_order[ceil(len(in_order) * percent / 100) - 1]


@dataclass(frozen=True, slots=True)
class Answered:
    """A request that was answered, timed by the client.

    A server sends a token only when its characters are complete, so one piece of text can hold several tokens.

    Attributes:
        started_s: seconds from the start of the phase to the request.
        ttft_s: from the request to the first text, including the wait for a free slot; None if no text came.
        tpot_s: time between the first and the last text, per token between them; None with a single text.
        duration_s: from the request to the end of the answer.
        n_generated: tokens of the answer.
        n_first: tokens that came with the first text, usually one.
        n_reused: prompt tokens that the server took from its cache; None if it does not report that.
    """

    started_s: float
    ttft_s: float | None
    tpot_s: float | None
    duration_s: float
    n_generated: int
    n_first: int = 1
    n_reused: int | None = None

    def tokens_per_s(self) -> float | None:
        """Return the output rate by the study's formula, n / (TTFT + n · TPOT); None without TTFT or TPOT.

        The formula counts one step per token. The request takes one step fewer, since the first token comes with the
        prompt.
        """
        if self.ttft_s is None or self.tpot_s is None:
            return None
        n_more = self.n_generated - (self.n_first - 1)
        return self.n_generated / (self.ttft_s + n_more * self.tpot_s)


@dataclass(frozen=True, slots=True)
class Failed:
    """A request without a complete answer, and why."""

    started_s: float
    why: str


RequestOutcome = Answered | Failed


@dataclass(frozen=True, slots=True)
class Phase:
    """All requests of one phase, by model. `wall_s` is the time until the last one ended."""

    name: str
    n_streams: int
    wall_s: float
    outcomes: Mapping[str, Sequence[RequestOutcome]]

    def answered(self, model: str) -> list[Answered]:
        return [each for each in self.outcomes[model] if isinstance(each, Answered)]

    def failures(self) -> dict[str, int]:
        """Return the number of failed requests for each model and reason."""
        return dict(
            Counter(
                f"{model}: {each.why}"
                for model, outcomes in self.outcomes.items()
                for each in outcomes
                if isinstance(each, Failed)
            )
        )

    def rates(self, model: str) -> list[float]:
        """Return the output rate of each answered request, in tokens/s."""
        return [rate for each in self.answered(model) if (rate := each.tokens_per_s()) is not None]

    def stats(self, model: str) -> "PhaseStats":
        answered, rates = self.answered(model), self.rates(model)
        n_tokens = sum(each.n_generated for each in answered)
        own_s = max((each.started_s + each.duration_s for each in answered), default=0.0)
        return PhaseStats(
            n_answered=len(answered),
            n_failed=len(self.outcomes[model]) - len(answered),
            n_tokens=n_tokens,
            throughput_tokens_per_s=n_tokens / own_s if own_s > 0 else 0.0,
            tokens_per_s=median(rates) if rates else None,
            ttft_s=Percentiles.of([each.ttft_s for each in answered if each.ttft_s is not None]),
            tpot_s=Percentiles.of([each.tpot_s for each in answered if each.tpot_s is not None]),
            n_reused=sum(each.n_reused or 0 for each in answered),
        )


@dataclass(frozen=True, slots=True)
class PhaseStats:
    """Statistics of one model in one phase.

    `throughput_tokens_per_s` is all generated tokens divided by the time from the start of the phase to the end of this
    model's last answer. `tokens_per_s` is the median of `Answered.tokens_per_s`, None if no request was answered.
    """

    n_answered: int
    n_failed: int
    n_tokens: int
    throughput_tokens_per_s: float
    tokens_per_s: float | None
    ttft_s: Percentiles | None
    tpot_s: Percentiles | None
    n_reused: int
