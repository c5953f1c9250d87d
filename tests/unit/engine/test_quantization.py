"""What is read in llama.cpp's log, from its own lines (llama-cpp-python 0.3.36)."""

from layertune.engine.quantization import n_done, read_mixture

LOG = """\
warning: blk.0.attn_k.weight  - ncols    576 not divisible by 256 (required for type    q3_K) -> falling back to    q4_0
[   1/   4] output_norm.weight                   - [   576,      1,      1,      1], type =    f32, size =    0.002 MiB
[   2/   4] token_embd.weight                    - [   576,  49152,      1,      1], type =   q8_0, size =   28.688 MiB
[   3/   4] blk.0.attn_k.weight                  - [   576,    192,      1,      1], type =   q4_1, \
size =     0.07 MiB ->     0.06 MiB (q4_0)
[   4/   4] blk.0.ffn_down.weight                - [  1536,    576,      1,      1], type =   q4_1, \
size =     0.53 MiB ->     0.47 MiB (iq4_nl)
llama_model_quantize_impl: WARNING: 180 of 272 tensor(s) required fallback quantization
""".splitlines()


def test_the_types_are_those_of_the_log_whether_they_change_or_not() -> None:
    mixture = read_mixture("Q3_K_M", LOG)
    assert mixture.tensor_types == {
        "output_norm.weight": "F32",
        "token_embd.weight": "Q8_0",
        "blk.0.attn_k.weight": "Q4_0",
        "blk.0.ffn_down.weight": "IQ4_NL",
    }
    assert (mixture.n_other, mixture.needs_imatrix) == (180, False)


def test_a_type_that_needs_an_importance_matrix_is_known_before_anything_is_written() -> None:
    warning = (
        "WARNING: dry run completed successfully, but actually completing this quantization will require an imatrix!"
    )
    assert read_mixture("IQ2_M", [*LOG, warning]).needs_imatrix


def test_each_line_about_a_tensor_says_how_far_it_is() -> None:
    assert [n_done(line) for line in LOG] == [None, (1, 4), (2, 4), (3, 4), (4, 4), None]
