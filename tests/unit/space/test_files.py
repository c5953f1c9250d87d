"""A model with several files: the file is a dimension, and files may differ in their layers."""

from pathlib import Path

from layertune.config import StudyConfig, Workload, parse_config
from layertune.memory import HOST, ModelMemory, Planner
from layertune.memory.placement import TensorInventory
from layertune.memory.plan import Overhead
from layertune.memory.planner import FilesMemory
from layertune.sampler.posterior import ModelEngines, model_engines
from layertune.settings import SplitSettings, variant
from layertune.space.baselines import baselines
from layertune.space.feasible import FeasibleSpace
from layertune.space.initial_design import extreme_settings
from layertune.space.least import LeastSettings
from layertune.space.limits import Limits
from layertune.space.search_space import SearchSpace
from layertune.trial.outcome import ModelSamples
from small_shapes import engine, linear, shape

SHAPES = {"chat/small.gguf": shape(n_layer=4), "chat/large.gguf": shape(n_layer=6), "code": shape(n_layer=4, tied=True)}
CAPACITY_BYTES = 4_000_000


def memory(key: str) -> ModelMemory:
    return ModelMemory(SHAPES[key], TensorInventory.plain(SHAPES[key]), linear(SHAPES[key]))


FILES = FilesMemory({"small.gguf": memory("chat/small.gguf"), "large.gguf": memory("chat/large.gguf")})
PLANNER = Planner({"chat": FILES, "code": memory("code")}, Overhead(0, "none"), 2)


def config() -> StudyConfig:
    space = {"n_ctx": 1024, "n_batch": 256, "n_ubatch": 256}
    models = {"chat": {"files": ["small.gguf", "large.gguf"], "space": space}, "code": {"path": "c", "space": space}}
    return parse_config({"models": models}, source="test", folder=Path())


SPACE = SearchSpace.of(config(), {key: each.n_layer for key, each in SHAPES.items()}, n_threads=1)
LIMITS = Limits((CAPACITY_BYTES,), 0, None, 2, file_bytes={key: each.file_bytes for key, each in SHAPES.items()})
FEASIBLE = FeasibleSpace(SPACE, PLANNER, LIMITS)


def test_the_file_is_a_dimension_of_the_model_that_has_several() -> None:
    assert SPACE.files("chat") == ("small.gguf", "large.gguf")
    assert SPACE.files("code") == ("",)
    assert [each.name for each in SPACE.searched] == ["chat.file", "chat.n_gpu_layers", "code.n_gpu_layers"]
    distinct = {SPACE.canonical_engine("chat", each) for each in SPACE.engines("chat")}
    assert len(distinct) == (4 + 2) + (6 + 2)  # of the smaller one, more layers than it has are all of them


def test_a_plan_is_that_of_the_file() -> None:
    for key in ("chat/small.gguf", "chat/large.gguf"):
        there = engine(3, file=key.partition("/")[2])
        assert FILES.plan(there) == memory(key).plan(engine(3))
        assert FILES.weights_used(there) == memory(key).weights_used(engine(3))


def test_the_settings_that_fit_are_those_that_fit_one_by_one() -> None:
    fitting = [each for each in SPACE.enumerate() if PLANNER.plan(each).fits(CAPACITY_BYTES)]
    assert 0 < FEASIBLE.n_settings() == len(fitting) < SPACE.n_settings()
    assert {each["chat"].file for each in fitting} == {"small.gguf", "large.gguf"}


def space_of(*files: str) -> SearchSpace:
    """The space with the files in this order."""
    chat = config().models["chat"].model_copy(update={"files": [Path(file) for file in files]})
    changed = config().model_copy(update={"models": {**config().models, "chat": chat}})
    return SearchSpace.of(changed, {key: each.n_layer for key, each in SHAPES.items()}, n_threads=1)


def test_fit_takes_the_smallest_files_too_where_the_first_do_not_fit_whole() -> None:
    large_first = space_of("large.gguf", "small.gguf")
    rules = {each.name: each.settings for each in baselines(large_first, PLANNER, CAPACITY_BYTES, CAPACITY_BYTES)}
    assert [name for name in rules if "smallest" in name] == ["fit-chat-first-smallest", "fit-code-first-smallest"]
    for name, settings in rules.items():
        assert settings is None or settings["chat"].file == ("small.gguf" if "smallest" in name else "large.gguf")
    first, smallest = rules["fit-code-first"], rules["fit-code-first-smallest"]
    assert first is not None
    assert smallest is not None
    assert PLANNER.plan(smallest).fits(CAPACITY_BYTES)
    on_host = {
        each["chat"].file: SPACE.n_layer("chat", each["chat"]) - each["chat"].n_gpu_layers for each in (first, smallest)
    }
    assert on_host["small.gguf"] < on_host["large.gguf"]
    roomy = baselines(large_first, PLANNER, 100 * CAPACITY_BYTES, CAPACITY_BYTES)
    assert not any("smallest" in each.name for each in roomy)


