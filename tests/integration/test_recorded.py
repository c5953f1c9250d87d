"""A fresh search of the demo pair beside a recorded one."""

import json
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import tomli_w

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("needs_rpc")]

RECORDED = Path(__file__).parents[2] / "studies" / "demo-384mib"


def layertune(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from layertune.cli.main import run; run()", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_a_fresh_search_is_compared_with_a_recorded_one_and_the_other_card_is_named(
    demo_pair: dict[str, Path], tmp_path: Path
) -> None:
    config = tomllib.loads((RECORDED / "study.toml").read_text(encoding="utf-8"))
    config["device"] = "emulated:240MiB"
    config["emulated"]["n_threads"] = 1
    config["budget"]["vram"] = "240MiB"
    config["search"]["n_trials"] = 1
    config["measurement"] |= {"min_repeats": 2, "max_repeats": 2, "warm_up": "0.01s", "max_attempts": 1}
    config["measurement"]["reference_every"] = 0
    config["finals"]["max_rounds"] = 0
    for name, path in demo_pair.items():
        config["models"][name]["path"] = str(path)
        config["models"][name]["space"] |= {"n_gpu_layers": 0, "n_batch": 64}
    (tmp_path / "fresh.toml").write_text(tomli_w.dumps(config), encoding="utf-8")
    searched = layertune("search", tmp_path / "fresh.toml", "--study", tmp_path / "fresh")
    assert searched.returncode == 0, searched.stderr
    compared = layertune("compare", RECORDED, tmp_path / "fresh", "--json")
    assert compared.returncode == 0, compared.stderr
    (pair,) = json.loads(compared.stdout)["pairs"]
    differs = {each["what"]: (each["first"], each["other"]) for each in pair["hardware"]}
    assert differs["device memory"] == ("384.0 MiB", "240.0 MiB")
    assert differs["threads of the emulation"] == ("2", "1")
    assert "device" not in differs
    assert pair["cost"]["smaller"] == "fresh"
    assert (
        "Hardware differs: device memory 384.0 MiB → 240.0 MiB"
        in layertune("compare", RECORDED, tmp_path / "fresh").stdout
    )
