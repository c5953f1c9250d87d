"""The threads of a config that leaves them open: shares of the cores, or those of a recorded study."""

from typing import Any

import pytest

from layertune.config import StudyConfig, parse_config
from layertune.config.threads import with_default_threads, with_recorded_threads

Threads = dict[str, Any]


def config(n_models: int = 2, device: str = "cpu", spaces: Threads | None = None, **tables: Any) -> StudyConfig:
    models = {
        name: {"path": f"{name}.gguf", "space": (spaces or {}).get(name, {})} for name in ("a", "b", "c")[:n_models]
    }
    return parse_config({"models": models, "device": device, **tables})


def threads(config: StudyConfig) -> tuple[list[Any], int | None]:
    return [model.space.n_threads for model in config.models.values()], config.emulated.n_threads


@pytest.mark.parametrize(
    ("n_cores", "n_models", "device", "shares"),
    [
        (16, 1, "gpu:0", ([16], None)),
        (16, 2, "gpu:0", ([8, 8], None)),
        (7, 3, "cpu", ([2, 2, 2], None)),
        (2, 1, "emulated:1GiB", ([1], 1)),
        (2, 2, "emulated:1GiB", ([1, 1], 1)),  # one model waits, without a thread that spins, while the card computes
        (4, 2, "emulated:1GiB", ([1, 1], 2)),
        (16, 2, "emulated:1GiB", ([5, 5], 6)),
        (16, 2, "emulated:1GiB+1GiB", ([4, 4], 4)),
        (16, 1, "emulated:1GiB+1GiB", ([8], 8)),  # one model uses one card at a time
        (1, 2, "emulated:1GiB", ([1, 1], 1)),
    ],
)
def test_the_cores_are_shared_out(n_cores: int, n_models: int, device: str, shares: tuple[list[int], int]) -> None:
    assert threads(with_default_threads(config(n_models, device), n_cores)) == shares


@pytest.mark.parametrize("n_cores", range(4, 65))
@pytest.mark.parametrize("device", ["cpu", "gpu:0", "emulated:1GiB", "emulated:1GiB+1GiB"])
def test_the_defaults_never_add_up_to_more_than_the_cores(n_cores: int, device: str) -> None:
    on_host, card = threads(with_default_threads(config(2, device), n_cores))
    n_cards = device.count("GiB")
    assert sum(on_host) + n_cards * (card or 0) <= n_cores


def test_threads_of_the_user_are_kept_and_the_others_share_what_is_left() -> None:
    given = config(device="emulated:1GiB", spaces={"a": {"n_threads": [2, 6]}})
    assert threads(with_default_threads(given, 16)) == ([[2, 6], 5], 5)
    card = config(device="emulated:1GiB", emulated={"n_threads": 12})
    assert threads(with_default_threads(card, 16)) == ([2, 2], 12)
    everything = config(device="emulated:1GiB", spaces={"a": {"n_threads": 9}, "b": {"n_threads": 9}})
    assert threads(with_default_threads(everything, 2)) == ([9, 9], 1)


def test_an_open_space_chooses_among_the_share_half_of_it_and_its_share_of_all_processors() -> None:
    open_ = config(spaces={"a": {"auto": True}, "b": {"auto": True, "n_threads": 2}})
    assert threads(with_default_threads(open_, 8, 16))[0] == [[6, 3, 12], 2]
    found = with_default_threads(config(spaces={"a": {"auto": True}}, host={"n_cpus": 2}), 8, 16)
    assert found.models["a"].space.n_threads == [2, 1]
    assert "n_threads" not in found.models["a"].space.model_fields_set  # the user did not write them


def test_threads_of_prompts_are_taken_from_the_cores_too() -> None:
    own = config(spaces={"a": {"n_threads": 2, "n_threads_batch": [2, 10]}})
    assert threads(with_default_threads(own, 16)) == ([2, 6], None)


def test_a_container_gets_no_more_threads_than_cpus() -> None:
    assert threads(with_default_threads(config(host={"n_cpus": 3}), 16)) == ([3, 3], None)


def test_a_resumed_study_keeps_its_threads() -> None:
    recorded = with_default_threads(config(device="emulated:1GiB"), 16)
    assert threads(with_recorded_threads(config(device="emulated:1GiB"), recorded, 16)) == ([5, 5], 6)
    given = config(device="emulated:1GiB", spaces={"b": {"n_threads": 2}})
    assert threads(with_recorded_threads(given, recorded, 16)) == ([5, 2], 6)


def test_a_study_of_an_older_version_keeps_all_cores_for_each_model() -> None:
    older = config(device="emulated:1GiB", emulated={"n_threads": 2})
    assert threads(with_recorded_threads(config(device="emulated:1GiB"), older, 4)) == ([4, 4], 2)
    limited = config(device="emulated:1GiB", emulated={"n_threads": 2}, host={"n_cpus": 3})
    assert threads(with_recorded_threads(config(device="emulated:1GiB"), limited, 4)) == ([3, 3], 2)
