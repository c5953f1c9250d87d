"""Files and cache types that cost too much quality are not searched."""

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from finished_study import result
from layertune.config import StudyConfig, dimension_values, parse_config
from layertune.config.overrides import Overrides, study_config
from layertune.errors import ConfigError
from layertune.export import export_files
from layertune.results.remarks import study_remarks
from layertune.results.result import QualityInfo
from layertune.study.facts import StudyFacts
from layertune.study.file_quality import (
    NOT_MEASURED,
    check_quality,
    coarse_caches,
    measure_files,
    scores_of,
    texts_of,
    unchecked_floors,
    why_unmeasured,
)
from layertune.study.quality_objectives import objectives_of, without_worse
from tiny_stack import write_models

FILES = ("best.gguf", "good.gguf", "bad.gguf")


def study(
    limit: float = 0.1,
    floors: Sequence[str] = (),
    measure: bool = True,
    objectives: Sequence[str] | None = None,
    **space: Any,
) -> StudyConfig:
    table = {
        "models": {"chat": {"files": list(FILES), "space": space}},
        "quality": {"max_kl_divergence": limit, "measure": measure},
        "floors": list(floors),
        "objectives": objectives,
    }
    return parse_config(table, source="test", folder=Path())


def left(config: StudyConfig, measured: Sequence[QualityInfo]) -> tuple[StudyConfig, list[str]]:
    """The config without what is too bad, and what was said."""
    said: list[str] = []
    return without_worse(config, {"chat": measured}, said.append), said


def quality(file: str, divergence: float | None, **changes: Any) -> QualityInfo:
    values: dict[str, Any] = {"file": file, "reference": "best.gguf", "type_k": "f16", "type_v": "f16"}
    return QualityInfo(**values | {"kl_divergence": divergence, "top1_agreement": 0.9} | changes)


@given(st.lists(st.floats(0, 1), min_size=2, max_size=2), st.floats(0.001, 1))
def test_no_file_over_the_limit_is_searched_and_every_other_one_is(divergences: list[float], limit: float) -> None:
    measured = [quality(file, kl) for file, kl in zip(FILES, (0.0, *divergences), strict=True)]
    config, _ = left(study(limit), measured)
    kept = [each.file for each in measured if (each.kl_divergence or 0.0) <= limit]
    paths = config.models["chat"].paths
    assert list(paths) == (kept if len(kept) > 1 else [""])
    assert [path.name for path in paths.values()] == kept


@given(st.lists(st.floats(0, 0.2), min_size=9, max_size=9))
def test_no_combination_over_the_limit_is_left(divergences: list[float]) -> None:
    pairs = [(file, type_k) for file in FILES for type_k in ("f16", "q8_0", "q4_0")]
    measured = [
        quality(file, kl, type_k=type_k) for (file, type_k), kl in zip(pairs, [0.0, *divergences[1:]], strict=True)
    ]
    config, _ = left(study(type_k=["f16", "q8_0", "q4_0"]), measured)
    model = config.models["chat"]
    searched = [
        each
        for each in measured
        if each.file in [path.name for path in model.paths.values()]
        and each.type_k in dimension_values(model.space.type_k)
    ]
    assert searched
    assert len(searched) == 1 or all((each.kl_divergence or 0.0) <= 0.1 for each in searched)


def test_of_two_floors_the_stricter_one_counts() -> None:
    config = study(floors=["chat.kl_divergence <= 0.01", "chat.kl_divergence <= 0.5"])
    assert config.resolved_floors() == []
    measured = [quality(file, kl) for file, kl in zip(FILES, (0.0, 0.009, 0.011), strict=True)]
    assert list(left(config, measured)[0].models["chat"].paths) == list(FILES[:2])


def test_a_floor_that_nothing_is_measured_for_is_said() -> None:
    floors = ["chat.kl_divergence <= 0.01"]
    assert list(unchecked_floors(study(floors=floors))) == []
    assert list(unchecked_floors(study(floors=floors, file="best.gguf"))) == [
        "the floor chat.kl_divergence is not checked: it has one file and one cache type"
    ]


@pytest.mark.parametrize(
    "changes", [{"floors": ["chat.kl_divergence <= 0.01"]}, {"objectives": ["chat.bits_per_byte"]}]
)
def test_a_floor_or_an_objective_without_a_measurement_is_refused(changes: dict[str, list[str]]) -> None:
    with pytest.raises(
        ConfigError, match=r"needs a measurement of quality, and quality\.measure is false .*; leave one"
    ):
        study(measure=False, **changes)


def test_quality_that_is_not_measured_is_unknown_and_said_so(tmp_path: Path) -> None:
    write_models(tmp_path)
    files = [str(tmp_path / name) for name in ("chat.gguf", "code.gguf")]
    overrides = Overrides([f"chat={','.join(files)}"], None, "cpu", [], no_quality=True)
    config, said = study_config(None, overrides), list[str]()
    found = measure_files(cast(StudyFacts, SimpleNamespace(config=config, notify=said.append)))
    assert [(each.file, each.reference, each.unknown) for each in found["chat"]] == [
        ("chat.gguf", "code.gguf", NOT_MEASURED),
        ("code.gguf", "code.gguf", NOT_MEASURED),
    ]
    assert said == [f"chat: quality is unknown: {NOT_MEASURED}"]
    assert f"Quality of chat is unknown: {NOT_MEASURED}." in study_remarks(result(quality=dict(found)))
    assert not any(each.is_quality for each in objectives_of(config, found))


