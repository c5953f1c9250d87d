import pytest

from compared import engine
from explained import pair, study
from layertune.explain.steps import STEPPED_SETTINGS, NoStep, Step, linked_settings, steps, with_setting
from layertune.results.result import HostLimitsInfo, Result, WorkloadInfo
from layertune.settings import SWITCHES, TENSOR_OVERRIDES, EngineSettings

N_LAYER = 36


def told(result: Result, now: EngineSettings) -> dict[tuple[str, bool], Step | NoStep]:
    """Return what is said of each setting, down (False) and up (True)."""
    found = list(steps(result, "chat", now))
    return {(each.knob, bool(place % 2)): each for place, each in enumerate(found)}


def value(found: Step | NoStep) -> int:
    assert isinstance(found, Step), found
    return found.to


def why(found: Step | NoStep) -> str:
    assert isinstance(found, NoStep), found
    return found.why


def test_every_setting_has_a_step_or_a_reason_in_both_directions() -> None:
    tried = [
        pair(
            engine(
                20,
                n_cpu_moe=30,
                n_cpu_ffn=30,
                n_threads_batch=2,
                n_parallel=2,
                kv_offload="off",
                op_offload="off",
                kv_unified="on",
                tensor_overrides=("ffn_up=CPU",),
            )
        )
    ]
    assert set(told(study(tried), engine(20))) == {(knob, up) for knob in STEPPED_SETTINGS for up in (False, True)}
    only_if_tried = {"n_cpu_moe", "n_cpu_ffn", "n_threads_batch", *SWITCHES, TENSOR_OVERRIDES}
    assert set(STEPPED_SETTINGS) - {knob for knob, _ in told(study(), engine(20))} == only_if_tried


def test_the_first_layer_that_keeps_its_tensors_is_the_first_one_on_the_device() -> None:
    tried = [pair(engine(20, n_cpu_ffn=30))]
    found = told(study(tried), engine(20))
    assert value(found["n_cpu_ffn", True]) == N_LAYER + 1 - 20 + 1
    assert why(found["n_cpu_ffn", False]) == "all that is on the host is there with its layer"
    assert value(told(study(tried), engine(20, n_cpu_ffn=18))["n_cpu_ffn", False]) == 0


def test_threads_of_prompts_step_by_themselves_and_follow_the_others_by_default() -> None:
    tried = [pair(engine(20)), pair(engine(20, n_threads_batch=2))]
    following, own = engine(20, n_threads=3), engine(20, n_threads=3, n_threads_batch=4)
    found = told(study(tried), following)
    assert (value(found["n_threads_batch", False]), value(found["n_threads_batch", True])) == (2, 4)
    assert value(told(study(tried), own)["n_threads_batch", False]) == 2
    for now in (following, own):
        up = told(study(tried), now)["n_threads", True]
        assert isinstance(up, Step)
        assert (up.engine.n_threads, up.engine.prompt_threads, linked_settings(now, up)) == (4, 4, [])


def test_a_switch_steps_from_on_to_off_and_back() -> None:
    tried = [pair(engine(20)), pair(engine(20, kv_offload="off"))]
    for now, up, there, reason in (("on", False, "off", "it is on"), ("off", True, "on", "it is off")):
        found = told(study(tried), engine(20, kv_offload=now))
        step = found["kv_offload", up]
        assert isinstance(step, Step)
        assert step.engine.kv_offload == there
        assert why(found["kv_offload", not up]) == reason


def test_the_only_step_of_overrides_is_to_have_none() -> None:
    named = engine(20, tensor_overrides=("ffn_up=CPU",))
    tried = [pair(engine(20)), pair(named)]
    down = told(study(tried), named)["tensor_overrides", False]
    assert isinstance(down, Step)
    assert down.engine == engine(20)
    assert "not determined" in why(told(study(tried), engine(20))["tensor_overrides", True])


