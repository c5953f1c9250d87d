"""Arguments and options that several commands have."""

from pathlib import Path
from typing import Annotated

import typer

Config = Annotated[Path | None, typer.Argument(metavar="[CONFIG]", help="A config, like configs/studies/demo.toml.")]
Study = Annotated[Path, typer.Argument(metavar="STUDY", help="A study folder, or a result.json.")]
Models = Annotated[
    list[str] | None, typer.Option("--model", metavar="NAME=PATH[,PATH…]", help="A model to tune; repeat it.")
]
BudgetOption = Annotated[
    str | None,
    typer.Option("--budget", metavar="SIZE", help="VRAM for all models, like 6141MiB; of two devices 4GiB+2GiB."),
]
DeviceOption = Annotated[
    str | None,
    typer.Option(
        "--device", metavar="auto|cpu|gpu:N|emulated:SIZE", help="What to offload to; several are joined: gpu:0+1."
    ),
]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="MODEL.KEY=VALUE", help="Fix one setting, like code.n_gpu_layers=20."),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
