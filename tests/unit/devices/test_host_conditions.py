from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from layertune.devices.host_conditions import Finding, HostUse, findings, oversubscription
from layertune.units import MIB

QUIET = HostUse(
    window_s=2.0,
    own_cpu_s=4.0,
    foreign_cpu_s=0.0,
    stolen_cpu_s=0.0,
    n_major_faults=0,
    swapped_in_bytes=0,
    battery_percent=None,
)


def test_a_quiet_machine_gives_no_finding() -> None:
    assert findings(QUIET, 2, 2) == []


def test_programs_that_take_the_models_cores_disturb() -> None:
    assert findings(replace(QUIET, foreign_cpu_s=1.0), 2, 2) == [
        Finding("other programs took 0.50 cores for 2.0 s, with 0 of 2 cores to spare", disturbs=True)
    ]


def test_stolen_time_is_reported_separately() -> None:
    assert findings(replace(QUIET, foreign_cpu_s=0.3, stolen_cpu_s=0.5), 4, 4) == [
        Finding(
            "other programs took 0.15 cores and the hypervisor took 0.25 cores for 2.0 s, with 0 of 4 cores to spare",
            disturbs=True,
        )
    ]
    assert findings(replace(QUIET, stolen_cpu_s=0.5), 4, 4) == [
        Finding("the hypervisor took 0.25 cores for 2.0 s, with 0 of 4 cores to spare", disturbs=True)
    ]


def test_stolen_time_disturbs_regardless_of_spare_cores() -> None:
    assert [found.disturbs for found in findings(replace(QUIET, stolen_cpu_s=0.5), 16, 2)] == [True]
    assert findings(replace(QUIET, stolen_cpu_s=0.15), 16, 2) == []


def test_what_is_within_twice_the_noise_of_a_quiet_machine_is_noted_and_not_measured_again() -> None:
    assert [found.disturbs for found in findings(replace(QUIET, stolen_cpu_s=0.3), 16, 2)] == [False]
    assert [found.disturbs for found in findings(replace(QUIET, foreign_cpu_s=0.3), 2, 2)] == [False]


def test_programs_on_spare_cores_do_not_disturb() -> None:
    assert findings(replace(QUIET, foreign_cpu_s=2.0), 4, 2) == []


def test_programs_that_fill_spare_cores_are_a_warning() -> None:
    assert findings(replace(QUIET, foreign_cpu_s=3.0), 4, 2) == [
        Finding("other programs took 1.50 cores for 2.0 s, with 2 of 4 cores to spare", disturbs=False)
    ]


def test_programs_that_need_more_than_the_spare_cores_disturb() -> None:
    half_waiting = replace(QUIET, own_cpu_s=2.0)
    assert [found.disturbs for found in findings(replace(half_waiting, foreign_cpu_s=4.4), 4, 2)] == [True]
    assert [found.disturbs for found in findings(replace(half_waiting, foreign_cpu_s=4.1), 4, 2)] == [False]


def test_programs_disturb_if_no_core_was_idle() -> None:
    crowded = replace(QUIET, own_cpu_s=1.9, foreign_cpu_s=2.1)
    assert [found.disturbs for found in findings(crowded, 2, 1)] == [True]
    assert findings(replace(crowded, foreign_cpu_s=1.5), 2, 1) == []


def test_more_threads_than_cores_leave_no_spare_core() -> None:
    assert findings(replace(QUIET, foreign_cpu_s=0.1), 2, 8) == []
    assert findings(replace(QUIET, foreign_cpu_s=1.0), 2, 8) == findings(replace(QUIET, foreign_cpu_s=1.0), 2, 2)


def test_a_window_too_short_for_the_counters_gives_no_cpu_finding() -> None:
    assert findings(replace(QUIET, window_s=0.49, foreign_cpu_s=0.49), 2, 2) == []
    assert len(findings(replace(QUIET, window_s=0.5, foreign_cpu_s=0.5), 2, 2)) == 1


def test_a_system_that_does_not_report_other_programs_is_a_warning() -> None:
    assert findings(replace(QUIET, foreign_cpu_s=None), 2, 2) == [
        Finding("this system does not report how much CPU time other programs took", disturbs=False)
    ]


def test_other_values_that_a_system_does_not_report_are_no_finding() -> None:
    silent = replace(QUIET, own_cpu_s=None, stolen_cpu_s=None, n_major_faults=None, swapped_in_bytes=None)
    assert findings(silent, 2, 2) == []


def test_page_faults_that_wait_for_a_disk_disturb() -> None:
    assert findings(replace(QUIET, n_major_faults=20), 2, 2) == []
    assert findings(replace(QUIET, n_major_faults=21), 2, 2) == [
        Finding("the trial waited for a disk at 21 major page faults in 2.0 s", disturbs=True)
    ]


def test_swapping_disturbs() -> None:
    assert findings(replace(QUIET, swapped_in_bytes=2 * MIB), 2, 2) == []
    assert findings(replace(QUIET, swapped_in_bytes=3 * MIB), 2, 2) == [
        Finding("the machine swapped in 3.0 MiB in 2.0 s", disturbs=True)
    ]


def test_a_few_page_faults_in_a_short_window_do_not_disturb() -> None:
    short = replace(QUIET, window_s=0.01)
    assert findings(replace(short, n_major_faults=5, swapped_in_bytes=MIB // 2), 2, 2) == []
    assert [found.disturbs for found in findings(replace(short, n_major_faults=6), 2, 2)] == [True]


def test_running_on_battery_is_a_warning() -> None:
    assert findings(replace(QUIET, battery_percent=56.6), 2, 2) == [
        Finding("the machine ran on its battery, 57 % charged", disturbs=False)
    ]


@given(st.floats(0, 64), st.floats(0, 64), st.integers(1, 64), st.integers(1, 64))
def test_more_foreign_time_never_disturbs_less(less_s: float, more_s: float, n_cores: int, n_threads: int) -> None:
    def disturbs(foreign_cpu_s: float) -> bool:
        return any(
            found.disturbs for found in findings(replace(QUIET, foreign_cpu_s=foreign_cpu_s), n_cores, n_threads)
        )

    less_s, more_s = sorted((less_s, more_s))
    assert disturbs(more_s) or not disturbs(less_s)


def test_more_threads_than_cores_are_named() -> None:
    threads = {"chat": 4, "code": 4, "the emulated card": 2}
    assert oversubscription(threads, 6) == "chat 4 + code 4 + the emulated card 2 threads share 6 cores"
    assert oversubscription({"chat": 2}, 1) == "chat 2 threads share 1 core"


@pytest.mark.parametrize("threads", [{}, {"chat": 6}, {"chat": 3, "code": 3}])
def test_threads_that_fit_the_cores_are_no_oversubscription(threads: dict[str, int]) -> None:
    assert oversubscription(threads, 6) is None


def test_a_thread_that_sleeps_while_the_card_computes_needs_no_core() -> None:
    threads = {"chat": 1, "code": 1, "the emulated card": 1}
    assert oversubscription(threads, 2, n_asleep=1) is None
    assert oversubscription(threads | {"the emulated card": 2}, 2, n_asleep=1) == (
        "chat 1 + code 1 + the emulated card 2 threads share 2 cores"
    )
