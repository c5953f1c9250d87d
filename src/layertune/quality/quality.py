"""Measures the quality of files and cache types, or reads it from the cache where it was measured before."""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from layertune.engine.library import library_key
from layertune.models import ModelShape, cached_shape, file_sha256
from layertune.models.disk_cache import add_entries, cache_folder, read_entries
from layertune.quality.blocks import Against, Block
from layertune.quality.divergence import Difference, Divergence, Summary, difference, summaries_by_kind, weighted
from layertune.quality.refusals import other_model, unknown_by_header
from layertune.quality.scoring import Candidate, Item, Job, Progress, Refused, Scored, Scoring
from layertune.quality.scoring_process import Answer, score
from layertune.quality.texts import Text, shipped_texts

_VERSION = 2  # changes when the method or the form of an entry does
_VISIBLE_FLOORS = 2
_SCORED: TypeAdapter[Scored] = TypeAdapter(Scored)


@dataclass(frozen=True, slots=True)
class FileQuality:
    """The measured quality of one candidate.

    Attributes:
        candidate: The file and its cache types.
        by_kind: The summary for each kind of text.
        total: The averages over the kinds, by the weights of the texts.
        is_visible: Whether its KL divergence is at least twice the floor; None if one of them is not known.
        not_comparable: Why it has no KL divergence, None if it has one.
        duration_s: How long it was scored, without the reference.
        blocks: What the summaries are computed from.
    """

    candidate: Candidate
    by_kind: Mapping[str, Summary]
    total: Summary
    is_visible: bool | None
    not_comparable: str | None
    duration_s: float
    blocks: tuple[Block, ...]


@dataclass(frozen=True, slots=True)
class UnknownQuality:
    """The quality of a candidate is unknown; `reason` is for people."""

    candidate: Candidate
    reason: str


Quality = FileQuality | UnknownQuality


@dataclass(frozen=True, slots=True)
class QualityReport:
    """The quality of all candidates against one reference.

    Attributes:
        reference: The quality of the reference. Its divergence from itself is 0.
        floor: The divergence of the reference from itself with another physical batch, None if it is unknown. Two
            results that differ by less differ by rounding only.
        qualities: One for each candidate, in their order.
        text_sha256: The SHA-256 of each text, by kind.
        weights: The weight of each kind.
    """

    reference: Quality
    floor: Divergence | None
    qualities: tuple[Quality, ...]
    text_sha256: Mapping[str, str]
    weights: Mapping[str, float]

    def difference(self, one: FileQuality, other: FileQuality) -> Difference | None:
        """Return how much larger the first one's KL divergence is, over the same tokens; None without divergences."""
        return difference(one.blocks, other.blocks, self.weights)


def measure_quality(
    reference: Candidate,
    candidates: Sequence[Candidate],
    scoring: Scoring,
    texts: Sequence[Text] | None = None,
    *,
    on_progress: Callable[[Candidate, int, int], None] = lambda candidate, n_tokens, n_left: None,
    cache: Path | None = None,
) -> QualityReport:
    """Measure how much each candidate changes the next-token distributions of the reference.

    llama.cpp runs in a child process. A candidate that it refuses or that ends it has an unknown quality.

    Args:
        reference: Normally the file with the most bits per weight, with an f16 cache.
        candidates: The files and cache types to measure. Other models than the reference get bits per byte only.
        scoring: Where and how texts are scored.
        texts: The texts, each of another kind. By default `shipped_texts()`.
        on_progress: Called with what is scored, how many more tokens of it were, 0 when it begins, and how many
            passes are left, this one included. More are added where the standard error is too large.
        cache: The folder of the cache; by default the user's.

    Raises:
        ModelFileError: a file is missing, damaged or no model.
        DeviceError: llama.cpp is not installed, or the process cannot be started.
    """
    chosen = tuple(shipped_texts() if texts is None else texts)
    shapes = {each.path: cached_shape(each.path) for each in (reference, *candidates)}
    others = [each for each in dict.fromkeys(candidates) if each != reference]
    items = [Item(reference, scoring.with_small_batch())]
    items += [Item(each, scoring, other_model(shapes[each.path], shapes[reference.path])) for each in others]
    entries = _Entries(reference, chosen, shapes, (cache or cache_folder()) / "quality")
    answers = {item.candidate: _known(item, shapes, entries) for item in items}
    left = [item for item in items if answers[item.candidate] is None]

    def keep(number: int, answer: Answer) -> None:
        answers[left[number].candidate] = answer
        if isinstance(answer, Scored):
            entries.add(left[number], answer)

    def report(progress: Progress) -> None:
        n_left = sum(answers[item.candidate] is None for item in left) + (progress.item is None)
        on_progress(reference if progress.item is None else left[progress.item].candidate, progress.n_tokens, n_left)

    score(Job(Item(reference, scoring), tuple(left), chosen), report, keep)
    return _report(reference, candidates, answers, chosen)


