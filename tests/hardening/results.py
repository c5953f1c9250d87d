"""Mutated result.json files through every command that reads one."""

import contextlib
import io
import json
import os
from collections.abc import Callable
from copy import deepcopy
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

from tests.hardening.attack import Case
from tests.hardening.headers import Projected
from tests.hardening.values import DIGITS, VALUES, changed

from layertune.cli import main
from layertune.config import DeviceChoice
from layertune.devices.target import Target
from layertune.errors import LayertuneError
from layertune.export import EXPORTERS
from layertune.memory.plan import Overhead
from layertune.models import ModelShape
from layertune.study import calibrated
from layertune.study.models_on_device import ModelsOnDevice

_STUDIES = Path(__file__).parents[2] / "studies"
_RECORDED = ("demo-256mib", "gpu-6gib", "standins-6gib", "rtx4050-3b-7b-emulated")
_N_COMMANDS = 4  # of each case
_PREDICTABLE = "standins-6gib"  # of models whose shapes are known without a file


class Results:
    """See `attack.Attack`."""

    def start(self, folder: Path) -> None:
        os.environ["XDG_CACHE_HOME"] = str(folder / "cache")
        calibrated.place_models = plan_models
        self._folder = folder / "study"
        self._other = folder / "other"
        self._folder.mkdir()
        self._other.mkdir()
        (folder / "out").mkdir()
        self._seeds = {name: json.loads((_STUDIES / name / "result.json").read_text()) for name in _RECORDED}
        self._seeds["two devices"] = _on_two_devices(self._seeds["demo-256mib"])
        config = (_STUDIES / _PREDICTABLE / "study.toml").read_text()
        self._config = config.replace("../../models", "models").replace("step = 1", "step = 6")  # none is there
        for name, document in self._seeds.items():
            (self._other / f"{name}.json").write_text(json.dumps(document))
            self._write(name, json.dumps(document))
            with contextlib.suppress(LayertuneError):  # not every format holds every study
                self._run(self._commands(name))  # imports, and the shapes' cache, are no case's

    def case(self, random: Random) -> Case:
        name = random.choice(sorted(self._seeds))
        text = json.dumps(changed(self._seeds[name], random, [*VALUES, DIGITS, "\ud800"]))
        text = text.replace(f'"{DIGITS}"', "9" * 5000)
        if random.random() < 0.03:
            text = text[: random.randrange(len(text))]
        elif random.random() < 0.03:
            at = random.randrange(len(text))
            text = text[:at] + random.choice(['"', "[", "{", "}", "0", "\x00", "é", "null"]) + text[at + 1 :]
        self._write(name, text)
        commands = self._commands(name)
        commands = random.sample(commands, min(_N_COMMANDS, len(commands) // 2))
        return lambda: self._run(commands)

    def _write(self, name: str, text: str) -> None:
        (self._folder / "result.json").write_text(text, encoding="utf-8")
        config = self._folder / "study.toml"
        config.unlink(missing_ok=True)
        if name == _PREDICTABLE:
            config.write_text(self._config)

    def _run(self, commands: list[Callable[[], object]]) -> None:
        """Run all commands, and raise the first one's refusal in the end: each may have one of its own."""
        refused = None
        with contextlib.redirect_stderr(io.StringIO()):
            for command in commands:
                try:
                    command()
                except LayertuneError as error:
                    refused = refused or error
        if refused is not None:
            raise refused

    def _commands(self, name: str) -> list[Callable[[], object]]:
        study, out, other = self._folder, self._folder.parent / "out", self._other / f"{name}.json"
        file = study / "result.json"
        if name == _PREDICTABLE:
            return [
                lambda: main.predict(study, "emulated-4gib", output=out / "prediction.json"),
                lambda: main.predict(study, "emulated-4gib"),
            ]
        return [
            lambda: main.pareto(study, plot=True),
            lambda: main.pareto(study, json=True),
            lambda: main.report(file, out / "page.html"),
            lambda: main.export(file, explain=True),
            lambda: main.export(file, explain=True, json=True, pick="lean"),
            lambda: main.compare([file, other]),
            lambda: main.compare([other, file], markdown=True),
            lambda: main.compare([file, file], json=True),
            lambda: main.export(file, compat="worksheet"),
            *(partial(main.export, file, each, output=out / each) for each in EXPORTERS),
        ]


def plan_models(
    shapes: dict[str, ModelShape], _choice: DeviceChoice, n_threads: int, n_processes: int
) -> ModelsOnDevice:
    target = Target("emulated", "emulated card", vram_bytes=2**33, n_threads=n_threads)
    return ModelsOnDevice(shapes, target, Projected(shapes), Overhead(0, "none in a test"), n_processes)


def _on_two_devices(document: dict[str, Any]) -> dict[str, Any]:
    """Return the result as one of two cards would be."""
    document = deepcopy(document)
    half_bytes = document["budget"]["vram_bytes"] // 2
    document["budget"]["devices"] = [half_bytes, half_bytes]
    for trial in document["trials"]:
        for engine in trial["settings"].values():
            engine["tensor_split"] = [3.0, 1.0]
        if trial["vram"] is not None:
            one = {"peak_bytes": trial["vram"]["peak_bytes"] // 2, "baseline_bytes": 0, "planned_bytes": None}
            trial["vram"]["devices"] = [one, one]
    return document
