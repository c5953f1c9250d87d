"""How far off are predictions of other cards, and how often is what was measured inside their intervals?

    python benchmarks/prediction/measure.py [--seeds 5] [--into FOLDER] [--render]

Every recorded study predicts the cards of all others that measured the same models, smaller ones and larger ones: each
trial of those is compared with the prediction. On the recorded tables of benchmarks/search_efficiency a search under
one cap, replayed with N seeds, predicts the cells of another, where the truth is known. And a part of the trials of
every study and search predicts the rest, by how far that is from all that taught. Writes prediction.json and
prediction.md; --render only writes the latter from the former. All cards so far are emulated: nothing here tells how a
GPU is predicted.
"""

import argparse
import json
from dataclasses import asdict, dataclass
from pathlib import Path

import beyond
import studies
import tables
from comparison import Beyond, Comparison
from pydantic import TypeAdapter
from sheet import report

HERE = Path(__file__).resolve().parent
STUDIES = HERE.parent.parent / "studies"

# Studies of the same models, workload and host threads; of gpu-6gib and rtx4050-3b-7b-emulated there is only one each.
GROUPS = {
    "3B + 7B stand-ins": ("standins-8gib", "standins-6gib", "standins-4gib"),
    "demo pair": ("demo-512mib", "demo-384mib", "demo-256mib", "demo-256mib-1-thread", "demo-256mib-soak"),
}


@dataclass(frozen=True)
class Measurement:
    """All that was found."""

    comparisons: tuple[Comparison, ...]
    beyond: tuple[Beyond, ...]


_MEASUREMENT = TypeAdapter(Measurement)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seeds", type=int, default=5, help="searches of each recorded table; 0 leaves them out")
    parser.add_argument("--into", type=Path, default=HERE)
    parser.add_argument("--render", action="store_true", help="predict nothing, render what was predicted")
    options = parser.parse_args()
    path = options.into / "prediction.json"
    if options.render:
        found = _MEASUREMENT.validate_json(path.read_text(encoding="utf-8"))
    else:
        found = measure(options.seeds)
        path.write_text(to_json(found), encoding="utf-8")
    text = report(found.comparisons, found.beyond)
    (options.into / "prediction.md").write_text(text, encoding="utf-8")
    print(text)


def measure(n_seeds: int) -> Measurement:
    groups = {title: studies.calibrated([STUDIES / name for name in names]) for title, names in GROUPS.items()}
    searches = list(tables.searched(n_seeds))
    pairs = [pair for title, group in groups.items() for pair in studies.compare(title, group)]
    return Measurement(
        (*pairs, *map(tables.compare, searches)),
        (*beyond.of_studies([each for group in groups.values() for each in group]), *beyond.of_tables(searches)),
    )


def to_json(found: Measurement) -> str:
    """Return the text with one line for each comparison."""
    parts = {key: ",\n".join(json.dumps(each) for each in lines) for key, lines in asdict(found).items()}
    return "{\n" + ",\n".join(f'"{key}": [\n{lines}\n]' for key, lines in parts.items()) + "\n}\n"


if __name__ == "__main__":
    main()
