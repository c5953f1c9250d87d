"""The commands that need no study: recommend, profile, doctor, standin."""

from pathlib import Path
from typing import Annotated

import typer

from layertune.cli.options import BudgetOption, Config, DeviceOption, Json, Models, Settings

app = typer.Typer()


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


@app.command(epilog="Example: layertune doctor --json")
def doctor(json: Json = False) -> None:
    """Show whether this machine can offload and measure, and if not, the command that fixes it."""
    from layertune.cli import doctor as command

    command.run(as_json=json)


@app.command(epilog="Example: layertune standin Qwen2.5-3B-Instruct -o models/Qwen2.5-3B-Instruct-Q4_K_M.gguf")
def standin(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A known model, or a GGUF file as template.")],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FILE.gguf", help="Write here.")],
    seed: Annotated[int, typer.Option(min=0, max=2**32 - 1, help="Seed of the random weights.")] = 0,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the file if it is there.")] = False,
) -> None:
    """Write a model of the same tensor shapes with random weights, to tune before downloading."""
    from layertune.cli import standin as command

    command.run(name, output, seed=seed, overwrite=overwrite)
