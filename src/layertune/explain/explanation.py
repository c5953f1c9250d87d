"""The explanation of one pick: measured, planned and modelled steps, the most useful first."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from layertune.explain.changes import measured_memory, planned_memory, recorded_memory
from layertune.explain.file_steps import FileStep, file_steps
from layertune.explain.line import Change, Line, Memory, Over, gives, ordered
from layertune.explain.measured import measured_change, measured_steps
from layertune.explain.modelled import ModelledSpeeds
from layertune.explain.steps import NoStep, Step, canonical_engine, linked_settings, steps, value
from layertune.memory import EngineMemory
from layertune.results.result import Result, TrialInfo
from layertune.settings import EngineSettings

_NOT_MEASURED = "not recorded"
_NO_PLAN = "no recorded plan"
_REFUSED = "llama.cpp cannot create a context with it"


@dataclass(frozen=True, slots=True)
class Explanation:
    """All steps of a trial in order, the steps that are not possible, and the next files.

    `on_device` is true if device memory is the scarce one, false if host memory is.
    """

    trial: int
    on_device: bool
    lines: tuple[Line, ...]
    no_steps: tuple[NoStep, ...]
    files: tuple[FileStep, ...] = ()


def explain(result: Result, pick: TrialInfo, memory: Mapping[str, EngineMemory]) -> Explanation:
    """Return the effect of one step of every setting of a measured trial, and of larger steps that trials measured.

    Args:
        result: the study's result.
        pick: the trial to explain.
        memory: computes plans that the result does not have, by model; models may be missing.
    """
    on_device = result.hardware.device.kind != "cpu"
    files = tuple(file_steps(result, pick))
    result = result.with_files_of(pick)
    lines: list[Line] = []
    no_steps: list[NoStep] = []
    for model in result.models:
        engine = canonical_engine(result, pick, model)
        found = list(steps(result, model, engine))
        wanted = [each for each in found if isinstance(each, Step)]
        no_steps += [each for each in found if isinstance(each, NoStep)]
        make = _Lines(result, pick, model, engine, on_device=on_device)
        lines += make.measured()
        lines += make.others(wanted, memory.get(model))
    return Explanation(pick.number, on_device, tuple(ordered(lines, on_device=on_device)), tuple(no_steps), files)


def engines_to_plan(result: Result, picks: Sequence[TrialInfo]) -> dict[str, list[EngineSettings]]:
    """Return the settings that `explain` would plan, by model: steps without a recorded plan, and where they start."""
    wanted: dict[str, list[EngineSettings]] = {name: [] for name in result.models}
    for pick in picks:
        of_files = result.with_files_of(pick)
        for model in of_files.models:
            engine = canonical_engine(of_files, pick, model)
            for step in steps(of_files, model, engine):
                if isinstance(step, Step) and recorded_memory(of_files, model, engine, step.engine) is None:
                    wanted[model] += [engine, step.engine]
    return {name: list(dict.fromkeys(engines)) for name, engines in wanted.items()}


class _Lines:
    """The lines of one model of a pick."""

    def __init__(self, result: Result, pick: TrialInfo, model: str, engine: EngineSettings, *, on_device: bool) -> None:
        self._result = result
        self._pick = pick
        self._model = model
        self._engine = engine
        self._on_device = on_device
        self._measured = list(measured_steps(result, pick, model))

    def measured(self) -> Iterator[Line]:
        for step, trial in self._measured:
            speed = measured_change(self._pick, trial, self._model)
            memory = measured_memory(self._pick, trial, self._model)
            yield self._line(step, speed, _NOT_MEASURED, memory, _NOT_MEASURED)

    def others(self, wanted: Sequence[Step], memory: EngineMemory | None) -> Iterator[Line]:
        left = [step for step in wanted if all(step != each for each, _ in self._measured)]
        speeds = ModelledSpeeds(self._result, self._model, [self._engine, *(step.engine for step in left)])
        for step in left:
            why = speeds.missing(self._engine, step.engine)
            change = speeds.change(self._engine, step.engine) if why is None else None
            planned, no_bytes = recorded_memory(self._result, self._model, self._engine, step.engine), _NO_PLAN
            if planned is None and memory is not None:
                planned, no_bytes = planned_memory(memory, self._engine, step.engine), _REFUSED
            yield self._line(step, change, why, planned, no_bytes)

    def _line(
        self, step: Step, speed: Change | None, no_speed: str | None, memory: Memory | None, no_memory: str
    ) -> Line:
        freed_bytes = None if memory is None else -memory.device_bytes if self._on_device else -memory.host_bytes
        return Line(
            model=self._model,
            knob=step.knob,
            before=value(self._engine, step.knob),
            to=step.to,
            along=tuple(linked_settings(self._engine, step)),
            speed=speed,
            no_speed=no_speed if speed is None else None,
            memory=memory,
            no_memory=no_memory if memory is None else None,
            over=None if memory is None else self._over(memory),
            gives=gives(speed, freed_bytes),
        )

    def _over(self, memory: Memory) -> Over | None:
        """Compare the change with the headroom that the pick leaves of each limit of the study (space/limits.py).

        Of several devices only the headroom of the fullest one is recorded, and the change may be on another one.
        """
        excess = self._pick.violations
        on_device, on_host = excess.get("vram"), excess.get(f"ram.{self._model}")
        if self._result.budget.devices is not None:
            on_device = None
        if on_device is not None and memory.device_bytes > 0 and on_device + memory.device_bytes > 0:
            return Over(round(on_device) + memory.device_bytes, "the budget")
        if on_host is not None and memory.host_bytes > 0 and on_host + memory.host_bytes > 0:
            return Over(round(on_host) + memory.host_bytes, "the model's RAM limit")
        return None
