from layertune.search.outlook import Outlook, why_stop

CALM, HOPEFUL = Outlook(0.001, 0.008, 0.02), Outlook(0.05, 0.2, 0.02)


def test_several_calm_outlooks_in_a_row_end_a_study() -> None:
    why = why_stop([HOPEFUL, CALM, CALM, CALM])
    assert why is not None
    assert "add 0.8% to the front's hypervolume, less than a measurement's noise of 2.0%" in why


def test_one_that_is_hopeful_keeps_it_going() -> None:
    assert why_stop([CALM, CALM, HOPEFUL]) is None
    assert why_stop([CALM, HOPEFUL, CALM, CALM]) is None


def test_too_few_outlooks_say_nothing() -> None:
    assert why_stop([]) is None
    assert why_stop([CALM, CALM]) is None


def test_a_noisy_machine_does_not_end_every_study() -> None:
    assert not Outlook(0.02, 0.05, 0.5).calm()


def test_a_quiet_machine_does_not_search_for_ever() -> None:
    assert Outlook(0.001, 0.009, 0.0).calm()
