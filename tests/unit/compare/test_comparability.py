from typing import Any

import pytest

from compared import Row, study
from layertune.compare import compare_studies
from layertune.compare.comparability import hardware_differences
from layertune.errors import UnlikeStudies
from layertune.results.result import Result, WorkloadInfo

FIRST = study([Row((37, 20), (10, 5), 900)])


def changed(**parts: Any) -> Result:
    return FIRST.model_copy(update=parts)


def other_file() -> Result:
    code = FIRST.models["code"].model_copy(update={"sha256": "cd" * 32, "file": "code-q8.gguf"})
    return changed(models=FIRST.models | {"code": code})


def other_workload() -> Result:
    return changed(workload=FIRST.workload | {"chat": WorkloadInfo(n_prompt=512, n_generate=16)})


def older() -> Result:
    return changed(study=FIRST.study.model_copy(update={"generation": "decode"}))


@pytest.mark.parametrize(
    ("other", "words"),
    [
        (older(), "a generated token is decoding and sampling in the first, and decoding alone in the other"),
        (other_file(), r"code is another file \(code.gguf and code-q8.gguf, sha256 ab… and cdcdcdcdcdcd…\)"),
        (other_workload(), r"chat's workload is 64 prompt \+ 16 generated tokens and 512 prompt \+ 16"),
        (changed(models={"chat": FIRST.models["chat"]}), "the models are chat, code and chat"),
    ],
    ids=["generation", "file", "workload", "models"],
)
def test_studies_of_different_models_or_workloads_are_refused_with_the_reason(other: Result, words: str) -> None:
    with pytest.raises(UnlikeStudies, match=f"^a and b cannot be compared: {words}") as caught:
        compare_studies([("a", FIRST), ("b", other)])
    assert caught.value.exit_status == 2


def test_the_third_study_is_compared_with_the_first_too() -> None:
    with pytest.raises(UnlikeStudies, match="a and c cannot be compared"):
        compare_studies([("a", FIRST), ("b", FIRST), ("c", other_file())])


def test_a_model_s_file_may_have_another_name() -> None:
    renamed = FIRST.models["code"].model_copy(update={"file": "elsewhere.gguf"})
    compare_studies([("a", FIRST), ("b", changed(models=FIRST.models | {"code": renamed}))])


def test_one_machine_has_no_differences() -> None:
    assert hardware_differences(FIRST, FIRST) == []


def test_differences_of_two_machines_are_named_with_both_values() -> None:
    other = study(
        [Row((37, 20), (10, 5), 900)], budget_mib=6141, n_cores=16, device="NVIDIA GeForce RTX 4050 Laptop GPU"
    )
    found = {each.what: (each.first, each.other) for each in hardware_differences(FIRST, other)}
    assert found == {
        "device": ("emulated card (EMULATED)", "NVIDIA GeForce RTX 4050 Laptop GPU"),
        "device memory": ("1000.0 MiB", "6141.0 MiB"),
        "threads of the emulation": ("2", "none"),
        "cores": ("4", "16"),
    }


def test_emulated_cards_with_different_threads_differ() -> None:
    slower = study([Row((37, 20), (10, 5), 900)], n_threads=1)
    (found,) = hardware_differences(FIRST, slower)
    assert (found.what, found.first, found.other) == ("threads of the emulation", "2", "1")


def test_threads_missing_in_an_older_result_are_marked_as_not_recorded() -> None:
    device = FIRST.hardware.device.model_copy(update={"n_threads": None})
    older = changed(hardware=FIRST.hardware.model_copy(update={"device": device}))
    (found,) = hardware_differences(older, FIRST)
    assert (found.first, found.other) == ("not recorded", "2")
