"""The commands that need no study: init, recommend, hardware, profile, doctor, quantize, standin."""

from pathlib import Path
from typing import Annotated

import typer

from layertune.cli.options import BudgetOption, Config, DeviceOption, Json, Models, Settings

app = typer.Typer()


@app.command(
    epilog="Examples: layertune init --model chat=a.gguf --model code=b.gguf  ·  "
    "layertune init --model chat=a.gguf --model code=b.gguf --hardware rtx-4050-laptop -o mine.toml"
)
def init(
    model: Models = None,
    hardware: Annotated[
        str | None, typer.Option(metavar="PROFILE", help="The card: a name of layertune hardware, or a path.")
    ] = None,
    budget: BudgetOption = None,
    device: DeviceOption = None,
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FILE.toml", help="Write here.")] = Path(
        "study.toml"
    ),
) -> None:
    """Write a study config with comments, for your models and card."""
    from layertune.cli import init as command
    from layertune.config.overrides import Overrides

    command.run(Overrides(model or [], budget, device, []), hardware, output)


@app.command(epilog="Example: layertune recommend --model chat=a.gguf --model code=b.gguf --budget 5.5GiB -o .env")
def recommend(
    config: Config = None,
    model: Models = None,
    budget: BudgetOption = None,
    device: DeviceOption = None,
    set_: Settings = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", metavar="FILE", help="Write its .env here.")] = None,
    json: Json = False,
) -> None:
    """Recommend a setting by memory plan and bandwidth, within seconds. No model is loaded, and no speed measured."""
    from layertune.cli import recommend as command
    from layertune.config.overrides import Overrides, study_config

    wanted = study_config(config, Overrides(model or [], budget, device, set_ or []))
    command.run(wanted, output, [config] if config else [], json=json)


@app.command(
    epilog="Examples: layertune profile -o configs/hardware/mine.toml  ·  "
    "layertune profile --device emulated:6GiB --json"
)
def profile(
    device: DeviceOption = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", metavar="FILE", help="Write here.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Write JSON instead of TOML.")] = False,
) -> None:
    """Describe this machine as a hardware profile: device, memory and how fast it is, power, llama.cpp build."""
    from layertune.cli import profile as command

    command.run(device, output, as_json=json)


@app.command(epilog="Example: layertune hardware --json")
def hardware(json: Json = False) -> None:
    """List the known cards: those that predict and init take by name."""
    from layertune.cli import hardware as command

    command.run(as_json=json)


@app.command(epilog="Example: layertune doctor --json")
def doctor(json: Json = False) -> None:
    """Show whether this machine can offload and measure, and if not, the command that fixes it."""
    from layertune.cli import doctor as command

    command.run(as_json=json)


Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace files that are there.")]


@app.command(
    epilog="Examples: layertune quantize model-F16.gguf --types Q4_K_M,IQ4_XS,Q3_K_M  ·  "
    "layertune quantize model-F16.gguf --types IQ2_M --imatrix imatrix.gguf -o models/"
)
def quantize(
    source: Annotated[Path, typer.Argument(metavar="FILE", help="The GGUF file to make them from.")],
    types: Annotated[str, typer.Option(metavar="TYPE,TYPE…", help="One file of each, like Q4_K_M,Q3_K_M.")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="DIR", help="Write into this folder (that of FILE).")
    ] = None,
    imatrix: Annotated[
        Path | None, typer.Option(metavar="FILE", help="An importance matrix in GGUF, of llama-imatrix.")
    ] = None,
    overwrite: Overwrite = False,
    json: Json = False,
) -> None:
    """Make smaller files of a model, by llama.cpp's own quantization: NAME-Q3_K_M.gguf."""
    from layertune.cli import quantize as command

    command.run(source, types, output, imatrix, overwrite=overwrite, as_json=json)


@app.command(
    epilog="Examples: layertune standin Qwen2.5-3B-Instruct -o models/Qwen2.5-3B-Instruct-Q4_K_M.gguf  ·  "
    "layertune standin Qwen2.5-Coder-7B-Instruct --type Q3_K_M -o models/code-Q3_K_M.gguf"
)
def standin(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A known model, or a GGUF file as template.")],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FILE.gguf", help="Write here.")],
    type: Annotated[
        str | None, typer.Option(metavar="TYPE", help="Like Q3_K_M; without it Q4_K_M, or as the template.")
    ] = None,
    with_imatrix: Annotated[
        bool, typer.Option("--with-imatrix", help="With --type: as if made with an importance matrix.")
    ] = False,
    seed: Annotated[int, typer.Option(min=0, max=2**32 - 1, help="Seed of the random weights.")] = 0,
    overwrite: Overwrite = False,
) -> None:
    """Write a model of the same tensor shapes with random weights, to tune before downloading."""
    from layertune.cli import standin as command

    command.run(name, output, type, with_imatrix=with_imatrix, seed=seed, overwrite=overwrite)
