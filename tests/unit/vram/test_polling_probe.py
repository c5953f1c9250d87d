import threading
import time
from collections.abc import Callable
from time import perf_counter

import pytest

from layertune.errors import DeviceError
from layertune.vram.polling_probe import PollingProbe
from layertune.vram.readings import Reading

NEVER_S = 1000.0  # an interval at which the thread takes no reading, so that the marks alone decide


def script(readings: list[Reading]) -> Callable[[], Reading]:
    return lambda: readings[-1]


def lost() -> Reading:
    raise DeviceError("the GPU is lost", remedy="look at it")


def test_without_a_share_the_device_minus_the_baseline_counts() -> None:
    used = [Reading(300, None)]
    probe = PollingProbe(script(used), "ggml")
    probe.start()
    used.append(Reading(900, None))
    probe.mark("load")
    used.append(Reading(500, None))
    probe.mark("unload")
    report = probe.stop()
    assert (report.scope, report.source) == ("device", "ggml")
    assert (report.baseline_bytes, report.peak_bytes) == (300, 600)
    assert report.phases == {"load": 600, "unload": 200}


def test_a_reading_from_before_opening_the_device_is_the_baseline() -> None:
    probe = PollingProbe(script([Reading(900, None)]), "nvml", baseline=Reading(300, None))
    probe.start()
    probe.mark("idle")
    report = probe.stop()
    assert (report.baseline_bytes, report.peak_bytes, report.phases) == (300, 600, {"idle": 600})


def test_this_processs_share_counts_once_the_driver_reports_it() -> None:
    used = [Reading(300, None)]
    probe = PollingProbe(script(used), "nvml")
    probe.start()
    used.append(Reading(2000, 700))
    probe.mark("load")
    used.append(Reading(5000, 650))
    probe.mark("together")
    report = probe.stop()
    assert (report.scope, report.peak_bytes, report.phases) == ("process", 700, {"load": 700, "together": 650})


def test_the_polling_thread_detects_a_peak_between_two_marks() -> None:
    seen = threading.Event()
    readings = iter([Reading(0, None), Reading(10, None), Reading(999, None)])

    def read() -> Reading:
        reading = next(readings, None)
        if reading is None:
            seen.set()
            return Reading(10, None)
        return reading

    probe = PollingProbe(read, "ggml")
    probe.start()
    assert seen.wait(timeout=30)
    assert probe.stop().peak_bytes == 999


def test_samples_and_missed_readings_add_up_to_the_schedule() -> None:
    def read() -> Reading:
        time.sleep(0.012)
        return Reading(0, None)

    probe = PollingProbe(read, "nvml", interval_s=0.01)  # which it cannot keep
    started_s = perf_counter()
    probe.start()
    time.sleep(0.5)
    sampling = probe.stop().sampling
    n_slots = (perf_counter() - started_s) / 0.01
    assert sampling is not None
    assert sampling.cost_s >= 0.012
    assert sampling.n_missed > 0
    assert sampling.n_samples + sampling.n_missed == pytest.approx(n_slots, rel=0.2)


def test_a_failed_reading_is_not_zero_and_does_not_end_the_thread() -> None:
    fail, back = threading.Event(), threading.Event()
    used = [Reading(300, None)]

    def read() -> Reading:
        if fail.is_set():
            return lost()
        if used[-1].device_bytes == 999:
            back.set()
        return used[-1]

    probe = PollingProbe(read, "ggml", interval_s=0.005)
    probe.start()
    used.append(Reading(800, None))
    probe.mark("load")
    fail.set()
    probe.mark("together")
    with pytest.raises(DeviceError, match="lost"):
        probe.read()
    used.append(Reading(999, None))
    fail.clear()
    assert back.wait(timeout=30)
    report = probe.stop()
    assert (report.peak_bytes, report.phases) == (699, {"load": 500})
    [note] = report.notes
    assert note.endswith("readings failed (the GPU is lost): the other readings are used")


def test_a_device_that_never_answers_gives_no_baseline_and_no_report() -> None:
    probe = PollingProbe(lost, "nvml")
    with pytest.raises(DeviceError, match="the GPU is lost; look at it"):
        probe.start()
    with pytest.raises(DeviceError, match="no baseline"):
        probe.stop()


def test_a_trial_without_one_reading_has_no_report() -> None:
    answers = [Reading(300, None)]
    probe = PollingProbe(lambda: answers[0] if answers else lost(), "nvml", interval_s=NEVER_S)
    probe.start()
    probe.stop()
    answers.clear()
    probe.start()
    with pytest.raises(DeviceError, match="could not be read once in the trial: the GPU is lost"):
        probe.stop()


def test_memory_that_other_programs_free_is_noted_in_device_scope() -> None:
    used = [Reading(300, None)]
    probe = PollingProbe(script(used), "ggml", notes=["opened in another way"], interval_s=NEVER_S)
    probe.start()
    used.append(Reading(100, None))
    probe.mark("load")
    assert probe.stop().notes == (
        "opened in another way",
        "another program freed 200 B or more after the baseline was taken: the reported memory may be too low by that",
    )


def test_memory_that_this_process_frees_does_not_count_as_foreign() -> None:
    used = [Reading(1000, 900)]
    probe = PollingProbe(script(used), "nvml", interval_s=NEVER_S)
    probe.start()
    used.append(Reading(1000, 200))  # the device was asked before we freed, this process after
    probe.mark("amid")
    used.append(Reading(300, 200))
    probe.mark("after")
    assert probe.stop().foreign_bytes == 0


def test_each_trial_starts_a_thread_and_ends_it() -> None:
    def n_threads() -> int:
        return [thread.name for thread in threading.enumerate()].count("vram-probe")

    probe = PollingProbe(lambda: Reading(0, None), "nvml")
    for _ in range(3):
        probe.start()
        assert n_threads() == 1
        probe.stop()
        assert n_threads() == 0
