"""Mutated study configs, scenario files, hardware profiles and .env files through the commands that read them."""

import contextlib
import io
import os
import shutil
import tomllib
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any
from unittest import mock

import tomli_w
from tests.hardening.attack import Case
from tests.hardening.headers import plan_study
from tests.hardening.results import plan_models
from tests.hardening.values import DIGITS, VALUES, changed

from layertune.cli import main
from layertune.errors import LayertuneError
from layertune.models.known_models import find_known
from layertune.models.standin import standin_skeleton
from layertune.study import calibrated, scenarios, study
from layertune.study.machine_rates import FoundRates

_ROOT = Path(__file__).parents[2]
_STUDY = _ROOT / "studies" / "standins-6gib"
_PIECES = [
    "\0",
    "\x1b",
    "[",
    "]",
    "{",
    "}",
    '"',
    "'",
    "=",
    "\n",
    "#",
    "\ufeff",
    "é",
    "$",
    "${X}",
    "`",
    "\\",
    "nan",
    "1e9",
]
_LINES = ["[", "x", "[[models]]", "a.b = 1", "seed =", f"n = {'[' * 3000}", "n = 1979-05-27", f"n = {'9' * 5000}"]


class Configs:
    """See `attack.Attack`."""

    def start(self, folder: Path) -> None:
        os.environ["XDG_CACHE_HOME"] = str(folder / "cache")
        study.models_of = plan_study
        calibrated.place_models = scenarios.place_models = plan_models
        self._study = folder / "study"
        shutil.copytree(_STUDY, self._study)
        config = (self._study / "study.toml").read_text().replace("step = 1", "step = 6")
        (self._study / "study.toml").write_text(config.replace("../../models", "models"))  # none is there
        for name in ("chat", "code"):
            (folder / f"{name}.gguf").symlink_to(standin_skeleton(find_known("Qwen2.5-0.5B-Instruct")))
        self._file = folder / "mutated.toml"
        no_rates = FoundRates(None, ("the memory is not measured here",))  # it takes a second, and no case changes it
        mock.patch("layertune.study.machine_rates.find_rates", return_value=no_rates).start()
        hardware, whole = _ROOT / "configs" / "hardware", tomllib.loads(config)
        for name, model in whole["models"].items():
            model["path"] = f"{name}.gguf"
        few = {"models": {name: {"path": f"{name}.gguf"} for name in ("chat", "code")}, "device": "emulated:6GiB"}
        self._seeds: list[tuple[dict[str, Any], list[Callable[[], object]]]] = [
            *[(whole, [self._estimate, self._search])] * 3,
            (few, [self._estimate, self._search]),
            (_toml(_ROOT / "configs" / "scenarios" / "worksheet.toml"), [self._scenario]),
            (_toml(hardware / "emulated-4gib.toml"), [self._predict]),
            (_toml(hardware / "rtx-4060.toml"), [self._predict]),
        ]
        self._env = (self._study / ".env").read_text()
        for document, commands in self._seeds:
            self._file.write_text(tomli_w.dumps(document))
            with contextlib.suppress(LayertuneError):  # the GPU is another kind of card than the study's
                self._run(commands)  # imports, and the shapes' cache, are no case's

    def case(self, random: Random) -> Case:
        if random.random() < 0.1:
            text, commands = self._env, [self._verify]
        else:
            document, commands = random.choice(self._seeds)
            text = _dump(changed(document, random, [*VALUES, DIGITS]))
        for _ in range(random.choice((0, 0, 0, 0, 1, 2)) if commands != [self._verify] else random.choice((1, 2, 3))):
            text = _edited(text, random)
        self._file.write_text(text, encoding="utf-8")
        return lambda: self._run(commands)

    def _run(self, commands: list[Callable[[], object]]) -> None:
        refused = None
        with contextlib.redirect_stderr(io.StringIO()):
            for command in commands:
                try:
                    command()
                except LayertuneError as error:
                    refused = refused or error
        if refused is not None:
            raise refused

    def _estimate(self) -> None:
        main.estimate(self._file, json=True)

    def _search(self) -> None:
        main.search(self._file, dry_run=True, study=self._file.parent / "new")

    def _scenario(self) -> None:
        main.estimate(scenario=self._file)

    def _predict(self) -> None:
        main.predict(self._study, str(self._file), json=True)

    def _verify(self) -> None:
        """No model file is there, so no server is started."""
        main.verify(self._study, env=self._file, models_dir=self._study)


def _toml(path: Path) -> dict[str, Any]:
    return tomllib.loads(path.read_text(encoding="utf-8"))


def _dump(document: dict[str, Any]) -> str:
    try:
        text = tomli_w.dumps(_without_none(document))
    except (TypeError, ValueError):  # a text that TOML cannot hold
        return "x"
    return text.replace(f'"{DIGITS}"', "9" * 5000)


def _without_none(value: Any) -> Any:
    """TOML has no null."""
    if isinstance(value, dict):
        return {str(key): _without_none(each) for key, each in value.items() if each is not None}
    return [_without_none(each) for each in value if each is not None] if isinstance(value, list) else value


def _edited(text: str, random: Random) -> str:
    lines = text.split("\n")
    at = random.randrange(len(lines))
    change = random.randrange(5)
    if change == 0:
        lines.insert(at, random.choice([*lines, *_LINES]))
    elif change == 1:
        del lines[at]
    elif change == 2:
        key, equals, _ = lines[at].partition("=")
        lines[at] = f"{key}{equals}{random.choice(VALUES)}"[:9000] if random.random() < 0.9 else "9" * 5000
    else:
        place = random.randrange(len(lines[at]) + 1)
        lines[at] = lines[at][:place] + random.choice(_PIECES) + lines[at][place + change - 3 :]
    return "\n".join(lines)
