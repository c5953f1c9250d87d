"""layertune predict: the front on a card one does not have."""

from pathlib import Path

from layertune.cli.console import say, show, show_file, show_table
from layertune.prediction.caveats import remarks
from layertune.prediction.prediction_file import prediction_json
from layertune.prediction.prediction_table import prediction_table
from layertune.study.outputs import check_output, write_output
from layertune.study.predicted import predict


def run(study: Path, hardware: str, output: Path | None, *, as_json: bool) -> None:
    if output is not None:
        check_output(output, reads=[study])
    prediction = predict(study, hardware, say)
    text = prediction_json(prediction)
    if output is not None:
        write_output(output, text, reads=[study])
        say(f"wrote {output}")
    if as_json:
        show_file(text)
    elif output is None:
        show_table(prediction_table(prediction))
        show("", *remarks(prediction))
