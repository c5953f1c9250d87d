"""The watch over NVML, through the real pynvml and a fake driver at its ABI."""

import re
from collections.abc import Sequence
from typing import Any

import pytest

from nvml.driver import DRIVER_NOT_LOADED, GPU_IS_LOST, NO_PERMISSION, NOT_SUPPORTED, Machine

US = 1_000_000
HW_SLOWDOWN, SW_POWER_CAP, SW_THERMAL, HW_THERMAL = 0x08, 0x04, 0x20, 0x40


def found(machine: Machine, *steps: Sequence[Any], host_pids: bool = True, **control: Any) -> dict[str, bool]:
    """What a watch finds over some readings; this process uses the GPU throughout, unless `use` is given."""
    control.setdefault("use", ["self 95"])
    [findings] = machine.watch(["start"], *steps, ["sleep", 0.1], ["stop"], host_pids=host_pids, **control)
    return {finding.text: finding.disturbs for finding in findings}


def starts(texts: dict[str, bool]) -> dict[str, bool]:
    """Without the counts of readings, which the machine's load decides."""
    return {text.partition(", in ")[0].partition(" in ")[0]: disturbs for text, disturbs in texts.items()}


def test_an_undisturbed_gpu_at_full_clock_gives_no_finding(machine: Machine) -> None:
    assert found(machine) == {}


def test_another_program_on_the_gpu_disturbs(machine: Machine) -> None:
    texts = found(machine, use=["self 60", "77 30", "78 7"])
    assert starts(texts) == {"another program used up to 37 % of the GPU": True}


def test_an_idle_desktop_does_not_disturb(machine: Machine) -> None:
    assert found(machine, use=["self 95", "77 3"]) == {}


def test_use_before_the_trial_and_by_ended_processes_does_not_count(machine: Machine) -> None:
    assert found(machine, use=["self 95", f"77 80 {10 * US}", "78 2147483632"]) == {}


def test_a_gpu_slowed_for_heat_disturbs_and_the_clock_is_reported(machine: Machine) -> None:
    hot = found(machine, reasons=HW_SLOWDOWN | HW_THERMAL | SW_THERMAL, clock=1005)
    assert starts(hot) == {
        "the hardware slowed the GPU down for heat": True,
        "the driver slowed the GPU down for heat": True,
    }
    assert all(text.endswith("readings, to 1005 MHz of 2370 MHz") for text in hot)


def test_a_gpu_at_its_power_limit_is_a_warning(machine: Machine) -> None:
    [(text, disturbs)] = found(machine, reasons=SW_POWER_CAP, clock=1455, limit=35_000).items()
    assert text.startswith("the power limit kept the GPU's clock down in ")
    assert text.endswith(", to 1455 MHz of 2370 MHz, at 35 W")
    assert not disturbs


def test_a_change_of_the_power_limit_is_a_warning(machine: Machine) -> None:
    texts = found(machine, ["sleep", 0.1], ["set", {"limit": 35_000}])
    assert texts == {"the GPU's power limit changed between 35 W and 80 W": False}


@pytest.mark.parametrize(
    ("function", "words"),
    [
        ("nvmlDeviceGetProcessUtilization", "other programs' use of the GPU is not reported (Not Supported): "),
        ("nvmlDeviceGetCurrentClocksEventReasons", "reasons for a low GPU clock are not reported (Not Supported): "),
        ("nvmlDeviceGetClockInfo", "the GPU's clock is not reported (Not Supported): "),
        ("nvmlDeviceGetMaxClockInfo", "the GPU's highest clock is not reported (Not Supported): "),
        ("nvmlDeviceGetEnforcedPowerLimit", "the GPU's power limit is not reported (Not Supported): "),
    ],
)
def test_each_query_that_a_card_does_not_support_is_a_warning(machine: Machine, function: str, words: str) -> None:
    [(text, disturbs)] = found(machine, **{function: NOT_SUPPORTED}).items()
    assert text.startswith(words)
    assert not disturbs


