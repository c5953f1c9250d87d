"""layertune predict: the front on a card one does not have."""

from pathlib import Path

from layertune.cli.console import say, show_file
from layertune.cli.files import check_output, write_output
from layertune.prediction.prediction import prediction_json
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
        from layertune.cli.predict_table import print_prediction  # the JSON needs no rich

        print_prediction(prediction)
