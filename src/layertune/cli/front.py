"""layertune pareto: the front as a table on standard output, or as JSON."""

from pathlib import Path

from layertune.cli.console import show, show_json, show_table, show_width, shows_on_terminal
from layertune.report.front_table import baseline_table, front_json, front_table
from layertune.report.scatter import front_plot
from layertune.results.price import pick_price_words
from layertune.results.remarks import study_remarks
from layertune.results.result import Result, read_result


def run(study: Path, *, plot: bool, as_json: bool) -> None:
    result = read_result(study)
    if as_json:
        show_json(front_json(result))
        return
    print_front(result)
    if plot or shows_on_terminal():
        show("", *front_plot(result, show_width()).split("\n"), wrap=False)


def print_front(result: Result) -> None:
    """Print the front on standard output."""
    if result.pareto:
        show_table(front_table(result, show_width()))
    else:
        floors = " and ".join(["keeps the budget", *(f"reaches {floor}" for floor in result.floors)])
        show(f"No measured trial {floors}.")
    if result.baselines:
        show("")
        show_table(baseline_table(result, show_width()))
    if remarks := [*pick_price_words(result), *study_remarks(result)]:
        show("", *remarks)