def _known(item: Item, shapes: Mapping[Path, ModelShape], entries: "_Entries") -> Answer | None:
    """Return an item's answer if nothing has to be loaded for it."""
    random = unknown_by_header(shapes[item.candidate.path]) or unknown_by_header(shapes[entries.reference.path])
    impossible = item.scoring.engine(item.candidate).impossible()
    reason = random if random is not None else impossible
    return entries.find(item) if reason is None else Refused(0, reason)


def _report(
    reference: Candidate,
    candidates: Sequence[Candidate],
    answers: Mapping[Candidate, Answer | None],
    texts: Sequence[Text],
) -> QualityReport:
    weights = {text.kind: text.weight for text in texts}
    again = _quality(reference, answers[reference], weights, None)
    floor = again.total.divergence if isinstance(again, FileQuality) else None
    own = _quality(reference, _itself(answers[reference]), weights, floor)
    found = {each: own if each == reference else _quality(each, answers[each], weights, floor) for each in candidates}
    return QualityReport(
        own, floor, tuple(found[each] for each in candidates), {text.kind: text.sha256 for text in texts}, weights
    )


def _quality(
    candidate: Candidate, answer: Answer | None, weights: Mapping[str, float], floor: Divergence | None
) -> Quality:
    if not isinstance(answer, Scored):
        return UnknownQuality(candidate, "it was not scored" if answer is None else answer.reason)
    by_kind = summaries_by_kind(answer.blocks)
    total = weighted(by_kind, weights)
    visible = None
    if floor is not None and total.divergence is not None:
        visible = total.divergence.mean > 0 and total.divergence.mean >= _VISIBLE_FLOORS * floor.mean
    return FileQuality(candidate, by_kind, total, visible, answer.not_comparable, answer.duration_s, answer.blocks)


def _itself(answer: Answer | None) -> Answer | None:
    """Return the reference's own answer, from the pass that measured the floor."""
    if not isinstance(answer, Scored):
        return answer
    blocks = [
        replace(each, nll=each.against.nll, against=Against(0.0, each.n_tokens, each.against.nll))
        for each in answer.blocks
        if each.against is not None
    ]
    return replace(answer, blocks=tuple(blocks))


class _Entries:
    """The cache of answers, one small file for each: a measurement that is cut short loses one item only."""

    def __init__(
        self, reference: Candidate, texts: Sequence[Text], shapes: Mapping[Path, ModelShape], folder: Path
    ) -> None:
        self.reference = reference
        self._texts = [(text.kind, text.sha256) for text in texts]
        self._shapes = shapes
        self._folder = folder
        self._build = library_key()

    def find(self, item: Item) -> Scored | None:
        try:
            return _SCORED.validate_python(read_entries(self._store(item)).get("scored"))
        except ValidationError:
            return None

    def add(self, item: Item, scored: Scored) -> None:
        add_entries(self._store(item), {"scored": _SCORED.dump_python(scored, mode="json")})

    def _store(self, item: Item) -> Path:
        """Return the item's file, named by everything that its answer depends on. Threads change nothing."""
        device, settings = item.scoring.device, asdict(replace(item.scoring, n_threads=1))
        del settings["target"]
        key = [
            _VERSION,
            self._build,
            (device.kind, device.name),
            settings,
            self._texts,
            self._of(self.reference),
            self._of(item.candidate),
        ]
        return self._folder / f"{hashlib.sha256(json.dumps(key).encode()).hexdigest()}.json"

    def _of(self, candidate: Candidate) -> list[object]:
        files = self._shapes[candidate.path].files
        return [[file_sha256(file) for file in files], candidate.type_k, candidate.type_v]
