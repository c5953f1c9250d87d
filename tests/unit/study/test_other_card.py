"""What a card changes; the parts that need no planned study."""

from pathlib import Path

import pytest

from finished_study import result
from layertune.config import HardwareProfile, dump_hardware, load_config
from layertune.config.hardware_profile import Bandwidth, DeviceProfile, Memory
from layertune.errors import UsageError
from layertune.prediction import Calibration
from layertune.prediction.prediction_file import CardInfo
from layertune.study.calibrated import Recorded
from layertune.study.other_card import Scaled, card_of, scale
from layertune.units import GIB
from linear_machine import Machine, study
from small_shapes import shape
from small_study import N_LAYERS

CONFIG = Path(__file__).parents[3] / "configs" / "studies" / "demo.toml"


def recorded(kind: str = "emulated") -> Recorded:
    finished = result()
    device = finished.hardware.device.model_copy(update={"kind": kind})
    hardware = finished.hardware.model_copy(update={"device": device})
    return Recorded(Path("studies/x"), finished.model_copy(update={"hardware": hardware}), load_config(CONFIG))


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


OWN = Bandwidth(bytes_per_s=100 * 10**9, source="https://a")
OTHER = Bandwidth(bytes_per_s=200 * 10**9, source="https://b")
CALIBRATION = Calibration(study(Machine(), [(0, 0), (1, 1), (4, 7), (9, 14), (13, 21)], share=1.0))
SHAPES = {name: shape(n_layer=n_layer) for name, n_layer in N_LAYERS.items()}


def changed(
    folder: Path,
    *profiles: Bandwidth,
    bandwidth: Bandwidth | None = OTHER,
    name: str = "a card",
    vram_bytes: int = 8 * GIB,
) -> Scaled:
    """Return what becomes of a GPU study on another card; its own card, of 6 GiB, is described by these profiles."""
    for number, each in enumerate(profiles):
        device = DeviceProfile(kind="gpu", name="emulated card", bandwidth=each)
        text = dump_hardware(HardwareProfile(name=f"own-{number}", device=device))
        (folder / f"own-{number}.toml").write_text(text, encoding="utf-8")
    told = CardInfo(profile="x", kind="gpu", name=name, vram_bytes=vram_bytes, n_threads=None)
    return scale(recorded("gpu"), CALIBRATION, SHAPES, told, bandwidth, folder)


def test_a_card_of_twice_the_bandwidth_takes_half_the_device_s_time_at_least(tmp_path: Path) -> None:
    scaled = changed(tmp_path, OWN)
    assert scaled.changes.keys() == {"chat", "code"}
    for change in scaled.changes.values():
        assert change.token.least == pytest.approx(0.5)
        assert change.token.least < change.token.most < 1.0
        assert (change.prompt.least, change.prompt.most) == (0.5, 1.0)
    assert "200 GB/s (https://b) instead of 100 GB/s (https://a)" in scaled.how


def test_measured_bandwidths_stand_beside_measured_ones(tmp_path: Path) -> None:
    measured = Bandwidth(bytes_per_s=80 * 10**9, source="measured: copied")
    also_measured = Bandwidth(bytes_per_s=160 * 10**9, source="measured: copied there")
    assert "instead of 80 GB/s" in changed(tmp_path, OWN, measured, bandwidth=also_measured).how
    assert "instead of 100 GB/s" in changed(tmp_path, OWN, measured).how


def test_the_same_card_changes_nothing(tmp_path: Path) -> None:
    assert changed(tmp_path, name="emulated card", vram_bytes=6 * GIB).changes == {}


def test_a_card_of_the_same_name_with_another_memory_is_another_card(tmp_path: Path) -> None:
    scaled = changed(tmp_path, OWN, name="emulated card", vram_bytes=8 * GIB)
    assert scaled.changes.keys() == {"chat", "code"}
    device = DeviceProfile(kind="gpu", name="emulated card", vram=Memory(size=8 * GIB, source="x"), bandwidth=OWN)
    for path in tmp_path.glob("*.toml"):
        path.write_text(dump_hardware(HardwareProfile(name="other", device=device)), encoding="utf-8")
    with pytest.raises(UsageError, match="no hardware profile knows"):
        changed(tmp_path, name="emulated card", vram_bytes=8 * GIB)


def test_a_bandwidth_that_nobody_knows_is_asked_for(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="knows how fast the memory of emulated card, the study's card, is"):
        changed(tmp_path)
    with pytest.raises(UsageError, match=r"x does not say how fast the card's memory is; add \[device.bandwidth\]"):
        changed(tmp_path, OWN, bandwidth=None)
