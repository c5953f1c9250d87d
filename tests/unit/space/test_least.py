"""Which setting needs the least memory, and what a refusal of others says of the rest."""

import small_study
from layertune.settings import SplitSettings
from layertune.space.feasible import FeasibleSpace
from layertune.space.least import LeastSettings
from layertune.space.limits import Limits
from layertune.space.search_space import SearchSpace
from layertune.units import GIB
from small_shapes import planner, shape
from small_study import N_LAYERS

PLANNER = planner(**{name: shape(n_layer=n_layer) for name, n_layer in N_LAYERS.items()})


def feasible(space: SearchSpace, vram_bytes: int = GIB) -> FeasibleSpace:
    return FeasibleSpace(space, PLANNER, Limits((vram_bytes,), 0, None, 2, dict.fromkeys(N_LAYERS, 2**40)))


def planned_bytes(settings: SplitSettings) -> int:
    plan = PLANNER.plan(settings)
    return sum(plan.bytes_on(device) or 0 for device in plan.devices)


def test_by_plan_no_setting_of_the_space_needs_less() -> None:
    space = small_study.space(n_gpu_layers={"min": 4}, n_ctx=[4096, 1024], type_k=["f16", "q4_0"], n_cpu_moe=[0, 6])
    smallest = LeastSettings(space, feasible(space)).left([])
    assert smallest is not None
    assert planned_bytes(smallest) == min(map(planned_bytes, space.enumerate()))
    assert (smallest["chat"].type_k, smallest["chat"].n_gpu_layers, smallest["chat"].n_ctx) == ("q4_0", 4, 1024)


def test_where_nothing_else_grows_the_smallest_is_that_of_the_fewest_layers() -> None:
    space = small_study.space(n_ctx=[4096, 1024])
    assert LeastSettings(space, feasible(space)).left([]) == space.smallest()
    assert LeastSettings(space, None).left([]) == space.smallest()


def test_without_a_plan_more_experts_on_the_host_are_smaller() -> None:
    space = small_study.space(n_gpu_layers=12, n_cpu_moe=[0, 4, 8])
    smallest = LeastSettings(space, None).left([])
    assert smallest is not None
    assert smallest["chat"].n_cpu_moe == 8


def test_each_kind_of_setting_is_left_until_its_smallest_was_refused() -> None:
    space = small_study.space(flash_attn=["auto", "on"], type_k=["f16", "q8_0"])
    for plans in (feasible(space), None):
        least, refused = LeastSettings(space, plans), list[SplitSettings]()
        while (left := least.left(refused)) is not None:
            refused.append(space.canonical(left))
        assert len(refused) == 4
        kinds = {(each["chat"].flash_attn, each["chat"].type_k) for each in refused}
        assert kinds == {("auto", "f16"), ("auto", "q8_0"), ("on", "f16"), ("on", "q8_0")}


def test_a_refusal_of_a_larger_setting_says_nothing_of_the_smaller() -> None:
    space = small_study.space(n_ctx=[4096, 1024])
    for plans in (feasible(space), None):
        least = LeastSettings(space, plans)
        refused = [
            each for each in map(space.canonical, space.enumerate()) if each != space.canonical(space.smallest())
        ]
        assert least.left(refused) is not None
        assert least.left([space.canonical(space.smallest())]) is None


def test_a_larger_context_that_the_host_refused_leaves_a_smaller_one_with_as_few_layers() -> None:
    space = small_study.space(n_gpu_layers=0, n_ctx=[4096, 1024])
    large = space.settings({"chat.n_ctx": 4096, "chat.n_gpu_layers": 0})
    for plans in (feasible(space), None):
        assert LeastSettings(space, plans).left([space.canonical(large)]) is not None


def test_what_fits_by_no_plan_is_not_left() -> None:
    space = small_study.space(n_gpu_layers={"min": 4})
    assert LeastSettings(space, feasible(space, vram_bytes=1)).left([]) is None


def test_without_a_plan_no_refusal_speaks_against_another_split_over_devices() -> None:
    config = small_study.config()
    space = SearchSpace.of(config, N_LAYERS, n_threads=2, capacities=(GIB, GIB))
    least = LeastSettings(space, None)
    assert least.left(map(space.canonical, space.enumerate())) is not None
