"""Verification of a study's pick: starts its servers, puts them under load, and checks every claim."""

import asyncio
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path

import layertune
from layertune.devices.emulated.ledger import Ledger
from layertune.devices.host import this_machine
from layertune.devices.host_watch import HostWatch
from layertune.devices.inspection import inspect
from layertune.devices.lease import DeviceLease
from layertune.devices.target import Target
from layertune.errors import UsageError
from layertune.regular_files import is_file
from layertune.study.facts import ignore
from layertune.study.hardware_info import hardware_info
from layertune.study.models_on_device import ModelsOnDevice, models_of
from layertune.study.verified import VerifiedStudy, plan_verdict
from layertune.units import format_bytes
from layertune.verify import checklist
from layertune.verify.checklist_run import ChecklistRun
from layertune.verify.gauge import Gauge
from layertune.verify.programs import Program, check_device, find_program, other_build
from layertune.verify.record import Check, Load, PlanCheck, Subject, Verification
from layertune.verify.servers import GivenServers, OwnServers, Servers
from layertune.verify.stack import Stack, stack_of, unread
from layertune.vram.probe_selection import open_outside_probe


@dataclass(frozen=True, slots=True)
class Request:
    """What is to be verified, and how hard.

    Attributes:
        pick: balanced, lean, a model's name, or a trial's number.
        duration_s: how long the soak lasts.
        n_streams: how many requests each model is sent at once.
        variables: of a `.env`; they replace the pick's settings. Empty without one.
        urls: by model, the servers that run already; if empty, servers are started.
        api_key: the servers' API key; None if they need none.
        server: the program to start; None to look for one.
        notify: called with a sentence about what happens.
    """

    pick: str
    duration_s: float
    n_streams: int
    variables: Mapping[str, str] = field(default_factory=dict)
    urls: Mapping[str, str] = field(default_factory=dict)
    api_key: str | None = None
    server: Path | None = None
    notify: Callable[[str], None] = ignore

    def warn(self, words: str) -> None:
        self.notify(f"warning: {words}")


def verify(study: VerifiedStudy, request: Request) -> Verification:
    """Verify a pick, or what the variables of a `.env` make of it.

    Raises:
        UsageError, ConfigError: the pick or a variable is wrong.
        DeviceError: the study's device is not here.
    """
    for name, load_of in study.result.workload.items():
        if not load_of.n_generate:
            raise UsageError(
                f"{name} is an embedding or reranking model, which verify does not ask yet",
                remedy="start its server from the export, and send it an input of the workload's length",
            )
    for variable in unread(list(study.result.models), request.variables):
        request.warn(f"nothing here reads {variable} of the .env")
    stack = stack_of(study.result, study.result.picked(request.pick), study.folders(), request.variables)
    load = Load(
        request.n_streams,
        request.duration_s,
        {name: (each.n_prompt, each.n_generate) for name, each in study.result.workload.items()},
    )
    checks = checklist.files(stack)
    for model in stack.models.values():
        if not is_file(model.file):
            request.notify(f"there is no {model.file}")  # the record names no folder of this machine
    if any(check.state == "failed" for check in checks):
        return _nothing_started(study, stack, load, checks)
    config = study.config_of(stack)
    models = models_of(config)
    plan = plan_verdict(config, models)
    checks.append(checklist.plan(plan))
    if plan.fits is False:
        return _nothing_started(study, stack, load, checks, plan)
    return _run(study, stack, load, checks, plan, models, request)


