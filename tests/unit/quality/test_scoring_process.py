"""Workers that answer, die or hang: every item gets one answer, and only the item at fault is lost."""

import sys
import textwrap
from pathlib import Path

import pytest

from layertune.errors import ConfigError
from layertune.quality.scoring import Candidate, Item, Job, Refused, Scored, Scoring
from layertune.quality.scoring_process import Answer, score
from layertune.quality.texts import Text

ITEM = Item(Candidate(Path("a.gguf")), Scoring(n_threads=1))
PRELUDE = """
import json, os, signal, sys, time
job = json.loads(sys.stdin.readline())
def say(**message):
    print(json.dumps(message), flush=True)
def progress(item, n_tokens=0):
    say(item=item, n_tokens=n_tokens)
def done(item):
    progress(item)
    say(item=item, blocks=[], not_comparable=None, duration_s=1.0)
names = [item["candidate"]["path"] for item in job["items"]]
progress(None)
"""


def answers(script: str, folder: Path, *names: str, silence_s: float = 30.0) -> dict[str, Answer]:
    worker = folder / "worker.py"
    worker.write_text(PRELUDE + textwrap.dedent(script))
    items = tuple(Item(Candidate(Path(name)), ITEM.scoring) for name in names)
    found: dict[str, Answer] = {}

    def keep(number: int, answer: Answer) -> None:
        assert names[number] not in found
        found[names[number]] = answer

    job = Job(ITEM, items, (Text("code", "x"),))
    score(job, lambda progress: None, keep, command=(sys.executable, str(worker)), silence_s=silence_s)
    return found


def test_every_item_is_answered(tmp_path: Path) -> None:
    found = answers("done(1); say(item=0, reason='no')", tmp_path, "a", "b")
    assert isinstance(found["b"], Scored)
    assert found["a"] == Refused(0, "no")


def test_a_candidate_that_ends_the_process_loses_only_its_own_quality(tmp_path: Path) -> None:
    script = """
    for index, name in enumerate(names):
        if name == "bad":
            progress(index)
            print("GGML_ASSERT(n > 0) failed", file=sys.stderr, flush=True)
            os.abort()
        done(index)
    """
    found = answers(script, tmp_path, "a", "bad", "b")
    assert found["bad"] == Refused(1, "llama.cpp ended with signal SIGABRT: GGML_ASSERT(n > 0) failed")
    assert isinstance(found["a"], Scored)
    assert isinstance(found["b"], Scored)


def test_a_candidate_that_hangs_loses_only_its_own_quality(tmp_path: Path) -> None:
    found = answers("progress(0) if names[0] == 'bad' else done(0); time.sleep(60)", tmp_path, "bad", silence_s=2)
    assert found["bad"] == Refused(0, "llama.cpp did not answer for 2 s")


def test_without_its_reference_every_quality_is_unknown(tmp_path: Path) -> None:
    reason = "the reference cannot be scored: its weights are random"
    found = answers("say(item=None, reason='its weights are random')", tmp_path, "a", "b")
    assert found == {"a": Refused(0, reason), "b": Refused(1, reason)}
    (died,) = answers("os.kill(os.getpid(), signal.SIGKILL)", tmp_path, "a").values()
    assert died == Refused(0, "the reference cannot be scored: llama.cpp ended with signal SIGKILL")


def test_a_process_that_ends_without_answering_and_garbage_are_refusals(tmp_path: Path) -> None:
    (silent,) = answers("", tmp_path, "a").values()
    (garbage,) = answers("progress(0); print('{]')", tmp_path, "a").values()
    assert isinstance(silent, Refused)
    assert garbage == Refused(0, "the process that scores texts sent no valid answer")


def test_a_text_with_too_few_tokens_is_refused_in_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"the text mine\.txt has 490 tokens of a\.gguf, and quality needs at least 512"
    ):
        answers("say(kind='mine.txt', n_tokens=490)", tmp_path, "a", "b")
