"""Trials whose worker is a small script: it answers, dies or hangs as a test wants it to. No model is loaded."""

import sys
import textwrap
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

from layertune.devices.target import Target
from layertune.models import ModelFiles
from layertune.settings import EngineSettings, SplitSettings
from layertune.trial.effort import Effort
from layertune.trial.messages import MESSAGE, Done, Stage
from layertune.trial.outcome import Measured, TrialOutcome
from layertune.trial.process_runner import ProcessTrialRunner, TrialContext
from layertune.trial.time_spent import TimeSpent

SETTINGS = SplitSettings.of({"chat": EngineSettings(n_gpu_layers=0, n_ctx=256, n_batch=8, n_ubatch=8, n_threads=1)})
MEASURED = Measured({}, None, peak_rss_bytes=1, duration_s=1.0)
DONE = MESSAGE.dump_json(Done(MEASURED, TimeSpent(measure_s=1.0), stays=True)).decode()
EFFORT = Effort(3, 3, 0.02)
DECODE = MESSAGE.dump_json(Stage("decode", "chat")).decode()
CARD = Target("emulated", "card", vram_bytes=4096, n_threads=1)


@contextmanager
def scripted(
    script: str,
    folder: Path,
    *,
    target: Target | None = None,
    timeout_s: float = 30.0,
    files: Sequence[ModelFiles] = (),
) -> Iterator[ProcessTrialRunner]:
    """Run trials in `script`; it finds the first request in `request` and reads further ones from its input."""
    file = folder / "worker.py"
    prelude = "import json, os, signal, sys, time\nrequest = sys.stdin.readline()\n"
    file.write_text(prelude + textwrap.dedent(script))
    context = TrialContext(target or Target("cpu", "CPU"), {"chat": "a.gguf"}, {"chat": (8, 8)}, 0, timeout_s, files)
    with closing(ProcessTrialRunner(context, command=(sys.executable, str(file)))) as runner:
        yield runner


def outcome_of(script: str, folder: Path, *, target: Target | None = None, timeout_s: float = 30.0) -> TrialOutcome:
    """Run one trial whose worker is `script`."""
    with scripted(script, folder, target=target, timeout_s=timeout_s) as runner:
        return runner.run(SETTINGS, EFFORT)
