from hypothesis import given
from hypothesis import strategies as st

from layertune.devices.host_conditions import Finding
from layertune.devices.target import Target
from layertune.vram.gpu_conditions import GpuSample, Slowdown, judge, judge_load_before
from layertune.vram.probe_selection import open_watch

NOTHING_TOLD = GpuSample(None, None, None, None)


def slow(*slowdowns: Slowdown, clock_mhz: int | None = 2000) -> GpuSample:
    return GpuSample(0, clock_mhz, frozenset(slowdowns), 80.0)


def test_a_driver_that_reports_nothing_gives_no_findings() -> None:
    assert judge([NOTHING_TOLD] * 3, None) == []
    assert judge_load_before(None) == []


def test_a_single_sample_of_a_slowdown_without_a_reason_is_ignored() -> None:
    assert judge([slow(), slow("hardware"), slow(), slow("hardware")], 2370) == []


def test_two_consecutive_samples_are_a_slowdown() -> None:
    samples = [slow("hardware"), slow("hardware", clock_mhz=600), slow(), slow("hardware")]
    assert judge(samples, 2370) == [
        Finding("the hardware slowed the GPU down in 2 of 4 readings, to 600 MHz of 2370 MHz", disturbs=True)
    ]


def test_a_slowdown_is_reported_without_unknown_clocks() -> None:
    [finding] = judge([slow("power brake", clock_mhz=None)], None)
    assert finding == Finding("the power supply's brake slowed the GPU down in 1 of 1 readings", disturbs=True)


def test_small_changes_of_the_power_limit_are_no_finding() -> None:
    limits = [GpuSample(0, None, None, limit_w) for limit_w in (80.0, 75.0, 73.0)]
    assert judge(limits, None) == []


def test_a_busy_gpu_before_the_first_trial_disturbs() -> None:
    assert [finding.disturbs for finding in judge_load_before(37)] == [True]
    assert judge_load_before(2) == []


def test_only_a_local_gpu_with_a_pci_address_is_watched() -> None:
    targets = (Target("cpu", "CPU"), Target("emulated", "emulated card", n_threads=1), Target("gpu", "Apple M3"))
    assert [open_watch(target) for target in targets] == [None, None, None]


percent = st.none() | st.integers(0, 100)
kinds = st.sampled_from(["hardware", "hardware heat", "power brake", "heat", "power limit"])
samples = st.builds(
    GpuSample,
    percent,
    st.none() | st.integers(0, 3000),
    st.none() | st.frozensets(kinds),
    st.none() | st.floats(1, 600),
)


@given(st.lists(samples, max_size=20), st.none() | st.integers(1, 3000))
def test_every_disturbance_follows_from_a_sample(seen: list[GpuSample], max_clock_mhz: int | None) -> None:
    disturbed = any(finding.disturbs for finding in judge(seen, max_clock_mhz))
    shown = any(
        (sample.others_percent or 0) >= 10 or (sample.slowdowns or frozenset()) - {"power limit"} for sample in seen
    )
    assert shown or not disturbed
