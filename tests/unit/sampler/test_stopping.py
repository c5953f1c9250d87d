from dataclasses import replace

from layertune.sampler.stopping import StoppingValue, why_stop

CONVERGED, HOPEFUL = StoppingValue(0.001, 0.003, 0.004), StoppingValue(0.05, 0.2, 0.004)


def test_several_converged_values_in_a_row_stop_a_search() -> None:
    why = why_stop([HOPEFUL] * 10 + [CONVERGED] * 5)
    assert why is not None
    assert "more trials might still improve the front's hypervolume by about 0.3%" in why
    assert "less than the noise of one measurement (0.4%)" in why


def test_one_value_that_is_not_converged_keeps_the_search_going() -> None:
    assert why_stop([CONVERGED] * 12 + [HOPEFUL]) is None
    assert why_stop([CONVERGED] * 12 + [HOPEFUL] + [CONVERGED] * 4) is None


def test_a_gain_as_large_as_the_noise_keeps_the_search_going() -> None:
    assert why_stop([StoppingValue(0.004, 0.008, 0.004)] * 20) is None


def test_a_total_gain_above_the_noise_keeps_the_search_going() -> None:
    assert why_stop([StoppingValue(0.001, 0.008, 0.004)] * 20) is None


def test_a_search_does_not_stop_while_it_still_looks_for_fast_settings() -> None:
    of_speeds = replace(CONVERGED, of_speeds=True)
    assert why_stop([of_speeds] * 20) is None
    assert why_stop([of_speeds] * 20 + [CONVERGED] * 5) is not None
    assert "the front's hypervolume (speeds only) by about" in str(of_speeds)


def test_too_few_values_do_not_stop_a_search() -> None:
    assert why_stop([]) is None
    assert why_stop([CONVERGED] * 9) is None