def _run(
    study: VerifiedStudy,
    stack: Stack,
    load: Load,
    checks: list[Check],
    plan: PlanCheck,
    models: ModelsOnDevice,
    request: Request,
) -> Verification:
    target = models.target

    def on_wait(owner: str) -> None:
        request.notify(f"waiting for the device: {owner} measures on it")

    program = None if request.urls else find_program(request.server)
    if program is not None and (words := other_build(program, study.result.study.llama_cpp.commit)) is not None:
        request.warn(words)
    with ExitStack() as open_:
        open_.enter_context(DeviceLease(target, warn=request.warn).held(on_wait))
        ledger = None
        if program is not None and target.kind == "emulated":
            ledger = Ledger.create(target.vram_bytes or 0)
            open_.callback(ledger.close)
        servers: Servers = GivenServers(dict(request.urls), request.api_key)
        if program is not None:
            servers = _own(program, target, ledger, request.api_key, open_)
        probe = open_outside_probe(target, None if ledger is None else ledger.descriptor)
        run = ChecklistRun(
            stack,
            servers,
            plan,
            load,
            None if probe is None else Gauge(probe),
            _why_no_memory(target),
            request.notify,
            HostWatch(sum(engine.most_threads for _, engine in stack.settings.items()) + (target.n_threads or 0)),
        )
        started = datetime.now(UTC)
        asyncio.run(run.run())
    return Verification(
        started=f"{started:%Y-%m-%d %H:%M:%S}",
        layertune_version=layertune.__version__,
        subject=_subject(
            study,
            stack,
            _device(study, target),
            "given by --url" if program is None else program.words,
            program,
            run.builds,
        ),
        load=load,
        plan=plan,
        checks=(*checks, *run.checks),
        compared=tuple(run.compared),
        memory=run.memory(),
        phases=tuple(run.phases),
        meanwhile=run.meanwhile,
    )


def _own(program: Program, target: Target, ledger: Ledger | None, api_key: str | None, open_: ExitStack) -> OwnServers:
    # llama-server gets its device as an option; the other takes what llama.cpp sees.
    gpus = inspect().gpus if target.kind == "gpu" or program.dialect == "llama_cpp.server" else ()
    check_device(program, target, len(gpus))
    gpu = gpus[target.gpu_index].name if target.gpu_index is not None else None
    servers = OwnServers(program, target, gpu, ledger, api_key)
    open_.callback(servers.close)
    return servers


def _nothing_started(
    study: VerifiedStudy, stack: Stack, load: Load, checks: list[Check], plan: PlanCheck | None = None
) -> Verification:
    info = study.result.hardware.device
    device = info.name if info.vram_bytes is None else f"{info.name}, {format_bytes(info.vram_bytes)}"
    no_plan = PlanCheck(None, "no plan", None, study.result.budget.capacity_bytes(), dict.fromkeys(stack.models))
    return Verification(
        started=f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S}",
        layertune_version=layertune.__version__,
        subject=_subject(study, stack, device, "none was started", None, {}),
        load=load,
        plan=plan or no_plan,
        checks=tuple(checks),
        compared=(),
        memory=None,
        phases=(),
        meanwhile={},
    )


def _subject(
    study: VerifiedStudy, stack: Stack, device: str, server: str, program: Program | None, builds: dict[str, str]
) -> Subject:
    untaken = [] if program is None else [program.cannot_take(model) for model in stack.models.values()]
    return Subject(
        study=study.result.study.name,
        created=study.result.study.created,
        trial=None if stack.trial is None else stack.trial.number,
        settings=dict(stack.settings.items()),
        device=device,
        emulated=study.result.hardware.device.kind == "emulated",
        server=server,
        builds=builds,
        measured_build=study.result.study.llama_cpp.commit,
        untaken=tuple(dict.fromkeys(chain.from_iterable(untaken))),
    )


def _device(study: VerifiedStudy, target: Target) -> str:
    here, measured = hardware_info(target, this_machine()), study.result.hardware
    size = "" if target.vram_bytes is None else f", {format_bytes(target.vram_bytes)}"
    words = f"{target.name}{size}; {here.cpu.model}"
    if here.fingerprint == measured.fingerprint:
        return words
    return f"{words}; the study was measured elsewhere: {measured.device.name}; {measured.cpu.model}"


def _why_no_memory(target: Target) -> str:
    if target.kind == "cpu":
        return "a CPU has no memory of its own"
    if target.kind == "emulated":
        return "an emulated card counts only what was started with it"
    return "NVML does not answer for this GPU, and ggml's own figures need llama.cpp in this process"
