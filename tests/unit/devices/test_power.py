import pytest

from layertune.devices.host import Battery, PowerSource, battery, power_source


@pytest.mark.parametrize(
    ("found", "source"),
    [
        (None, None),
        (Battery(50, None), None),
        (Battery(50, plugged_in=True), "mains"),
        (Battery(50, plugged_in=False), "battery"),
    ],
)
def test_the_power_is_what_the_battery_says_of_it(found: Battery | None, source: PowerSource | None) -> None:
    assert power_source(found) == source


def test_this_machine_s_battery_is_there_or_not() -> None:
    found = battery()
    assert found is None or 0 <= found.percent <= 100
