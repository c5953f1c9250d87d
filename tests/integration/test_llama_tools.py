"""The plan against llama.cpp's own planner and server, where `make tools` has built them."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tools import TOOLS, fit_params, fitted, plan, server

from layertune.settings import EngineSettings
from layertune.units import MIB

pytestmark = [
    pytest.mark.slow,
    pytest.mark.usefixtures("needs_rpc"),
    pytest.mark.skipif(not (TOOLS / "llama-server").exists(), reason="no llama-server here; make tools builds it"),
]

SETTINGS = EngineSettings(n_gpu_layers=12, n_ctx=2048, n_batch=1024, n_ubatch=256, n_threads=1, flash_attn="on")


@pytest.mark.parametrize("changes", [{}, {"n_gpu_layers": 99, "type_k": "q8_0", "type_v": "q8_0"}])
def test_llama_fit_params_projects_the_same_to_the_mebibyte(
    demo_pair: dict[str, Path], changes: dict[str, Any]
) -> None:
    settings = replace(SETTINGS, **changes)
    ours = plan(demo_pair["code"], settings, n_outputs=settings.n_batch)
    parts = (ours.weights_bytes, ours.kv_bytes or 0, ours.compute_bytes or 0)
    assert fit_params(demo_pair["code"], settings) == tuple(part // MIB for part in parts)


def test_llama_server_allocates_what_is_planned_for_its_slots(demo_pair: dict[str, Path]) -> None:
    settings = replace(SETTINGS, n_parallel=2)
    held, ours = server(demo_pair["chat"], settings), plan(demo_pair["chat"], settings)
    for part in ("weights_bytes", "kv_bytes", "compute_bytes"):
        assert getattr(held, part) == pytest.approx(getattr(ours, part), abs=0.01 * MIB)


def test_the_baseline_that_fits_is_what_llama_server_chooses(demo_pair: dict[str, Path]) -> None:
    assert fitted(demo_pair["chat"], 80 * MIB).endswith("the same")
