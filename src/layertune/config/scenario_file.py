"""A user's own memory estimates, for comparison with the plan: models, their layers, and the expected bytes."""

from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from layertune.config.device import DeviceChoice, DeviceText
from layertune.config.fields import Size, Within
from layertune.config.loading import first_problem, read_table
from layertune.errors import ConfigError, listed


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ScenarioSettings(_Table):
    """Settings of all scenarios, like llama-server's -c and -b."""

    n_ctx: Annotated[int, Within.of_setting("n_ctx")] = 4096
    n_batch: Annotated[int, Within.of_setting("n_batch")] = 512


class ScenarioFile(_Table):
    """A model file, with the user's estimates of its size and of its VRAM with all layers.

    If there is no file at `path`, the stand-in of the known `model` is used.
    """

    model: str
    path: Path | None = None
    file: Size | None = None
    vram: Size | None = None


class ScenarioModel(_Table):
    file: str
    n_gpu_layers: Annotated[int, Within.of_setting("n_gpu_layers")]
    expected: Size | None = None


class Scenario(_Table):
    """`expected` is the user's estimate for all models with the overhead, `verdict` their conclusion."""

    name: str
    models: dict[str, ScenarioModel] = Field(min_length=1)
    expected: Size | None = None
    verdict: str | None = None


class ScenarioConfig(_Table):
    """`overhead` is the user's estimate for the driver and the like, once for all models."""

    name: str
    device: DeviceText
    overhead: Size = 0
    settings: ScenarioSettings = Field(default_factory=ScenarioSettings)
    files: dict[str, ScenarioFile] = Field(min_length=1)
    scenarios: list[Scenario] = Field(min_length=1)

    @field_validator("scenarios")
    @classmethod
    def _check_names(cls, scenarios: list[Scenario]) -> list[Scenario]:
        names = [scenario.name for scenario in scenarios]
        if len(set(names)) < len(names):
            raise ValueError("two scenarios have the same name; rename one")
        return scenarios

    def resolved_device(self) -> DeviceChoice:
        return DeviceChoice.parse(self.device)


def load_scenarios(path: Path) -> ScenarioConfig:
    """Read a scenario file; model paths in it are relative to the file.

    Raises:
        ConfigError: the file is missing or unreadable, is not TOML, or a key in it is wrong.
    """
    try:
        config = ScenarioConfig.model_validate(read_table(path, "a scenario file"))
    except ValidationError as error:
        raise ConfigError(f"{path}: {first_problem(error)}") from error
    for scenario in config.scenarios:
        for name, model in scenario.models.items():
            if model.file not in config.files:
                raise ConfigError(
                    f"{path}: scenario {scenario.name}: {name} has no file {model.file}",
                    remedy=f"the files are {listed(config.files)}",
                )
    return config