def test_a_floor_of_one_model_replaces_the_limit_of_all() -> None:
    measured = [quality(file, kl) for file, kl in zip(FILES, (0.0, 0.02, 0.021), strict=True)]
    config, _ = left(study(floors=["chat.kl_divergence <= 0.02"]), measured)
    assert list(config.models["chat"].paths) == list(FILES[:2])


def test_what_is_left_out_is_said_and_an_unknown_quality_is_searched() -> None:
    unknown = quality("good.gguf", None, unknown="random weights")
    measured = [quality("best.gguf", 0.0), unknown, quality("bad.gguf", 0.3)]
    config, said = left(study(), measured)
    assert list(config.models["chat"].paths) == ["best.gguf", "good.gguf"]
    assert said == ["chat: not searched, since they miss chat.kl_divergence <= 0.1: bad.gguf"]
    assert left(study(), measured[:2]) == (study(), [])


def test_where_every_choice_is_over_the_limit_the_rest_is_searched_and_that_is_said() -> None:
    measured = [quality("best.gguf", 0.2, type_k="q4_0"), quality("good.gguf", 0.4, type_k="q4_0")]
    config, said = left(study(type_k="q4_0"), measured)
    assert config.models["chat"].paths == {"": Path("best.gguf")}
    assert said[-1] == "warning: chat: every choice misses chat.kl_divergence <= 0.1; best.gguf, q4_0, f16 is searched"


def test_a_cache_type_of_which_every_choice_is_over_the_limit_is_not_searched() -> None:
    pairs = [("f16", 0.0), ("q8_0", 0.01), ("q4_0", 0.4)]
    measured = [quality(file, kl, type_k=type_k) for file in FILES for type_k, kl in pairs]
    config, _ = left(study(type_k=["f16", "q8_0", "q4_0"]), measured)
    assert config.models["chat"].space.type_k == ["f16", "q8_0"]
    assert list(config.models["chat"].paths) == list(FILES)


def test_the_price_of_the_picked_file_stands_in_the_env() -> None:
    file = result().models["chat"].file
    text = export_files(result(quality={"chat": [quality(file, 0.0512)]}), "env", "0")[".env"]
    words = "chat: quality, KL divergence from best.gguf, the best file you gave: 0.0512 (top-1 agreement 90.0%)"
    assert f"# {words}" in text


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"kl_divergence": 0.0512, "standard_error": 0.002}, "good.gguf 0.0512 ± 0.002 (top-1 agreement 90.0%)."),
        ({"kl_divergence": 0.001, "is_visible": False}, "good.gguf 0.001 (top-1 agreement 90.0%, no loss visible)."),
        (
            {"by_kind": {"en": 0.04, "code": 0.061}},
            "good.gguf 0.05 (top-1 agreement 90.0%, en 0.04; code 0.061).",
        ),
        (
            {"by_kind": {"en": 0.04, "code": 0.061}, "text_weights": {"en": 1, "code": 2.5}},
            "good.gguf 0.05 (top-1 agreement 90.0%, en 0.04 (weight 1); code 0.061 (weight 2.5)).",
        ),
        ({"unknown": "random weights"}, "good.gguf unknown (random weights)."),
        (
            {"kl_divergence": None, "bits_per_byte": 1.2, "not_comparable": "its n_layer is 3, not 4"},
            "best.gguf 1.000 bits per byte of text; good.gguf not comparable (its n_layer is 3, not 4), "
            "1.200 bits per byte of text.",
        ),
        ({"score": 0.64}, "good.gguf 0.05 (top-1 agreement 90.0%, your score 0.64)."),
    ],
)
@pytest.mark.parametrize("is_named", [False, True])
def test_the_price_stands_under_the_front(changes: dict[str, Any], words: str, is_named: bool) -> None:
    best = quality("best.gguf", 0.0, bits_per_byte=1.0, reference_is_named=is_named)
    found = result(quality={"chat": [best, quality("good.gguf", 0.05, **changes)]})
    which = "the reference that you named" if is_named else "the best file you gave"
    assert f"Quality of chat, KL divergence from best.gguf, {which}: {words}" in study_remarks(found)


def scored(**scores: float) -> StudyConfig:
    table = {"files": [f"{name}.gguf" for name in scores], "quality": {f"{name}.gguf": scores[name] for name in scores}}
    return parse_config({"models": {"code": table}, "floors": ["code.quality >= 0.7"]}, source="test", folder=Path())