def test_baselines_have_the_first_file_and_the_initial_design_has_all() -> None:
    rules = baselines(SPACE, PLANNER, CAPACITY_BYTES, CAPACITY_BYTES)
    assert {each.settings["chat"].file for each in rules if each.settings is not None} == {"small.gguf"}
    extremes = extreme_settings(SPACE, PLANNER, (CAPACITY_BYTES,))
    layers = {each["chat"].file: SPACE.canonical(each)["chat"].n_gpu_layers for each in extremes}
    assert layers["large.gguf"] > 0


def test_the_initial_design_measures_a_file_of_every_model_in_each_trial_and_both_ends_of_each_file() -> None:
    names = ("small.gguf", "large.gguf")
    memories = {name: memory(f"chat/{name}") for name in names}
    shapes = {f"{model}/{name}": SHAPES[f"chat/{name}"] for model in ("chat", "code") for name in names}
    models = {name: {"files": list(names), "space": {"n_ctx": 1024}} for name in ("chat", "code")}
    both = parse_config({"models": models}, source="test", folder=Path())
    space = SearchSpace.of(both, {key: each.n_layer for key, each in shapes.items()}, n_threads=1)
    planner = Planner({name: FilesMemory(memories) for name in models}, Overhead(0, "none"), 2)
    design = [space.canonical(each) for each in extreme_settings(space, planner, (CAPACITY_BYTES,))]
    ends = {(name, each[name].file, each[name].n_gpu_layers > 0) for each in design for name in models}
    assert ends == {(name, file, on_device) for name in models for file in names for on_device in (False, True)}
    assert len(design) == 1 + 2 * 2


def test_the_least_setting_is_of_the_smallest_file() -> None:
    least = LeastSettings(SPACE, FEASIBLE).left([])
    assert least is not None
    assert PLANNER.plan(least).needed_on("gpu0") == 0


def test_a_ram_limit_counts_the_file_that_is_loaded() -> None:
    limits = Limits((), 0, 10**9, 1, file_bytes=LIMITS.file_bytes)
    on_host = FILES.plan(engine(0, file="large.gguf")).devices[HOST].buffers()
    assert on_host is not None
    excess = {file: limits.ram_excess_bytes("chat", engine(0, file=file), on_host) for file in FILES.of_file}
    assert excess["large.gguf"] - excess["small.gguf"] >= 0
    assert limits.n_models == 2


def models(n_generate: int = 16) -> ModelEngines:
    workload = Workload(n_prompt=64, n_generate=n_generate)
    return model_engines(SPACE, FEASIBLE, {"chat": workload, "code": workload})["chat"]


def samples(token_s: float) -> ModelSamples:
    return ModelSamples((1000.0,), (1 / token_s,), (0.064,), (1 / token_s,))


def test_without_a_trial_of_a_file_its_time_is_expected_to_grow_with_its_bytes() -> None:
    model = models()
    rows = {each.file: row for each, row in model.rows.items() if each.n_gpu_layers == 0}
    speeds = model.learn([(rows["small.gguf"], samples(0.1))])
    weights = {
        file: sum(each.weights_bytes for each in FILES.plan(engine(0, file=file)).devices.values()) for file in rows
    }
    expected = 0.1 * weights["large.gguf"] / weights["small.gguf"]
    assert abs(speeds.token.mean_s[rows["large.gguf"]] / expected - 1) < 0.1


def test_each_file_has_its_own_curve_once_it_is_measured() -> None:
    model = models()
    rows = {(each.file, each.n_gpu_layers): row for each, row in model.rows.items()}
    seen = [(("small.gguf", 0), 0.1), (("small.gguf", 5), 0.01), (("large.gguf", 0), 0.05), (("large.gguf", 7), 0.02)]
    speeds = model.learn([(rows[at], samples(token_s)) for at, token_s in seen])
    for at, token_s in seen:  # the larger file is the faster one on the host: smaller is not always faster
        assert abs(speeds.token.mean_s[rows[at]] / token_s - 1) < 0.15


def test_variants_name_a_file_of_a_model() -> None:
    settings = SplitSettings.of({"chat": engine(9, file="small.gguf"), "code": engine(9)})
    assert [variant(name, each.file) for name, each in settings.items()] == ["chat/small.gguf", "code"]
    assert [each.n_gpu_layers for _, each in SPACE.canonical(settings).items()] == [5, 5]
