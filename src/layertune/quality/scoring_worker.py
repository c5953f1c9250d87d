"""The child process that scores texts, started as `python -m layertune.quality.scoring_worker`.

It reads one job from standard input and writes one message per line to its original standard output. One model is in
memory at a time, and only the reference's rows are on disk, in a file that has no name.
"""

import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from io import BufferedIOBase
from time import perf_counter
from typing import cast

from layertune.devices import lifetime
from layertune.devices.open_device import open_device
from layertune.engine import ggml
from layertune.engine.context import Context
from layertune.engine.model import Model
from layertune.engine.refusal import EngineRefused
from layertune.engine.tokenizer import Tokenizer, TokenizerFacts
from layertune.errors import LayertuneError
from layertune.models.disk_cache import cache_folder
from layertune.quality.blocks import Block, TokenScore, blocks_of
from layertune.quality.divergence import is_precise, summaries_by_kind, weighted
from layertune.quality.pieces import Piece, pieces_of, same_bytes, stages
from layertune.quality.reference_rows import NotFinite, ReferenceRow, ReferenceRows, Scores
from layertune.quality.refusals import NOT_FINITE, RANDOM_WEIGHTS, looks_random, other_tokens
from layertune.quality.scoring import JOB, MESSAGE, Item, Job, Message, Progress, Refused, Scored, TooShort


class _Unusable(Exception):
    """An item cannot be scored; the text says why."""


class Scorer:
    """Scores a job's items against its reference."""

    def __init__(
        self, job: Job, devices: Sequence[ggml.DeviceHandle], file: BufferedIOBase, send: Callable[[Message], None]
    ) -> None:
        """`file` takes the reference's rows, `send` the messages."""
        self._job = job
        self._devices = devices
        self._file = file
        self._send = send
        self._tokenizer: TokenizerFacts | None = None  # the reference's
        self._pieces: list[Piece] = []  # the reference's, in this stage
        self._blocks: dict[int, tuple[Block, ...]] = dict.fromkeys(range(len(job.items)), ())
        self._duration_s = dict.fromkeys(range(len(job.items)), 0.0)

    def run(self) -> None:
        """Score every item on the first pieces, then on more those whose error is still too large."""
        try:
            short = self._short_text()
        except EngineRefused as error:
            short = Refused(None, _reason(error))
        if short is not None:
            self._send(short)
            return
        left = list(range(len(self._job.items)))
        for is_first in (True, False):
            if left:
                try:
                    rows = self._score_reference(is_first=is_first)
                except (_Unusable, EngineRefused, NotFinite) as error:
                    self._send(Refused(None, _reason(error)))
                    return
                left = [number for number in left if not self._finish(number, rows, is_first=is_first)]

    def _short_text(self) -> Message | None:
        """Return the first text that is too short, if there is one. Only the vocabulary is read."""
        item = self._job.reference
        model = Model(item.candidate.path, 0, (), no_alloc=True)
        try:
            tokenizer = Tokenizer(model)
            for text in self._job.texts:
                n_tokens = len(tokenizer.tokens(text.content))
                if n_tokens < item.scoring.n_ctx:
                    return TooShort(text.kind, n_tokens)
        finally:
            model.close()
        return None

    def _score_reference(self, *, is_first: bool) -> ReferenceRows:
        item = self._job.reference
        self._send(Progress(None, 0))
        with self._model(item) as (model, context):
            tokenizer = Tokenizer(model)
            self._tokenizer = tokenizer.facts
            every = list(self._read(tokenizer, item))
            self._pieces = stages(every, item.scoring)[0 if is_first else 1]
            self._file.seek(0)
            rows = ReferenceRows(self._file, model.n_vocab)
            blocks: list[Block] = []
            for piece in self._pieces:
                scores = []
                for scored, token, n_bytes in _scored(context, piece, item):
                    nll = scored.nll(token)
                    rows.add(scored, nll)
                    scores.append(TokenScore(n_bytes, nll, None))
                blocks += blocks_of(piece.kind, is_first, scores)
                self._send(Progress(None, len(scores)))
            if is_first and looks_random(summaries_by_kind(blocks), model.n_vocab):
                raise _Unusable(RANDOM_WEIGHTS)
            return rows

    def _finish(self, number: int, rows: ReferenceRows, *, is_first: bool) -> bool:
        """Score one item and send the result; return whether it needs no more tokens."""
        started_s, is_floor = perf_counter(), self._job.items[number].candidate == self._job.reference.candidate
        try:
            blocks, why_not = self._score_item(number, rows, is_first=is_first)
        except (EngineRefused, NotFinite) as error:
            self._send(Refused(number, _reason(error)))
            return True
        self._blocks[number] += blocks
        self._duration_s[number] += perf_counter() - started_s
        weights = {text.kind: text.weight for text in self._job.texts}
        found = weighted(summaries_by_kind(self._blocks[number]), weights).divergence
        if is_first and found is not None and not is_floor and not is_precise(found):
            return False
        self._send(Scored(number, self._blocks[number], why_not, self._duration_s[number]))
        return True

    def _score_item(self, number: int, rows: ReferenceRows, *, is_first: bool) -> tuple[tuple[Block, ...], str | None]:
        """Return an item's blocks, and why they are not compared with the reference, None if they are."""
        item = self._job.items[number]
        self._send(Progress(number, 0))
        with self._model(item) as (model, context):
            tokenizer = Tokenizer(model)
            every = list(self._read(tokenizer, item))
            why_not = self._why_not(tokenizer, item, every)
            pieces = self._pieces if why_not is None else same_bytes(every, self._pieces, item.scoring)
            compared: Iterator[ReferenceRow] | None = rows.compare() if why_not is None else None
            blocks: list[Block] = []
            for piece in pieces:
                scores = []
                for scored, token, n_bytes in _scored(context, piece, item):
                    against = None if compared is None else next(compared).against(scored)
                    scores.append(TokenScore(n_bytes, scored.nll(token), against))
                blocks += blocks_of(piece.kind, is_first, scores)
                self._send(Progress(number, len(scores)))
        return tuple(blocks), why_not

    def _why_not(self, tokenizer: Tokenizer, item: Item, pieces: Sequence[Piece]) -> str | None:
        if item.not_comparable is not None or self._tokenizer is None:
            return item.not_comparable
        own = {(piece.kind, piece.number): piece.tokens.tolist() for piece in pieces}
        same_ids = all(own.get((each.kind, each.number)) == each.tokens.tolist() for each in self._pieces)
        return other_tokens(tokenizer.facts, self._tokenizer, same_ids=same_ids)

    def _read(self, tokenizer: Tokenizer, item: Item) -> Iterator[Piece]:
        for text in self._job.texts:
            tokens = tokenizer.tokens(text.content)
            yield from pieces_of(text.kind, tokens, tokenizer.n_bytes(tokens), tokenizer.facts.bos, item.scoring.n_ctx)

    @contextmanager
    def _model(self, item: Item) -> Iterator[tuple[Model, Context]]:
        """Load an item's model, on the host alone if the device does not take all layers."""
        settings = item.scoring.engine(item.candidate)
        try:
            model, context = self._load(item, settings.n_gpu_layers)
        except EngineRefused:
            if settings.n_gpu_layers == 0:
                raise
            model, context = self._load(item, 0)
        try:
            yield model, context
        finally:
            context.close()
            model.close()

    def _load(self, item: Item, n_gpu_layers: int) -> tuple[Model, Context]:
        settings = replace(item.scoring.engine(item.candidate), n_gpu_layers=n_gpu_layers)
        model = Model(item.candidate.path, n_gpu_layers, self._devices)
        try:
            return model, Context(model, settings, n_outputs=settings.n_batch)
        except EngineRefused:
            model.close()
            raise