def test_slots_get_caches_of_their_own_only_if_the_workload_fits_one() -> None:
    tried = [pair(engine(20, n_parallel=2, kv_unified="on"))]
    load = WorkloadInfo(n_prompt=500, n_generate=100)
    result = study(tried).model_copy(update={"workload": {"chat": load, "code": load}})
    for n_ctx, fits in ((2048, True), (1024, False)):
        down = told(result, engine(20, n_ctx=n_ctx, n_parallel=2, kv_unified="on"))["kv_unified", False]
        assert isinstance(down, Step) == fits


def test_a_step_of_layers_is_one_layer() -> None:
    found = told(study([pair(engine(20)), pair(engine(10)), pair(engine(30))]), engine(20))
    assert (value(found["n_gpu_layers", False]), value(found["n_gpu_layers", True])) == (19, 21)


def test_other_settings_step_to_the_next_tried_value_or_to_half_and_double() -> None:
    tried = [pair(engine(20)), pair(engine(20, n_ctx=1536)), pair(engine(20, n_ctx=4096)), pair(engine(20, n_batch=96))]
    found = told(study(tried), engine(20))
    assert (value(found["n_ctx", False]), value(found["n_ctx", True])) == (512, 1536)
    assert (value(found["n_batch", False]), value(found["n_batch", True])) == (96, 512)
    assert value(found["n_threads", False]) == 3


def test_batches_change_together_if_llama_cpp_would_clamp_one() -> None:
    now = engine(20)
    found = told(study(), now)
    up, down = found["n_ubatch", True], found["n_batch", False]
    assert isinstance(up, Step)
    assert isinstance(down, Step)
    assert (up.engine.n_ubatch, up.engine.n_batch, linked_settings(now, up)) == (512, 512, ["n_batch"])
    assert (down.engine.n_ubatch, down.engine.n_batch, linked_settings(now, down)) == (128, 128, ["n_ubatch"])
    assert linked_settings(now, Step("chat", "n_batch", with_setting(now, "n_batch", 512, N_LAYER))) == []


def test_the_ends_of_a_setting_are_named() -> None:
    ends = told(study(), engine(N_LAYER + 1, n_ctx=256, n_batch=256, n_ubatch=1, n_threads=1))
    assert why(ends["n_gpu_layers", True]) == "all 37 layers are on the device"
    assert why(ends["n_ctx", False]) == "the smallest context of llama.cpp is 256 tokens per slot"
    assert why(ends["n_batch", True]) == "a batch cannot exceed the context of 256"
    assert why(ends["n_ubatch", False]) == "a batch has at least one token"
    assert why(ends["n_threads", False]) == "at least one thread is needed"
    assert why(told(study(), engine(0))["n_gpu_layers", False]) == "no layer is on the device"


def test_threads_stay_within_the_cores_of_a_model() -> None:
    assert why(told(study(), engine(20))["n_threads", True]) == "a model may use 4 cores"
    limits = HostLimitsInfo(n_cpus=1, ram_per_model_bytes=None)
    found = told(study(host_limits=limits), engine(20, n_threads=1))
    assert why(found["n_threads", True]) == "a model may use one core"


def test_a_context_is_at_least_as_large_as_the_workload() -> None:
    long = dict.fromkeys(("chat", "code"), WorkloadInfo(n_prompt=600, n_generate=16))
    assert why(told(study(workload=long), engine(20))["n_ctx", False]) == "the workload's 616 tokens would not fit"


def test_without_a_device_there_is_no_step_of_layers() -> None:
    hardware = study().hardware
    cpu = hardware.model_copy(update={"device": hardware.device.model_copy(update={"kind": "cpu"})})
    assert why(told(study(hardware=cpu), engine(0))["n_gpu_layers", True]) == "there is no device to put layers on"


@pytest.mark.parametrize("n_ubatch", [1, 64, 256])
def test_a_step_is_what_llama_cpp_would_run(n_ubatch: int) -> None:
    now = engine(20, n_batch=256, n_ubatch=n_ubatch)
    found = [each for each in steps(study(), "chat", now) if isinstance(each, Step)]
    assert [each.engine.canonical(N_LAYER) for each in found] == [each.engine for each in found]
    assert all(each.to != getattr(now, each.knob) for each in found)
