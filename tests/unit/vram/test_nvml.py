"""The probe over NVML, through the real pynvml and a fake driver at its ABI."""

from typing import Any

import pytest

from layertune.vram.vram_report import VramReport
from nvml.driver import DRIVER_NOT_LOADED, GPU_IS_LOST, NO_PERMISSION, NOT_FOUND, NOT_SUPPORTED, UNKNOWN, Machine

ANOTHER = 4242  # a process id that is not ours
LOADED: list[Any] = ["set", {"used": 1000, "compute": ["self 700", f"{ANOTHER} 100"]}]


def in_use(machine: Machine, **control: Any) -> VramReport:
    """A trial whose models take 900 bytes of a device of which others have 100."""
    return machine.trial(["set", {"used": 1000}], ["mark", "load"], **control)


def test_this_processs_memory_is_used_if_the_driver_reports_it(machine: Machine) -> None:
    report = machine.trial(LOADED, ["mark", "load"])
    assert (report.scope, report.source) == ("process", "nvml")
    assert (report.baseline_bytes, report.peak_bytes, report.phases) == (100, 700, {"load": 700})
    assert report.notes == ()


def test_the_polling_thread_alone_detects_a_rise(machine: Machine) -> None:
    rise = [["set", {"used": 1000, "compute": ["self 900"]}], ["sleep", 0.3]]
    report = machine.trial(*rise, ["set", {"used": 200, "compute": ["self 100"]}], ["sleep", 0.1])
    assert report.peak_bytes == 900


def test_the_cost_of_sampling_is_measured(machine: Machine) -> None:
    report = machine.trial(["sleep", 0.5], delay_us=30_000)
    assert report.sampling is not None
    assert report.sampling.interval_s == 0.02
    assert report.sampling.cost_s > 0.03
    assert report.sampling.n_missed > 0  # a reading takes longer than the interval
    assert report.sampling.n_samples > 1


def test_a_vulkan_process_is_found_in_the_graphics_list(machine: Machine) -> None:
    report = machine.trial(["set", {"used": 800, "graphics": ["self 700"]}], ["mark", "load"])
    assert (report.scope, report.peak_bytes) == ("process", 700)


def test_a_process_in_both_lists_is_counted_once(machine: Machine) -> None:
    report = machine.trial(["set", {"used": 800, "compute": ["self 700"], "graphics": ["self 700"]}], ["mark", "load"])
    assert report.peak_bytes == 700


def test_a_process_that_is_no_longer_listed_holds_nothing(machine: Machine) -> None:
    gone = ["set", {"used": 100, "compute": None}]
    report = machine.trial(LOADED, ["mark", "load"], gone, ["mark", "unload"])
    assert report.phases == {"load": 700, "unload": 0}
    assert report.scope == "process"


def test_other_programs_memory_is_reported_separately(machine: Machine) -> None:
    grown = ["set", {"used": 1500, "compute": ["self 700", f"{ANOTHER} 600"]}]
    report = machine.trial(LOADED, ["mark", "load"], grown, ["mark", "a"], ["mark", "b"])
    assert (report.peak_bytes, report.foreign_bytes) == (700, 700)


def test_memory_of_this_process_at_the_baseline_is_not_foreign(machine: Machine) -> None:
    grown = ["set", {"used": 350}]
    report = machine.trial(["mark", "idle"], grown, ["mark", "a"], ["mark", "b"], used=300, compute=["self 200"])
    assert (report.baseline_bytes, report.peak_bytes, report.foreign_bytes) == (100, 200, 50)


