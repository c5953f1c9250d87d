"""How far off are predictions of other cards?

    python benchmarks/prediction/measure.py --train studies/demo-384mib studies/demo-256mib studies/demo-512mib
    python benchmarks/prediction/measure.py --train A B C --train D E --seeds 5 [--into FOLDER] [--render]

Each --train names a recorded study and the others whose cards it predicts; every trial that those measured is held
against the prediction. --seeds N does the same on the recorded tables of
benchmarks/search_efficiency, where a search under one cap, replayed with N seeds, predicts the cells of another and
the truth is known. Writes prediction.json (every figure) and prediction.md; --render only writes the latter from the
former. All cards so far are emulated: nothing here tells how a GPU is predicted.
"""

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import studies
import tables
from comparison import Comparison
from pydantic import TypeAdapter
from sheet import report

HERE = Path(__file__).resolve().parent

_COMPARISONS: TypeAdapter[list[Comparison]] = TypeAdapter(list[Comparison])


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--train", type=Path, nargs="+", action="append", default=[], metavar="STUDY")
    parser.add_argument("--seeds", type=int, default=0, help="searches of each recorded table; 0 leaves them out")
    parser.add_argument("--into", type=Path, default=HERE)
    parser.add_argument("--render", action="store_true", help="predict nothing, render what was predicted")
    options = parser.parse_args()
    if options.render:
        text = (options.into / "prediction.json").read_text(encoding="utf-8")
        write_report(options.into, _COMPARISONS.validate_json(text))
        return
    found = [each for train, *others in options.train for each in studies.compare(train, others)]
    found += tables.compare(options.seeds)
    if not found:
        parser.error("nothing to predict: give --train STUDY OTHER or --seeds N")
    lines = ",\n".join(json.dumps(asdict(each)) for each in found)
    (options.into / "prediction.json").write_text(f"[\n{lines}\n]\n", encoding="utf-8")
    write_report(options.into, found)


def write_report(into: Path, found: Sequence[Comparison]) -> None:
    text = report(found)
    (into / "prediction.md").write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
