"""Quality of real files: one made smaller by llama.cpp, against the file that it was made from."""

import re
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from layertune.devices.quantization_process import Order, quantize
from layertune.errors import ConfigError
from layertune.quality import Candidate, FileQuality, Scoring, Text, measure_quality, shipped_texts

pytestmark = pytest.mark.slow

PERPLEXITY = Path(__file__).parents[2] / "build" / "tools" / "bin" / "llama-perplexity"


@pytest.fixture(scope="module")
def smaller(demo_pair: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("quality") / "chat-Q2_K.gguf"
    quantize(Order(demo_pair["chat"], ("Q2_K",), path), lambda _n_done, _n_total: None)
    return path


def test_a_smaller_file_diverges_from_its_source_and_a_copy_does_not(
    demo_pair: dict[str, Path], smaller: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "copy.gguf"
    copy.symlink_to(demo_pair["chat"])
    candidates = [Candidate(smaller), Candidate(copy), Candidate(demo_pair["code"])]
    scoring = Scoring(n_threads=2, least_tokens=900, most_tokens=900)
    report = measure_quality(
        Candidate(demo_pair["chat"]), candidates, scoring, shipped_texts({"english": 1.0}), cache=tmp_path
    )
    found = [each for each in report.qualities if isinstance(each, FileQuality)]
    small, same, other = (each.total for each in found)
    assert small.divergence is not None
    assert small.divergence.mean > 0.01
    assert found[0].is_visible
    assert same.divergence is not None
    assert same.divergence.mean == pytest.approx(0, abs=1e-6)
    assert (same.divergence.top1_agreement, same.divergence.ln_ppl_change) == (1, pytest.approx(0, abs=1e-6))
    assert "architecture" in (found[2].not_comparable or "")
    assert 0.5 < other.bits_per_byte < 3


def test_threads_and_larger_batches_change_no_bit(demo_pair: dict[str, Path], smaller: Path, tmp_path: Path) -> None:
    scorings = [Scoring(n_threads=1), Scoring(n_threads=2, n_ubatch=256)]
    texts, found = shipped_texts({"english": 1.0}), []
    for number, scoring in enumerate(scorings):
        few = replace(scoring, least_tokens=450, most_tokens=450)
        report = measure_quality(
            Candidate(demo_pair["chat"]), [Candidate(smaller)], few, texts, cache=tmp_path / str(number)
        )
        (quality,) = report.qualities
        assert isinstance(quality, FileQuality)
        found.append(quality.total)
    assert found[0] == found[1]


def test_a_text_with_too_few_tokens_is_refused_in_one_sentence(demo_pair: dict[str, Path], tmp_path: Path) -> None:
    words = "one two three four five six seven eight nine ten. " * 20  # 1,000 bytes, some 220 tokens
    chat, scoring = Candidate(demo_pair["chat"]), Scoring(n_threads=2)
    with pytest.raises(ConfigError, match=r"the text mine\.txt has \d+ tokens of .*, and quality needs at least 512"):
        measure_quality(chat, [chat], scoring, [Text("mine.txt", words)], cache=tmp_path)


@pytest.mark.skipif(not PERPLEXITY.exists(), reason="no llama-perplexity here; make tools builds it")
@pytest.mark.parametrize("name", ["chat", "code"])  # code's vocabulary has a BOS token, chat's has none
def test_figures_agree_with_llama_perplexity(
    demo_pair: dict[str, Path], smaller: Path, tmp_path: Path, name: str
) -> None:
    reference = demo_pair[name]
    candidate = Candidate(smaller) if name == "chat" else Candidate(reference, "q4_0", "q4_0")
    text, kept = shipped_texts({"english": 1.0})[0].content[:6000], tmp_path / "logits"
    file = tmp_path / "text.txt"
    file.write_text(text, encoding="utf-8")
    common = ["-f", file, "-c", "512", "-b", "512", "-ub", "128", "-t", "2", "-ngl", "0", "--kl-divergence-base", kept]
    subprocess.run([PERPLEXITY, "-m", reference, *common], check=True, capture_output=True)
    caches = ["-ctk", candidate.type_k, "-ctv", candidate.type_v]
    compared = subprocess.run(
        [PERPLEXITY, "-m", candidate.path, *common, *caches, "--kl-divergence"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    theirs = {name: float(found[1]) for name, pattern in _PATTERNS.items() if (found := re.search(pattern, compared))}

    scoring = Scoring(n_threads=2, n_first=256, least_tokens=10**6, most_tokens=10**6)
    (ours,) = measure_quality(
        Candidate(reference), [candidate], scoring, [Text("english", text)], cache=tmp_path
    ).qualities
    assert isinstance(ours, FileQuality)
    divergence = ours.total.divergence
    assert divergence is not None
    assert divergence.mean == pytest.approx(theirs["divergence"], rel=0.01)
    assert 100 * divergence.top1_agreement == pytest.approx(theirs["agreement"], abs=0.2)
    assert ours.total.perplexity == pytest.approx(theirs["perplexity"], rel=1e-4)


_PATTERNS = {
    "divergence": r"Mean +KLD: +([\d.]+)",
    "agreement": r"Same top p: +([\d.]+)",
    "perplexity": r"Mean PPL\(Q\) +: +([\d.]+)",
}
