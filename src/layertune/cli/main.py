"""The commands and their options, except those that are about a machine. Bodies import what they need, so that `--help`
answers at once."""

from pathlib import Path
from typing import Annotated

import typer

import layertune
from layertune.cli import console, machine
from layertune.cli.command_line import CommandLine, run_commands
from layertune.cli.options import BudgetOption, Config, DeviceOption, Json, Models, Settings, Study
from layertune.errors import Interrupted, UsageError

app = typer.Typer(
    cls=CommandLine,
    name="layertune",
    help="Find the best GPU layer split for several llama.cpp models that share one small GPU, by measuring.",
    epilog="Start with: layertune doctor. Documentation: README.md and docs/.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(show: bool) -> None:
    if show:
        console.show(f"layertune {layertune.__version__}", wrap=False)
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Options of every command."""


@app.command(
    epilog="Examples: layertune search configs/studies/demo.toml  ·  "
    "layertune search --model chat=a.gguf --model code=b.gguf --budget 5.5GiB  ·  "
    "layertune search mine.toml --storage postgresql://tuner@db/layertune --study studies/mine-rtx4060"
)
def search(
    config: Config = None,
    model: Models = None,
    budget: BudgetOption = None,
    device: DeviceOption = None,
    trials: Annotated[int | None, typer.Option(metavar="N", help="Stop after this many trials.")] = None,
    timeout: Annotated[str | None, typer.Option(metavar="TIME", help="Stop after this time, like 30m.")] = None,
    sampler: Annotated[
        str | None, typer.Option(metavar="layer-split|tpe|random|IMPORT.PATH", help="Which trial is next.")
    ] = None,
    warm_start: Annotated[Path | None, typer.Option(metavar="STUDY", help="Begin with this study's speeds.")] = None,
    set_: Settings = None,
    storage: Annotated[
        str | None, typer.Option(metavar="URL", help="Keep the trials elsewhere, like postgresql://HOST/NAME.")
    ] = None,
    study: Annotated[Path | None, typer.Option(metavar="DIR", help="The study's folder (studies/NAME).")] = None,
    seed: Annotated[int | None, typer.Option(metavar="N", help="Seed of the sampler and the measured tokens.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with a study that was interrupted.")] = False,
    quick: Annotated[bool, typer.Option("--quick", help="A first look: 8 trials, no finals.")] = False,
    thorough: Annotated[bool, typer.Option("--thorough", help="Many more rounds, and no time limit.")] = False,
    no_quality: Annotated[bool, typer.Option("--no-quality", help="Do not measure the quality of files.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what is searched, and for how long.")] = False,
    json: Json = False,
) -> None:
    """Search the settings of all models by measuring them together; write the front, the .env, result.json and a
    report."""
    from layertune.cli import search as command
    from layertune.config.overrides import Overrides, preset_of

    given = model or [], budget, device, set_ or []
    shared, preset = storage is not None, preset_of(quick=quick, thorough=thorough)
    overrides = Overrides(*given, trials, timeout, sampler, seed, study, warm_start, shared, preset, no_quality)
    try:
        command.run(config, overrides, storage=storage, folder=study, resume=resume, dry_run=dry_run, as_json=json)
    except KeyboardInterrupt as interrupt:  # before or after the trials, which say more
        raise Interrupted("interrupted") from interrupt


@app.command(
    epilog="Examples: layertune estimate configs/studies/demo.toml --set chat.n_gpu_layers=20  ·  "
    "layertune estimate --scenario configs/scenarios/worksheet.toml"
)
def estimate(
    config: Config = None,
    model: Models = None,
    set_: Settings = None,
    budget: BudgetOption = None,
    device: DeviceOption = None,
    scenario: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Compare your own estimates, in this file, with the plan.")
    ] = None,
    json: Json = False,
) -> None:
    """Show what a setting takes, per model and device, and how many layers fit. Nothing is loaded.

    Of a dimension with several values the first counts, of n_gpu_layers the largest. Fix others with --set.
    """
    if scenario is not None:
        from layertune.cli import scenario as judging

        judging.run(scenario, as_json=json)
        return
    from layertune.cli import estimate as command
    from layertune.config.overrides import Overrides

    overrides = Overrides(models=model or [], budget=budget, device=device, settings=set_ or [])
    command.run(config, overrides, as_json=json)


@app.command(epilog="Examples: layertune pareto studies/demo  ·  layertune pareto studies/demo --plot > front.txt")
def pareto(
    study: Study,
    plot: Annotated[
        bool, typer.Option("--plot", help="Draw the front too where the output is no terminal; in one it is drawn.")
    ] = False,
    json: Json = False,
) -> None:
    """Print a study's Pareto front: the trials that no other beats in every objective."""
    from layertune.cli import front as command

    command.run(study, plot=plot, as_json=json)


@app.command(
    epilog="Examples: layertune export studies/demo --format env --pick balanced -o .env  ·  "
    "layertune export studies/demo --format env --compat worksheet  ·  "
    "layertune export studies/demo --format compose --models-dir /srv/models -o compose.yml  ·  "
    "layertune export studies/demo --format systemd --pick 17 -o units/  ·  "
    "layertune export studies/demo --explain --pick lean"
)
def export(
    study: Study,
    format: Annotated[
        str | None,
        typer.Option(
            metavar="env|compose|llama-server|preset|llama-swap|ollama|systemd|json",
            help="What reads the files.",
            show_default="env",
        ),
    ] = None,
    pick: Annotated[str, typer.Option(metavar="balanced|even|MODEL|lean|TRIAL", help="Which trial.")] = "balanced",
    compat: Annotated[
        str | None,
        typer.Option(metavar="worksheet", help="Write a .env for a compose file that fixes -c 1024 -b 128 -t 4."),
    ] = None,
    models_dir: Annotated[
        str | None,
        typer.Option(
            metavar="DIR", help="Where the model files are on the machine that serves them.", show_default="/models"
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE|DIR", help="Write here; several files go into a folder."),
    ] = None,
    explain: Annotated[
        bool,
        typer.Option(
            "--explain",
            help="Instead of files, print what one step of each setting gives and costs, and whether to share the "
            "device at all; takes --pick and --json, and no option about files.",
        ),
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="With --explain: print JSON instead of tables.")] = False,
) -> None:
    """Turn one trial of a study into the files that deploy it, or explain it."""
    if explain:
        from layertune.cli import explain as explaining

        about_files = {"--format": format, "--compat": compat, "--models-dir": models_dir, "-o": output}
        explaining.run(study, pick, about_files=about_files, as_json=json)
        return
    from layertune.cli import export as command

    if json:
        raise UsageError("--json goes with --explain", remedy="use --format json for the trial itself")
    command.run(study, format, pick, compat=compat, models_dir=models_dir, output=output)


@app.command(
    epilog="Examples: layertune compare studies/rtx4050 studies/emulated-4gib  ·  "
    "layertune compare studies/demo laptop/result.json --markdown  ·  "
    "layertune compare mine-rtx4050 mine-rtx4060 --storage postgresql://tuner@db/layertune"
)
def compare(
    studies: Annotated[
        list[Path],
        typer.Argument(
            metavar="STUDY STUDY…",
            help="Study folders, result.json files, predictions, or names in --storage; two or more.",
        ),
    ],
    storage: Annotated[
        str | None, typer.Option("--storage", metavar="URL", help="Where studies are that are not here.")
    ] = None,
    json: Json = False,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print Markdown instead of tables.")] = False,
) -> None:
    """Compare studies of the same models on other devices or budgets with the first.

    Shows what each picked, which settings change and why, and what the smaller budget costs.
    """
    from layertune.cli import compare as command

    command.run(studies, storage=storage, as_json=json, as_markdown=markdown)


@app.command(
    epilog="Examples: layertune predict studies/rtx4050 --hardware rtx-4060  ·  "
    "layertune predict studies/demo --hardware emulated-4gib --json -o predicted.json"
)
def predict(
    study: Annotated[Path, typer.Argument(metavar="STUDY", help="A study folder.")],
    hardware: Annotated[
        str, typer.Option("--hardware", metavar="PROFILE", help="A name of layertune hardware, or a profile's path.")
    ],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Write the JSON here; compare reads it.")
    ] = None,
    json: Json = False,
) -> None:
    """Predict the front on a card you do not have, from exact memory plans and the study's own times.

    No model is run. Every value is marked as predicted and has an error interval.
    """
    from layertune.cli import predict as command

    command.run(study, hardware, output, as_json=json)