def test_scores_are_known_without_a_measurement_and_their_floors_hold() -> None:
    config = scored(large=0.75, small=0.71, tiny=0.6)
    found = {"code": scores_of(config.models["code"])}
    assert [(each.file, each.score, each.reference) for each in found["code"]] == [
        ("large.gguf", 0.75, "large.gguf"),
        ("small.gguf", 0.71, "large.gguf"),
        ("tiny.gguf", 0.6, "large.gguf"),
    ]
    assert why_unmeasured(config, "code") == "your own scores replace it"
    said: list[str] = []
    kept = without_worse(config, found, said.append)
    assert said == ["code: not searched, since they miss code.quality >= 0.7: tiny.gguf"]
    (objective,) = [each for each in objectives_of(kept, found) if each.is_quality]
    assert (objective.name, objective.direction) == ("code.quality", "maximize")
    assert objective.qualities == {("large.gguf", "f16", "f16"): 0.75, ("small.gguf", "f16", "f16"): 0.71}


@pytest.mark.parametrize(
    ("measured", "name"),
    [
        ([quality(file, kl) for file, kl in zip(FILES, (0.0, 0.01, 0.05), strict=True)], "chat.kl_divergence"),
        ([quality(file, None, bits_per_byte=1.2) for file in FILES], "chat.bits_per_byte"),
        ([quality(file, None, unknown="random weights") for file in FILES], None),
        ([quality(file, 0.0) for file in FILES[:2]], None),
    ],
)
def test_a_quality_that_is_known_of_all_files_is_an_objective(measured: list[QualityInfo], name: str | None) -> None:
    names = [each.name for each in objectives_of(study(), {"chat": measured})]
    assert names == ["chat.tokens_per_s", *([] if name is None else [name]), "vram.peak_bytes"]


def test_a_loss_that_is_not_visible_is_none() -> None:
    measured = [quality("best.gguf", 0.0), quality("good.gguf", 0.004, is_visible=False), quality("bad.gguf", 0.05)]
    objective = objectives_of(study(), {"chat": measured})[1]
    assert sorted(objective.qualities.values()) == [0.0, 0.0, 0.05]


def test_an_objective_that_is_not_known_of_a_file_is_refused_in_one_sentence() -> None:
    config = study(objectives=["chat.kl_divergence", "chat.tokens_per_s"])
    unlike = quality("good.gguf", None, bits_per_byte=1.2, not_comparable="its vocabulary differs from the reference's")
    measured = [quality("best.gguf", 0.0), unlike, quality("bad.gguf", 0.05)]
    with pytest.raises(ConfigError, match=r"chat\.kl_divergence is not known for good\.gguf: its vocabulary differs"):
        objectives_of(config, {"chat": measured})


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"too short", r"the text own\.txt has 9 bytes, and quality needs at least 512 tokens; give a longer text"),
        (b"\xff", "own.txt is not UTF-8 text"),
        (None, "cannot read .*own.txt: No such file"),
    ],
)
def test_a_text_that_cannot_be_used_is_refused_before_anything_is_loaded(
    content: bytes | None, words: str, tmp_path: Path
) -> None:
    text = tmp_path / "own.txt"
    if content is not None:
        text.write_bytes(content)
    config = study()
    with_text = config.model_copy(update={"quality": config.quality.model_copy(update={"text": text})})
    with pytest.raises(ConfigError, match=words):
        check_quality(with_text)
    unmeasured = {"quality": with_text.quality.model_copy(update={"measure": False})}
    check_quality(with_text.model_copy(update=unmeasured))


def weights(name: str, **changes: Any) -> dict[str, float]:
    table = {"models": {name: {"files": list(FILES), **changes}}}
    return {text.kind: text.weight for text in texts_of(parse_config(table, source="test", folder=Path()), name)}


def test_texts_are_weighted_as_the_config_says_and_else_by_the_name_of_the_model() -> None:
    assert weights("chat") == {"english": 1, "korean": 1, "code": 1}
    assert weights("code") == {"english": 1, "korean": 1, "code": 2}
    assert weights("code", texts={"english": 0.5, "code": 3}) == {"english": 0.5, "code": 3}


@pytest.mark.parametrize("texts", [{}, {"poetry": 1}, {"code": 0}])
def test_texts_that_there_are_not_are_refused(texts: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=r"models\.chat\.texts"):
        weights("chat", texts=texts)


def test_a_pair_of_cache_types_over_the_limit_is_not_searched() -> None:
    measured = [
        quality("best.gguf", kl, type_k=type_k, type_v=type_v)
        for (type_k, type_v), kl in ((("f16", "f16"), 0.0), (("q8_0", "q4_0"), 0.01), (("q4_0", "q4_0"), 0.2))
    ]
    config, said = left(study(cache_types=["f16", "q8_0/q4_0", "q4_0"], file="best.gguf"), measured)
    assert config.models["chat"].cache_types == [("f16", "f16"), ("q8_0", "q4_0")]
    assert said == ["chat: not searched, since they miss chat.kl_divergence <= 0.1: q4_0/q4_0"]


def test_a_k_cache_of_q4_0_is_warned_of() -> None:
    assert [*coarse_caches(study(cache_types=["f16", "q8_0/q4_0"]))] == []
    (words,) = coarse_caches(study(type_k=["f16", "q4_0"]))
    assert words.startswith("chat: a K cache of q4_0 loses several times as much quality as a V cache of q4_0")