@pytest.mark.parametrize(
    ("control", "why"),
    [
        ({"nvmlInitWithFlags": DRIVER_NOT_LOADED}, "NVML does not start: Driver Not Loaded"),
        ({"nvmlInitWithFlags": 18}, "NVML does not start: RM has detected an NVML/RM version mismatch."),
        ({"nvmlDeviceGetHandleByPciBusId_v2": NOT_FOUND}, "NVML does not answer for 0000:01:00.0: Not Found"),
        (
            {"nvmlDeviceGetHandleByPciBusId_v2": NO_PERMISSION},
            "NVML does not answer for 0000:01:00.0: Insufficient Permissions",
        ),
        ({"nvmlDeviceGetMemoryInfo_v2": GPU_IS_LOST}, "NVML does not answer for 0000:01:00.0: GPU is lost"),
        (
            {"nvmlDeviceGetMemoryInfo_v2": NOT_SUPPORTED, "nvmlDeviceGetMemoryInfo": NOT_SUPPORTED},
            "NVML does not answer for 0000:01:00.0: Not Supported",
        ),
        ({"nvmlDeviceGetMigMode": UNKNOWN}, "NVML does not answer for 0000:01:00.0: Unknown Error"),
        ({"mig": 1}, "NVML reports the memory of all of 0000:01:00.0, which MIG divides"),
    ],
    ids=lambda value: "" if isinstance(value, str) else " ".join(value),
)
def test_without_nvml_the_values_of_llama_cpps_backend_are_used(
    machine: Machine, control: dict[str, Any], why: str
) -> None:
    report = machine.trial(["mark", "load"], **control)
    assert (report.scope, report.source) == ("device", "ggml")
    assert report.notes[0] == f"{why}: the values of llama.cpp's backend are used instead"


def test_without_nvidias_library_the_values_of_llama_cpps_backend_are_used(bare_machine: Machine) -> None:
    report = bare_machine.trial(["mark", "load"])
    assert report.source == "ggml"
    assert report.notes[0].startswith("NVML does not start: NVML Shared Library Not Found: ")


@pytest.mark.parametrize(
    ("control", "why"),
    [
        (
            {"compute": ["self na"]},
            "NVML does not report this process's memory, as on WSL2 and with Windows' WDDM driver model",
        ),
        (
            {"compute": ["self 0"]},
            "NVML lists this process without its memory, as in a container with its own process ids",
        ),
        (
            {"compute": [f"{ANOTHER} 900"]},
            "NVML does not list this process, as in a container with its own process ids",
        ),
        ({}, "NVML does not list this process, as in a container with its own process ids"),
    ],
    ids=["without bytes", "with zero", "under another id", "not at all"],
)
def test_the_whole_device_counts_if_this_processs_memory_is_not_reported(
    machine: Machine, control: dict[str, Any], why: str
) -> None:
    report = in_use(machine, **control)
    assert (report.scope, report.peak_bytes, report.phases) == ("device", 900, {"load": 900})
    assert report.foreign_bytes is None
    assert report.notes == (f"{why}: the whole device's memory above the baseline is used instead",)


def test_the_baseline_excludes_the_context_of_this_process(machine: Machine) -> None:
    loaded = [["mark", "idle"], ["set", {"used": 1000}], ["mark", "load"]]
    [report] = machine.probe(["context", {"used": 600}], ["start"], *loaded, ["stop"])
    assert (report.scope, report.baseline_bytes, report.peak_bytes) == ("device", 100, 900)
    assert report.phases == {"idle": 500, "load": 900}


@pytest.mark.parametrize(
    ("code", "words"), [(NOT_SUPPORTED, "Not Supported"), (NO_PERMISSION, "Insufficient Permissions")]
)
def test_the_whole_device_counts_if_processes_are_not_listed(machine: Machine, code: int, words: str) -> None:
    lists = ("nvmlDeviceGetComputeRunningProcesses", "nvmlDeviceGetGraphicsRunningProcesses")
    report = in_use(machine, **{f"{name}_v{version}": code for name in lists for version in (2, 3)})
    assert (report.scope, report.peak_bytes) == ("device", 900)
    assert report.notes == (
        f"NVML does not list this card's processes ({words}): "
        "the whole device's memory above the baseline is used instead",
    )


def test_an_old_driver_is_read_with_the_older_functions(old_machine: Machine) -> None:
    report = old_machine.trial(LOADED, ["mark", "load"])
    assert (report.scope, report.peak_bytes, report.phases) == ("process", 700, {"load": 700})
    assert report.baseline_bytes == 400  # with the 300 that the driver reserves
    [note] = report.notes
    assert note.startswith("this driver's NVML does not report its reserved memory separately (Function Not Found): ")


