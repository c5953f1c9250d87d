"""What a card changes; the parts that need no planned study."""

from pathlib import Path

import pytest

from finished_study import result
from layertune.cli.calibrating import Recorded
from layertune.cli.other_card import card_of
from layertune.config import HardwareProfile, load_config
from layertune.config.hardware import DeviceProfile, Memory
from layertune.errors import UsageError
from layertune.units import GIB

CONFIG = Path(__file__).parents[3] / "configs" / "studies" / "demo.toml"


def recorded(kind: str = "emulated") -> Recorded:
    study = result()
    device = study.hardware.device.model_copy(update={"kind": kind})
    hardware = study.hardware.model_copy(update={"device": device})
    return Recorded(Path("studies/x"), study.model_copy(update={"hardware": hardware}), load_config(CONFIG))


def card(kind: str = "emulated", vram: Memory | None = None, n_threads: int | None = None) -> HardwareProfile:
    device = DeviceProfile.model_validate({"kind": kind, "name": "a card", "vram": vram, "n_threads": n_threads})
    return HardwareProfile(name="x", device=device)


SOME = Memory(size=4 * GIB, source="chosen")


def test_an_emulated_card_has_the_study_s_threads_where_it_names_none() -> None:
    assert card_of(recorded(), card(vram=SOME)).n_threads == 2
    assert card_of(recorded(), card(vram=SOME, n_threads=1)).n_threads == 1


def test_a_gpu_has_no_threads() -> None:
    told = card_of(recorded("gpu"), card("gpu", SOME))
    assert (told.n_threads, told.vram_bytes) == (None, 4 * GIB)


@pytest.mark.parametrize(
    ("measured", "wanted", "vram", "words"),
    [
        ("emulated", "gpu", SOME, "the study's device was an emulated card and x is a GPU"),
        ("gpu", "emulated", SOME, "the study's device was a GPU and x is an emulated card"),
        ("cpu", "gpu", SOME, "the study's device was the CPU and x is a GPU"),
        ("gpu", "cpu", SOME, "x is a CPU: there is no card to predict"),
        ("gpu", "gpu", None, "x does not say how much memory the card has"),
    ],
)
def test_a_card_that_the_study_tells_nothing_of_is_refused(
    measured: str, wanted: str, vram: Memory | None, words: str
) -> None:
    with pytest.raises(UsageError, match=words):
        card_of(recorded(measured), card(wanted, vram))
