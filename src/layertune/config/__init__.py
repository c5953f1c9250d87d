"""The study config and the hardware profile, and the TOML files that hold them."""

from layertune.config.budget import Budget, Deployment, HostLimits
from layertune.config.device import DeviceChoice, EmulatedOptions
from layertune.config.dimension import IntRange, dimension_values
from layertune.config.hardware_profile import HardwareProfile, dump_hardware, find_hardware, load_hardware
from layertune.config.loading import CONFIG_NAME, dump_config, load_config, parse_config
from layertune.config.model_config import ModelConfig, ModelSpace, Workload
from layertune.config.objective import Floor, Objective
from layertune.config.study_config import SearchConfig, StudyConfig

__all__ = [
    "CONFIG_NAME",
    "Budget",
    "Deployment",
    "DeviceChoice",
    "EmulatedOptions",
    "Floor",
    "HardwareProfile",
    "HostLimits",
    "IntRange",
    "ModelConfig",
    "ModelSpace",
    "Objective",
    "SearchConfig",
    "StudyConfig",
    "Workload",
    "dimension_values",
    "dump_config",
    "dump_hardware",
    "find_hardware",
    "load_config",
    "load_hardware",
    "parse_config",
]
