"""What became of the requests of one phase."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from layertune.verify.percentiles import Percentiles


@dataclass(frozen=True, slots=True)
class Answered:
    """One request by the client's clock. `started_s` counts from the start of its phase; TTFT runs from the call to the
    first text, so it has the wait for a free slot in it; TPOT is the time between the first and the last text over the
    tokens between them.

    A server holds a token back whose characters are not whole yet: `n_first` tokens came with the first text, one as a
    rule. Where all of an answer was held back there is no TTFT, and of a single text no TPOT. `n_reused` are prompt
    tokens that the server did not compute, None where it does not say.
    """

    started_s: float
    ttft_s: float | None
    tpot_s: float | None
    duration_s: float
    n_generated: int
    n_first: int = 1
    n_reused: int | None = None

    def tokens_per_s(self) -> float | None:
        """Return the output rate by the study's own formula, which counts a step for every token: n / (TTFT + n TPOT).

        The first token of an answer comes with its prompt, so a request itself makes one step fewer.
        """
        if self.ttft_s is None or self.tpot_s is None:
            return None
        n_more = self.n_generated - (self.n_first - 1)
        return self.n_generated / (self.ttft_s + n_more * self.tpot_s)


@dataclass(frozen=True, slots=True)
class Failed:
    """A request without its whole answer, and why."""

    started_s: float
    why: str


RequestOutcome = Answered | Failed


@dataclass(frozen=True, slots=True)
class Phase:
    """All requests of one phase, by model. `wall_s` runs until the last of them ended."""

    name: str
    n_streams: int
    wall_s: float
    outcomes: Mapping[str, Sequence[RequestOutcome]]

    def answered(self, model: str) -> list[Answered]:
        return [each for each in self.outcomes[model] if isinstance(each, Answered)]

    def failures(self) -> dict[str, int]:
        """Return how many requests of any model failed, by model and why."""
        return dict(
            Counter(
                f"{model}: {each.why}"
                for model, outcomes in self.outcomes.items()
                for each in outcomes
                if isinstance(each, Failed)
            )
        )

    def rates(self, model: str) -> list[float]:
        """Return what each answered request saw, in tokens/s."""
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
    """One model in one phase.

    `throughput_tokens_per_s` is all generated tokens over the time from the phase's start to the end of this model's
    last answer: a slower model's answers may come long after. `tokens_per_s` is the median of what one request saw
    (`Answered.tokens_per_s`), None where none was answered.
    """

    n_answered: int
    n_failed: int
    n_tokens: int
    throughput_tokens_per_s: float
    tokens_per_s: float | None
    ttft_s: Percentiles | None
    tpot_s: Percentiles | None
    n_reused: int
