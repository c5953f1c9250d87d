"""How many times as long another device takes for its part of the work. It is bounded, not known."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Factor:
    """Times as long, at least and at most; what is expected is the middle."""

    least: float
    most: float

    @classmethod
    def between(cls, one: float, other: float) -> "Factor":
        return cls(min(one, other), max(one, other))

    @property
    def expected(self) -> float:
        return (self.least + self.most) / 2


@dataclass(frozen=True, slots=True)
class DeviceChange:
    """Of the prompt's time, and of each generated token's."""

    prompt: Factor
    token: Factor


def between_cards(ratio: float, token_share: float) -> DeviceChange:
    """Return what follows from two cards' memory bandwidths alone.

    `ratio` is the study's card's bandwidth over the other's. A token reads every weight once: at least the share
    `token_share` of the device's time, bytes over bandwidth, is spent on that and scales; whether the rest does is not
    known (kernel launches do not). A prompt is bound by arithmetic, of which a bandwidth tells nothing: its time lies
    anywhere between the study's own and one that scales as bandwidth does.
    """
    return DeviceChange(Factor.between(1.0, ratio), Factor.between(1 + (ratio - 1) * min(token_share, 1.0), ratio))


def between_threads(thread_ratio: float) -> DeviceChange:
    """Return what follows where an emulated card has another number of threads of the same processor.

    `thread_ratio` is the study's number over the other's. How much of the work threads share is not known: all of it,
    or none, as where memory is read no faster by more of them or they wait for each other (Amdahl, Validity of the
    single processor approach, AFIPS 1967).
    """
    factor = Factor.between(1.0, thread_ratio)
    return DeviceChange(factor, factor)
