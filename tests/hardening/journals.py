"""Mutated journals through what resumes a study: it is opened, read and summed up. No trial runs."""

import json
import shutil
from pathlib import Path
from random import Random

import optuna
from tests.hardening.attack import Case
from tests.hardening.values import DIGITS, VALUES, changed

from finished_study import result
from layertune.search.search import Search
from layertune.search.storage import JOURNAL_NAME, open_journal
from layertune.testing import FakeRunner
from layertune.units import MIB
from small_study import quiet, task, with_finals

_LINES = [b"{}", b"[]", b"null", b'{"op_code": 99}', b'{"op_code": 4}', b"\x00" * 40, b"\xff\xfe", b'"x"', b"[" * 5000]


class Journals:
    """See `attack.Attack`."""

    def start(self, folder: Path) -> None:
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self._folder = folder / "study"
        self._task = task(
            sampler="random", n_trials=6, schedule=with_finals(3, n_confirming=2, n_between=3), early_stop=False
        )
        self._seeds = []
        for n_run in (0, 3):  # a whole study, and one that is cut off in a trial
            self._folder.mkdir()
            self._run(n_run)
            self._seeds.append((self._folder / JOURNAL_NAME).read_bytes().splitlines())
            self._owner = (self._folder / "owner").read_text()
            shutil.rmtree(self._folder)

    def case(self, random: Random) -> Case:
        lines = [*random.choice(self._seeds)]
        at = random.randrange(len(lines))
        change = random.randrange(20)
        if change == 0:
            del lines[at]
        elif change == 1:
            lines.insert(at, random.choice([*lines, *_LINES]))
        elif change == 2:
            lines[at], lines[at - 1] = lines[at - 1], lines[at]
        elif change == 3:
            lines[at] = lines[at][: random.randrange(len(lines[at]) + 1)]
        else:
            record = changed(json.loads(lines[at]), random, [*VALUES, DIGITS])
            lines[at] = json.dumps(record).replace(f'"{DIGITS}"', "9" * 5000).encode()
        shutil.rmtree(self._folder, ignore_errors=True)
        self._folder.mkdir()
        (self._folder / "owner").write_text(self._owner)
        (self._folder / JOURNAL_NAME).write_bytes(b"\n".join(lines) + random.choice([b"\n"] * 5 + [b""]))
        return self._read

    def _run(self, n_run: int) -> None:
        runner = FakeRunner(cap_bytes=250 * MIB)

        def before(_settings: object) -> None:
            if n_run and len(runner.ran) == n_run:
                raise RuntimeError

        runner.before = before
        try:
            Search(self._task, open_journal(self._folder), self._folder).run(runner, quiet)
        except RuntimeError:
            return

    def _read(self) -> None:
        search = Search(self._task, open_journal(self._folder), self._folder)
        search.created()
        search.stopping_values()
        search.concluded()
        result(trials=search.finished(), references=search.references(), objectives=list(self._task.objectives))
