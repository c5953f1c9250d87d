"""The watch over NVML, through the real pynvml and a fake driver at its ABI."""

import re
from collections.abc import Sequence
from typing import Any

import pytest

from nvml.driver import DRIVER_NOT_LOADED, GPU_IS_LOST, NO_PERMISSION, NOT_SUPPORTED, Machine

US = 1_000_000
HW_SLOWDOWN, SW_POWER_CAP, SW_THERMAL, HW_THERMAL = 0x08, 0x04, 0x20, 0x40


def found(machine: Machine, *steps: Sequence[Any], host_pids: bool = True, **control: Any) -> dict[str, bool]:
    """What a watch finds over some readings; this process uses the GPU throughout, unless `use` says otherwise."""
    control.setdefault("use", ["self 95"])
    [findings] = machine.watch(["start"], *steps, ["sleep", 0.1], ["stop"], host_pids=host_pids, **control)
    return {finding.text: finding.disturbs for finding in findings}


def starts(texts: dict[str, bool]) -> dict[str, bool]:
    """Without the counts of readings, which the machine's load decides."""
    return {text.partition(", in ")[0].partition(" in ")[0]: disturbs for text, disturbs in texts.items()}


def test_a_gpu_of_ones_own_at_full_clock_is_no_finding(machine: Machine) -> None:
    assert found(machine) == {}


def test_another_program_on_the_gpu_disturbs(machine: Machine) -> None:
    texts = found(machine, use=["self 60", "77 30", "78 7"])
    assert starts(texts) == {"another program used up to 37 % of the GPU": True}


def test_a_desktop_at_rest_does_not(machine: Machine) -> None:
    assert found(machine, use=["self 95", "77 3"]) == {}


def test_use_from_before_the_trial_and_of_processes_that_are_gone_does_not_count(machine: Machine) -> None:
    assert found(machine, use=["self 95", f"77 80 {10 * US}", "78 2147483632"]) == {}


def test_a_gpu_slowed_for_heat_disturbs_and_tells_the_clock(machine: Machine) -> None:
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


def test_another_power_limit_in_the_middle_is_a_warning(machine: Machine) -> None:
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


def test_without_permission_for_other_programs_use_the_load_before_the_first_trial_counts(machine: Machine) -> None:
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


def test_where_neither_use_nor_load_is_told_both_are_said_to_be_unknown(machine: Machine) -> None:
    refused = {"nvmlDeviceGetProcessUtilization": NOT_SUPPORTED, "nvmlDeviceGetUtilizationRates": NOT_SUPPORTED}
    texts = found(machine, **refused)
    assert [text.partition(" is not reported")[0] for text in texts] == [
        "the GPU's load",
        "other programs' use of the GPU",
    ]
    assert not any(texts.values())


def test_a_list_of_users_without_this_process_proves_nothing(machine: Machine) -> None:
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


def test_a_container_whose_driver_knows_its_process_ids_is_believed(machine: Machine) -> None:
    texts = found(machine, use=["self 60", "77 30"], host_pids=False)
    assert starts(texts) == {"another program used up to 30 % of the GPU": True}


def test_an_old_driver_is_asked_for_the_reasons_by_their_old_name(old_machine: Machine) -> None:
    assert starts(found(old_machine, reasons=SW_THERMAL)) == {"the driver slowed the GPU down for heat": True}


def test_a_gpu_that_is_lost_in_a_trial_is_a_warning_and_no_silence(machine: Machine) -> None:
    lost = ["set", {"nvmlDeviceGetProcessUtilization": GPU_IS_LOST, "nvmlDeviceGetClockInfo": GPU_IS_LOST}]
    [(text, disturbs)] = found(machine, ["sleep", 0.1], lost).items()
    told = re.fullmatch(r"NVML did not answer in (\d+) of (\d+) readings \(GPU is lost\)", text)
    assert told is not None, text
    assert 0 < int(told[1]) < int(told[2])
    assert not disturbs


def test_each_trial_is_judged_by_itself(machine: Machine) -> None:
    hot = [["set", {"reasons": HW_THERMAL}], ["start"], ["stop"]]
    cool = [["set", {"reasons": 0}], ["start"], ["stop"]]
    first, second, third = machine.watch(*hot, *cool, *hot, use=["self 95"])
    assert [finding.disturbs for finding in first] == [True]
    assert second == []
    assert third == first


def test_a_worker_opens_the_watch_where_nvml_answers(machine: Machine) -> None:
    trial = [["start"], ["sleep", 0.7], ["stop"]]
    [[hot]] = machine.watch(*trial, host_pids=None, use=["self 95"], reasons=HW_THERMAL)
    assert hot.text.startswith("the hardware slowed the GPU down for heat in ")
    assert hot.disturbs
    assert machine.ask("watch opened", nvmlInitWithFlags=DRIVER_NOT_LOADED) is False
    assert machine.ask("watch opened") is True