def test_without_permission_to_list_programs_the_load_before_the_first_trial_is_checked(machine: Machine) -> None:
    texts = found(machine, nvmlDeviceGetProcessUtilization=NO_PERMISSION, load=37)
    assert texts == {
        "the GPU was busy 37 % of the time before the first trial": True,
        "other programs' use of the GPU is not reported (Insufficient Permissions): "
        "only its load before the first trial is checked": False,
    }


def test_the_load_before_the_first_trial_disturbs_no_later_one(machine: Machine) -> None:
    trial = [["start"], ["stop"]]
    first, second = machine.watch(*trial, *trial, nvmlDeviceGetProcessUtilization=NOT_SUPPORTED, load=37)
    assert [finding.disturbs for finding in first] == [True, False]
    assert [finding.disturbs for finding in second] == [False]


def test_use_and_load_that_are_not_reported_are_both_warnings(machine: Machine) -> None:
    refused = {"nvmlDeviceGetProcessUtilization": NOT_SUPPORTED, "nvmlDeviceGetUtilizationRates": NOT_SUPPORTED}
    texts = found(machine, **refused)
    assert [text.partition(" is not reported")[0] for text in texts] == [
        "the GPU's load",
        "other programs' use of the GPU",
    ]
    assert not any(texts.values())


def test_a_list_of_programs_without_this_process_is_not_trusted(machine: Machine) -> None:
    unknown = (
        "other programs' use of the GPU is not reported (this process is not in the driver's list): "
        "only its load before the first trial is checked"
    )
    assert found(machine, use=None) == {unknown: False}
    assert found(machine, use=None, quiet_success=1) == {unknown: False}
    # In a container with its own process ids, number 77 of the host can be this very process.
    assert found(machine, use=["77 95"], host_pids=False) == {unknown: False}
    # Out of one it is somebody else.
    assert True in found(machine, use=["77 95"]).values()


def test_a_list_with_this_processs_id_is_trusted_in_a_container(machine: Machine) -> None:
    texts = found(machine, use=["self 60", "77 30"], host_pids=False)
    assert starts(texts) == {"another program used up to 30 % of the GPU": True}


def test_an_old_driver_is_queried_with_the_old_function_name(old_machine: Machine) -> None:
    assert starts(found(old_machine, reasons=SW_THERMAL)) == {"the driver slowed the GPU down for heat": True}


def test_a_gpu_that_is_lost_during_a_trial_is_a_warning(machine: Machine) -> None:
    lost = ["set", {"nvmlDeviceGetProcessUtilization": GPU_IS_LOST, "nvmlDeviceGetClockInfo": GPU_IS_LOST}]
    [(text, disturbs)] = found(machine, ["sleep", 0.1], lost).items()
    counts = re.fullmatch(r"NVML did not answer in (\d+) of (\d+) readings \(GPU is lost\)", text)
    assert counts is not None, text
    assert 0 < int(counts[1]) < int(counts[2])
    assert not disturbs


def test_each_trial_is_judged_separately(machine: Machine) -> None:
    hot = [["set", {"reasons": HW_THERMAL}], ["start"], ["stop"]]
    cool = [["set", {"reasons": 0}], ["start"], ["stop"]]
    first, second, third = machine.watch(*hot, *cool, *hot, use=["self 95"])
    assert [finding.disturbs for finding in first] == [True]
    assert second == []
    assert third == first


def test_the_watch_is_opened_if_nvml_answers(machine: Machine) -> None:
    trial = [["start"], ["sleep", 0.7], ["stop"]]
    [[hot]] = machine.watch(*trial, host_pids=None, use=["self 95"], reasons=HW_THERMAL)
    assert hot.text.startswith("the hardware slowed the GPU down for heat in ")
    assert hot.disturbs
    assert machine.ask("watch opened", nvmlInitWithFlags=DRIVER_NOT_LOADED) is False
    assert machine.ask("watch opened") is True
