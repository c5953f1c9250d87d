from pathlib import Path

import pytest

from layertune.config import HardwareProfile, dump_hardware, find_hardware, load_hardware
from layertune.config.hardware_profile import Bandwidth, DeviceProfile, Memory, profile_files
from layertune.errors import ConfigError
from layertune.units import MIB

PROFILES = sorted((Path(__file__).parents[3] / "configs" / "hardware").glob("*.toml"))
GPUS = [path for path in PROFILES if not path.stem.startswith("emulated-")]

CARD = '[device]\nkind = "gpu"\nname = "A card"\n'


@pytest.mark.parametrize("path", PROFILES, ids=lambda path: path.stem)
def test_every_shipped_profile_loads_and_survives_being_written_out(path: Path, tmp_path: Path) -> None:
    profile = load_hardware(path)
    assert profile.name == path.stem
    copy = tmp_path / "copy.toml"
    copy.write_text(dump_hardware(profile), encoding="utf-8")
    assert load_hardware(copy) == profile


@pytest.mark.parametrize("path", GPUS, ids=lambda path: path.stem)
def test_every_figure_of_a_shipped_card_says_where_it_comes_from(path: Path) -> None:
    device = load_hardware(path).device
    assert device.bandwidth is not None
    for figure in (device.vram, device.bandwidth):
        if figure is not None:
            assert "https://" in figure.source or "nvidia-smi" in figure.source or "llama.cpp" in figure.source
    assert device.power_limit is None  # each laptop maker's own, so no public figure is one


def test_the_worksheet_s_card_is_what_its_driver_reports() -> None:
    vram = load_hardware(PROFILES[0].with_name("rtx-4050-laptop.toml")).device.vram
    assert vram is not None
    assert vram.size == 6141 * MIB


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (f'name = "x"\nspeed = 1\n{CARD}', r"x\.toml: unknown key speed; see docs/hardware\.md"),
        (CARD, r"x\.toml: name is missing; add it"),
        (f'name = "x"\n{CARD}[device.vram]\nsize = "6GiB"\n', r"x\.toml: device\.vram\.source is missing; add it"),
        (f'name = "x"\n{CARD}[device.vram]\nsize = "6 apples"\nsource = "me"\n', "'6 apples' is not a size"),
        (f'name = "x"\n{CARD}[device.bandwidth]\nbytes_per_s = 0\nsource = "me"\n', r"device\.bandwidth\.bytes_per_s"),
        (f'name = "x"\n{CARD}[device.vram]\nsize = 1\nsource = ""\n', r"device\.vram\.source"),
        ('name = "x"\n[device]\nkind = "tpu"\nname = "y"\n', r"x\.toml: device\.kind"),
        ("name = [", r"x\.toml is not TOML"),
    ],
)
def test_a_wrong_profile_names_its_file_and_key(text: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "x.toml").write_text(text)
    with pytest.raises(ConfigError, match=words):
        load_hardware(tmp_path / "x.toml")


def test_a_missing_profile_is_named() -> None:
    with pytest.raises(ConfigError, match=r"cannot read none\.toml: .*give the path of a hardware profile"):
        load_hardware(Path("none.toml"))


def test_what_is_not_known_is_not_written() -> None:
    memory = Memory(size=1, source="me")
    bandwidth = Bandwidth(bytes_per_s=2, source="me")
    device = DeviceProfile(kind="gpu", name="A card", vram=memory, bandwidth=bandwidth)
    text = dump_hardware(HardwareProfile(name="x", device=device))
    assert "driver" not in text
    assert "n_threads" not in text
    assert "host" not in text


def test_a_profile_is_found_by_name_and_by_path_from_any_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert find_hardware("rtx-4060").name == "rtx-4060"
    Path("mine.toml").write_text(f'name = "mine"\n{CARD}', encoding="utf-8")
    assert find_hardware("mine.toml").name == "mine"


def test_one_s_own_profile_is_found_by_name_and_replaces_a_shipped_one(tmp_path: Path) -> None:
    for name in ("mine", "rtx-4060"):
        (tmp_path / f"{name}.toml").write_text(f'name = "{name}"\n{CARD}', encoding="utf-8")
        assert find_hardware(name, tmp_path).device.name == "A card"
    assert len(profile_files(tmp_path)) == len(PROFILES) + 1


def test_a_name_like_that_of_a_profile_suggests_it() -> None:
    with pytest.raises(ConfigError, match=r"no hardware profile RTX4060; did you mean rtx-4060 or "):
        find_hardware("RTX4060")


def test_an_unknown_profile_names_those_that_are_there() -> None:
    with pytest.raises(ConfigError, match=r"no hardware profile x; give apple-m1-16gb, .*rtx-4060.*layertune hardware"):
        find_hardware("x")