def test_memory_that_the_driver_reserves_does_not_count_above_the_baseline(
    machine: Machine, old_machine: Machine
) -> None:
    assert in_use(machine).peak_bytes == in_use(old_machine).peak_bytes == 900


def test_a_gpu_that_is_lost_during_a_trial_leaves_earlier_readings_and_a_note(machine: Machine) -> None:
    lost = {"nvmlDeviceGetMemoryInfo_v2": GPU_IS_LOST}
    report = machine.trial(LOADED, ["mark", "load"], ["set", lost], ["sleep", 0.3], ["mark", "together"])
    assert (report.peak_bytes, report.phases) == (700, {"load": 700})
    assert report.sampling is not None
    assert report.sampling.n_missed >= 5
    [note] = report.notes
    assert "readings failed (NVML does not answer: GPU is lost): the other readings are used" in note


def test_a_gpu_that_comes_back_is_measured_again(machine: Machine) -> None:
    away = [["set", {"nvmlDeviceGetMemoryInfo_v2": UNKNOWN}], ["sleep", 0.1]]
    back = ["set", {"nvmlDeviceGetMemoryInfo_v2": 0, "used": 2000, "compute": ["self 1900"]}]
    report = machine.trial(LOADED, ["mark", "load"], *away, back, ["sleep", 0.3])
    assert report.peak_bytes == 1900


def test_a_share_that_is_no_longer_reported_is_not_zero(machine: Machine) -> None:
    report = machine.trial(LOADED, ["mark", "load"], ["set", {"compute": ["self na"]}], ["mark", "together"])
    assert (report.peak_bytes, report.phases) == (700, {"load": 700})
    assert "NVML does not report this process's memory" in report.notes[0]


def test_a_gpu_that_never_answers_has_no_report(machine: Machine) -> None:
    lost = ["set", {"nvmlDeviceGetMemoryInfo_v2": GPU_IS_LOST}]
    _first, read, stopped = machine.probe(["start"], ["stop"], lost, ["start"], ["read"], ["stop"])
    assert read.startswith("NVML does not answer: GPU is lost")
    assert stopped == "the memory of the device could not be read once in the trial: NVML does not answer: GPU is lost"


def test_without_a_baseline_no_trial_begins(machine: Machine) -> None:
    # NVML answers when it is opened, and not when the trial starts.
    [why, *_] = machine.probe(["set", {"nvmlDeviceGetMemoryInfo_v2": GPU_IS_LOST}], ["start"])
    assert why == "NVML does not answer: GPU is lost; run nvidia-smi"


def test_the_drivers_version_is_none_without_a_driver(machine: Machine, bare_machine: Machine) -> None:
    assert machine.ask("driver_version") == "560.35.03"
    assert machine.ask("driver_version", nvmlInitWithFlags=DRIVER_NOT_LOADED) is None
    assert machine.ask("driver_version", nvmlSystemGetDriverVersion=UNKNOWN) is None
    assert bare_machine.ask("driver_version") is None


def test_the_power_limit_is_in_watts_and_none_without_a_driver(machine: Machine, bare_machine: Machine) -> None:
    assert machine.ask("power_limit_w", limit=35_500) == 35.5
    assert machine.ask("power_limit_w", nvmlDeviceGetEnforcedPowerLimit=NOT_SUPPORTED) is None
    assert bare_machine.ask("power_limit_w") is None


def test_importing_the_package_loads_no_driver(machine: Machine) -> None:
    assert machine.ask("imports") == {"libnvidia-ml loaded": False, "pynvml imported": False}


def test_free_memory_is_what_the_driver_leaves_to_programs(machine: Machine, old_machine: Machine) -> None:
    assert machine.ask("free_bytes", used=1000) == 6000 - 300 - 1000
    assert old_machine.ask("free_bytes", used=1000) == 6000 - 1300  # its `used` has the reserved memory in it


def test_without_nvml_the_backends_free_memory_counts(bare_machine: Machine) -> None:
    assert bare_machine.ask("free_bytes") == 77
