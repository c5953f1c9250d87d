"""Memory and CPUs that the models may use: the tables [budget], [host] and [deployment]."""

from typing import Annotated

from pydantic import Field, model_validator

from layertune.config.device import DeviceSizes
from layertune.config.fields import MAX_THREADS, Size, Table, Within
from layertune.units import format_bytes


class Budget(Table):
    """The VRAM that all models together may take."""

    vram: DeviceSizes | None = Field(
        default=None,
        description='Budget, like "6141MiB"; for several devices one each, like "4GiB+2GiB". Default: what is '
        "free of a GPU, less 256 MiB; the whole of an emulated card.",
    )
    margin: Size = Field(default=0, description="Memory of each device that is kept free within its budget.")

    @model_validator(mode="after")
    def _check_room(self) -> "Budget":
        for size_bytes in self.each_device():
            if size_bytes == 0:
                raise ValueError(
                    "a budget of 0 bytes holds nothing; leave vram out for the device's whole memory, or choose the "
                    "device cpu to use none of it"
                )
            if size_bytes <= self.margin:
                raise ValueError(
                    f"the margin of {format_bytes(self.margin)} leaves nothing of a budget of "
                    f"{format_bytes(size_bytes)}; lower it, or raise vram"
                )
        return self

    def each_device(self) -> tuple[int, ...]:
        """Return the budget of each device; empty if the config has none."""
        if self.vram is None:
            return ()
        return self.vram if isinstance(self.vram, tuple) else (self.vram,)


class HostLimits(Table):
    """The CPUs and the RAM of each model's container."""

    n_cpus: Annotated[int | None, Within(1, MAX_THREADS)] = Field(
        default=None,
        description="CPUs per model, at most this machine's cores. No n_threads may exceed it. Default: all cores.",
    )
    ram_per_model: Size | None = Field(default=None, description='RAM limit of one model, like "6GB".')

    def n_cpus_of(self, n_cores: int) -> int:
        """Return the CPUs of each model on a machine of `n_cores`. More threads than cores would only wait."""
        return n_cores if self.n_cpus is None else min(self.n_cpus, n_cores)


class Deployment(Table):
    """How the models will be served. Each server process has its own context on a GPU."""

    processes: Annotated[int | None, Within(1, 1000)] = Field(
        default=None, description="Server processes that will be deployed. Default: one per model."
    )
