"""The recorded studies read, choose, export, explain, compare and report to the numbers in recorded_numbers.json.

The file holds a SHA-256 of the numbers per study and kind. Where a change is meant to alter them, rewrite it:

    python tests/unit/test_recorded_numbers.py

and say in the commit message which numbers changed and why.
"""

import json
import re
import shutil
from collections.abc import Iterator
from dataclasses import asdict
from hashlib import sha256
from html.parser import HTMLParser
from itertools import combinations
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import optuna
import pytest

from layertune.compare import compare_studies
from layertune.config import load_config
from layertune.errors import UnlikeStudies
from layertune.explain import coexist_or_swap, explain
from layertune.export import EXPORTERS
from layertune.report import render_report
from layertune.report.front_table import front_json
from layertune.results.choice import Choice
from layertune.results.result import Result, read_result
from layertune.results.trial_summary import trial_info
from layertune.results.trials import feasible_trials
from layertune.sampler.selection import estimates, speed_priors
from layertune.search.finals import to_validate, validation_of
from layertune.search.folder import JOURNAL_NAME
from layertune.search.storage import open_journal
from layertune.search.stored_trials import finished_trials
from layertune.search.study_record import StudyRecord, with_rounds, with_validation
from layertune.settings import LEFT_OUT, variant
from layertune.space.limits import Limits

ROOT = Path(__file__).parents[2]
DIGESTS = Path(__file__).with_name("recorded_numbers.json")
STUDIES = sorted(path.parent for path in ROOT.glob("studies/*/result.json"))

# Drawn coordinates and all that is written, but for the page's own style, script and Content-Security-Policy.
_DRAWN = ("x", "y", "x1", "x2", "y1", "y2", "cx", "cy", "d", "points", "width", "height")
_NUMBER = re.compile(r"(?<!\w)[-−+]?\d+(?:\.\d+)?(?:e[-+]?\d+)?")


class _Page(HTMLParser):
    """The numbers of an HTML page: in table cells, and of what its figures draw."""

    def __init__(self) -> None:
        super().__init__()
        self.numbers: list[str] = []
        self._cells = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._cells += tag in ("td", "th")
        self.numbers += [each for key, value in attrs if key in _DRAWN for each in _NUMBER.findall(value or "")]

    def handle_endtag(self, tag: str) -> None:
        self._cells -= tag in ("td", "th")

    def handle_data(self, data: str) -> None:
        if self._cells:
            self.numbers += _NUMBER.findall(data)


def leaves(data: Any, key: str = "") -> Iterator[str]:
    """Yield every value of decoded JSON that is no text, with its key; floats with 9 digits, the same everywhere.

    A setting that the studies do not have yet, at its default, is left out.
    """
    if isinstance(data, dict):
        for name in sorted(name for name in data if name not in LEFT_OUT or data[name] != LEFT_OUT[name]):
            yield from leaves(data[name], f"{key}.{name}")
    elif isinstance(data, list | tuple):
        for at, each in enumerate(data):
            yield from leaves(each, f"{key}[{at}]")
    elif isinstance(data, float):
        yield f"{key} {data:.9g}"
    elif data is not None and not isinstance(data, str):
        yield f"{key} {data}"


def digest(numbers: Iterator[str] | list[str]) -> str:
    return sha256("\n".join(numbers).encode()).hexdigest()


def exported(result: Result) -> list[str]:
    """Return the numbers of every pick in every format."""
    found = []
    for pick in result.picks:
        for name, export in EXPORTERS.items():
            for file, text in sorted(export(result, result.picked(pick), "/models").items()):
                numbers = leaves(json.loads(text)) if file.endswith(".json") else _NUMBER.findall(text)
                found += [f"{pick} {name} {file}", *numbers]
    return found


def explained(result: Result) -> Iterator[str]:
    """Return what `export --explain --json` prints of every pick where no model file is there to plan with."""
    for pick in result.picks:
        trial = result.picked(pick)
        yield from leaves(
            {"explanation": asdict(explain(result, trial, {})), "swap": asdict(coexist_or_swap(result, trial))}
        )


