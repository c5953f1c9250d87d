from layertune.units import MIB
from layertune.verify.gauge import Drift, MemoryReading


def readings(*mib: float) -> list[MemoryReading]:
    return [MemoryReading(float(at), round(each * MIB)) for at, each in enumerate(mib)]


def test_constant_memory_has_no_drift() -> None:
    found = Drift.of(readings(100, 100, 100, 100), "card")
    assert (found.moved_bytes, found.noticed, found.n_readings) == (0, False, 4)
    assert found.changes == tuple(readings(100, 100, 100, 100)[0::3])


def test_a_leak_is_noticed_and_a_single_high_reading_is_not() -> None:
    leak = Drift.of(readings(*(100 + at for at in range(12))), "card")
    assert (leak.moved_bytes, leak.noticed) == (9 * MIB, True)
    assert not Drift.of(readings(100, 100, 100, 190, 100, 100, 100, 100), "card").noticed


def test_a_whole_gpu_may_drift_more_than_an_emulated_card() -> None:
    moved = readings(100, 100, 100, 110, 110, 110)
    assert Drift.of(moved, "card").noticed
    assert not Drift.of(moved, "device").noticed


def test_memory_that_fell_is_no_leak() -> None:
    found = Drift.of(readings(100, 100, 50, 50), "card")
    assert (found.moved_bytes, found.noticed) == (-50 * MIB, False)