def _scored(context: Context, piece: Piece, item: Item) -> Iterator[tuple[Scores, int, int]]:
    """Yield each scored position's distribution, the text's next token and its bytes."""
    first = item.scoring.n_first
    for position, row in enumerate(context.scored(piece.tokens, first), first + 1):
        yield Scores.of(row), int(piece.tokens[position]), int(piece.n_bytes[position])


def _reason(error: Exception) -> str:
    return NOT_FINITE if isinstance(error, NotFinite) else str(error)


def main(arguments: list[str]) -> int:
    """Run the job on standard input; the argument is the parent's process id."""
    lifetime.die_with_parent(int(arguments[0]))
    stream = os.fdopen(os.dup(1), "w", encoding="utf-8", buffering=1)
    os.dup2(2, 1)  # a backend's own output must not mix with the messages
    job = JOB.validate_json(sys.stdin.readline())
    lifetime.watch_standard_input()

    def send(message: Message) -> None:
        stream.write(MESSAGE.dump_json(message).decode() + "\n")

    try:
        device = open_device(job.reference.scoring.device, ["model"], [])
        cache_folder().mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=cache_folder()) as file:
            Scorer(job, device.devices("model"), cast(BufferedIOBase, file), send).run()
    except LayertuneError as error:
        send(Refused(None, str(error)))
    except OSError as error:
        send(Refused(None, f"its distributions cannot be kept in {cache_folder()}: {error.strerror}"))
    stream.flush()
    os._exit(0)  # skip llama.cpp's exit handlers, as a trial's worker does


if __name__ == "__main__":
    main(sys.argv[1:])