def reported(result: Result) -> list[str]:
    page = _Page()
    page.feed(render_report(result))
    return page.numbers


def chosen_again(folder: Path, result: Result) -> Iterator[str]:
    """Return all trials with the front, the stand-ins and the picks, as the journal and this version give them.

    An older version measured some of the studies, so they may differ from what result.json holds.
    """
    config = load_config(folder / "study.toml")
    with TemporaryDirectory() as copy:
        journal = shutil.copy(folder / JOURNAL_NAME, copy)
        study = optuna.load_study(study_name=result.study.name, storage=open_journal(Path(journal).parent))
        sizes = {
            variant(name, file): model.file_bytes
            for name, only in result.models.items()
            for file, model in result.files.get(name, {"": only}).items()
        }
        vram = () if result.budget.vram_bytes is None else (result.budget.vram_bytes,)
        limits = Limits(vram, result.budget.margin_bytes, None, len(result.models), sizes)
        trials, record = finished_trials(study, limits), StudyRecord(study)
        finals, runs = record.rounds("finals", str(len(trials))), record.validations(len(trials))
        held = [with_rounds(each, limits, finals.get(each.number, {}), runs.get(each.number, ())) for each in trials]
        wanted = config.resolved_objectives(), config.resolved_floors(), config.resolved_weights()
        feasible = feasible_trials(held)
        known = estimates(feasible, speed_priors({}, trials, feasible))
        choice = Choice.of(held, *wanted, config.finals.target_spread, known)
        baselines = {each.trial for each in result.baselines.values()}
        kept = to_validate(held, choice, {each.settings for each in held if each.number in baselines}, known, wanted[2])
        validation = record.rounds("validation", validation_of(len(trials), kept))
    reported = [with_validation(each, validation.get(each.number, {})) for each in held]
    infos = [trial_info(each, None, choice.stand_ins.get(each.number)).model_dump(mode="json") for each in reported]
    yield from leaves({"trials": infos, "picks": choice.picks, "front": [each.number for each in choice.front]})


def compared(one: str, first: Result, other: str, second: Result) -> Iterator[str]:
    try:
        yield from leaves(asdict(compare_studies([(one, first), (other, second)])))
    except UnlikeStudies:
        yield "unlike"


def digests() -> dict[str, dict[str, str]]:
    results = {folder.name: read_result(folder) for folder in STUDIES}
    found = {
        name: {
            "result": digest(leaves(result.model_dump(mode="json"))),
            "pareto": digest(leaves(front_json(result))),
            "export": digest(exported(result)),
            "explain": digest(explained(result)),
            "report": digest(reported(result)),
            "journal": digest(chosen_again(ROOT / "studies" / name, result)),
        }
        for name, result in results.items()
    }
    for one, other in combinations(results, 2):
        found[one][f"compare with {other}"] = digest(compared(one, results[one], other, results[other]))
    return found


@pytest.fixture(scope="module")
def found() -> dict[str, dict[str, str]]:
    return digests()


@pytest.mark.parametrize("study", [folder.name for folder in STUDIES])
def test_a_recorded_study_gives_the_numbers_that_it_gave_before(study: str, found: dict[str, dict[str, str]]) -> None:
    assert found[study] == json.loads(DIGESTS.read_text(encoding="utf-8"))[study]


def test_a_changed_number_changes_the_digests_of_all_that_show_it(found: dict[str, dict[str, str]]) -> None:
    result = read_result(STUDIES[0])
    data = result.model_dump(mode="json")
    (balanced,) = [trial for trial in data["trials"] if trial["number"] == data["picks"]["balanced"]]
    balanced["vram"]["peak_bytes"] += 2**20
    changed = Result.model_validate(data)
    shown = found[STUDIES[0].name]
    assert digest(leaves(changed.model_dump(mode="json"))) != shown["result"]
    assert digest(leaves(front_json(changed))) != shown["pareto"]
    assert digest(exported(changed)) != shown["export"]
    assert digest(reported(changed)) != shown["report"]


if __name__ == "__main__":
    DIGESTS.write_text(json.dumps(digests(), indent=1) + "\n", encoding="utf-8")
