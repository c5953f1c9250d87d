import threading

from layertune.vram.polling import PollingProbe, Reading


def test_without_a_share_of_its_own_the_device_minus_the_baseline_counts() -> None:
    used = [Reading(300, None)]
    probe = PollingProbe(lambda: used[-1], "ggml")
    probe.start()
    used.append(Reading(900, None))
    probe.mark("load")
    used.append(Reading(500, None))
    probe.mark("unload")
    report = probe.stop()
    assert (report.scope, report.source) == ("device", "ggml")
    assert (report.baseline_bytes, report.peak_bytes) == (300, 600)
    assert report.phases == {"load": 600, "unload": 200}


def test_this_processs_share_counts_as_soon_as_the_driver_tells_it() -> None:
    used = [Reading(300, None)]
    probe = PollingProbe(lambda: used[-1], "nvml")
    probe.start()
    used.append(Reading(2000, 700))
    probe.mark("load")
    used.append(Reading(5000, 650))
    probe.mark("together")
    report = probe.stop()
    assert (report.scope, report.peak_bytes, report.phases) == ("process", 700, {"load": 700, "together": 650})


def test_a_peak_between_two_marks_is_seen_by_the_polling_thread() -> None:
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
