from layertune.engine.buffer_log import BufferBytes, read_buffers, read_flash_attention
from layertune.units import MIB

LOG = """\
load_tensors:   CPU_Mapped model buffer size =    28.69 MiB
load_tensors: RPC0[127.0.0.1:42187] model buffer size =    92.10 MiB
llama_context:        CPU  output buffer size =     0.19 MiB
llama_kv_cache_iswa: creating non-SWA KV cache, size = 1024 cells
llama_kv_cache: RPC0[127.0.0.1:42187] KV buffer size =     3.00 MiB
llama_kv_cache: RPC0[127.0.0.1:42187] KV buffer size =    15.00 MiB
sched_reserve: RPC0[127.0.0.1:42187] compute buffer size =    99.00 MiB
sched_reserve: RPC0[127.0.0.1:42187] compute buffer size =    18.52 MiB
sched_reserve:        CPU compute buffer size =     4.52 MiB
""".splitlines()
NAMES = ("RPC0[127.0.0.1:42187]",)


def test_buffer_lines_are_added_up_by_device_and_kind() -> None:
    buffers = read_buffers(LOG, NAMES)
    assert buffers["gpu0"].weights_bytes == round(92.10 * MIB)
    assert buffers["gpu0"].kv_bytes == 18 * MIB
    assert buffers["host"].weights_bytes == round(28.69 * MIB)
    assert buffers["host"].output_bytes == round(0.19 * MIB)


def test_a_compute_buffer_that_is_reserved_again_counts_once() -> None:
    assert read_buffers(LOG, NAMES)["gpu0"].compute_bytes == round(18.52 * MIB)


def test_pinned_and_repacked_buffers_belong_to_the_host() -> None:
    lines = [f"load_tensors: {name} model buffer size = 1.00 MiB" for name in ("CUDA_Host", "CPU_REPACK", "CUDA0")]
    buffers = read_buffers(lines, ("CUDA0",))
    assert (buffers["host"].weights_bytes, buffers["gpu0"].weights_bytes) == (2 * MIB, MIB)


def test_recurrent_state_counts_as_cache() -> None:
    lines = [
        "llama_memory_recurrent:        CPU RS buffer size =     2.50 MiB",
        "llama_dsv4_comp_state:        CPU DSV4 csa state buffer size =     1.00 MiB",
    ]
    assert read_buffers(lines, ()) == {"host": BufferBytes(kv_bytes=round(3.5 * MIB))}


def test_buffers_add_up() -> None:
    total = BufferBytes(1, 2, 3, 4) + BufferBytes(10, 20, 30, 40)
    assert (total, total.total_bytes) == (BufferBytes(11, 22, 33, 44), 110)


def test_the_choice_of_auto_flash_attention_is_read_from_the_log() -> None:
    enabled = ["resolve_fused_ops: Flash Attention enabled"]
    disabled = ["resolve_fused_ops: Flash Attention not supported, set to disabled"]
    assert read_flash_attention(enabled, "auto") is True
    assert read_flash_attention(disabled, "auto") is False
    assert read_flash_attention([], "auto") is None
    assert read_flash_attention([], "on") is True
    assert read_flash_attention(enabled, "off") is False