@app.command(epilog="Example: layertune report studies/demo -o report.html")
def report(
    study: Study,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE.html", help="Write here (STUDY/report.html).")
    ] = None,
) -> None:
    """Write a study as one HTML page that opens offline: front, memory, speed over layers, history, noise, exports."""
    from layertune.cli import report as command

    command.run(study, output)


@app.command(
    epilog="Examples: layertune verify studies/demo --duration 30m -o studies/demo/verify.md  ·  "
    "layertune verify --env studies/demo/.env --duration 1m  ·  "
    "layertune verify studies/demo --url chat=http://127.0.0.1:8001 --url code=http://127.0.0.1:8004"
)
def verify(
    study: Annotated[
        Path | None,
        typer.Argument(metavar="[STUDY]", help="A study folder, or a result.json; without it, the folder of --env."),
    ] = None,
    env: Annotated[
        Path | None, typer.Option("--env", metavar="FILE", help="Verify what this .env makes of the pick.")
    ] = None,
    duration: Annotated[str, typer.Option(metavar="TIME", help="How long the soak lasts, like 30m.")] = "30m",
    concurrency: Annotated[int, typer.Option(min=1, max=1000, metavar="N", help="Requests at once per model.")] = 10,
    url: Annotated[
        list[str] | None, typer.Option("--url", metavar="NAME=URL", help="A llama-server that runs already; repeat it.")
    ] = None,
    pick: Annotated[str, typer.Option(metavar="balanced|even|MODEL|lean|TRIAL", help="Which trial.")] = "balanced",
    server: Annotated[
        Path | None, typer.Option(metavar="PATH", help="llama-server; else build/tools/bin's, or the PATH's.")
    ] = None,
    models_dir: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Where the model files are, if not where the study had them.")
    ] = None,
    api_key_env: Annotated[
        str | None, typer.Option(metavar="NAME", help="The variable with the servers' API key (LLAMA_API_KEY).")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE.md", help="Write the record here too, as Markdown.")
    ] = None,
    json: Json = False,
) -> None:
    """Start the exported servers on the study's device, put them under load, and check every claim: exit 0 or 1."""
    from layertune.cli import verify as command

    options = command.Options(env, duration, concurrency, url or [], pick, server, models_dir, api_key_env)
    try:
        command.run(study, options, output=output, as_json=json)
    except KeyboardInterrupt as interrupt:
        raise Interrupted("interrupted: what was started has been ended, and there is no record") from interrupt


app.add_typer(machine.app)


def run() -> None:
    """Run the command line; every error of layertune is one sentence and its exit status."""
    run_commands(app)
