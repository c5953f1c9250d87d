"""layertune verify: the exported stack started, loaded, soaked and judged."""

import asyncio
import os
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path

import layertune
from layertune.cli.console import printing, say, show, show_json, warn
from layertune.cli.files import check_output, write_output
from layertune.cli.signals import end_as_ctrl_c
from layertune.config.env_file import load_env
from layertune.devices.emulated.ledger import Ledger
from layertune.devices.hardware import this_machine
from layertune.devices.host_watch import HostWatch
from layertune.devices.inspection import inspect
from layertune.devices.lease import DeviceLease
from layertune.devices.target import Target
from layertune.errors import UsageError, VerificationFailed
from layertune.redaction import is_clear, without_password
from layertune.regular_files import is_file, is_folder
from layertune.study.hardware_info import hardware_info
from layertune.study.models_on_device import ModelsOnDevice, models_of
from layertune.study.verified import VerifiedStudy, open_verified, plan_verdict
from layertune.units import format_bytes, parse_duration
from layertune.verify import checklist
from layertune.verify.gauge import Gauge
from layertune.verify.markdown import render_markdown
from layertune.verify.programs import Program, check_device, find_program
from layertune.verify.record import Check, Load, PlanVerdict, Subject, Verification
from layertune.verify.record_json import as_json as record_as_json
from layertune.verify.servers import GivenServers, OwnServers, Servers
from layertune.verify.stack import Stack, stack_of, unread
from layertune.verify.walk import Walk
from layertune.vram.opening import open_outside_probe

API_KEY = "LLAMA_API_KEY"  # llama-server's own


@dataclass(frozen=True, slots=True)
class Options:
    """The options as the user wrote them; `urls` as `NAME=URL`. `api_key_env` names the environment variable that has
    the servers' API key."""

    env: Path | None
    duration: str
    n_streams: int
    urls: Sequence[str]
    pick: str
    server: Path | None
    models_dir: Path | None
    api_key_env: str | None = None


def run(study: Path | None, options: Options, *, output: Path | None, as_json: bool) -> None:
    if output is not None and not is_folder(output.absolute().parent):
        # Known before the soak, not after it.
        raise UsageError(f"there is no folder {output.parent} for the record", remedy="make it, or choose another -o")
    opened = _study(study, options)
    reads = [*(path for path in (study, options.env) if path is not None), *opened.files()]
    if output is not None:
        check_output(output, reads=reads)
    end_as_ctrl_c()
    found = verify(opened, options)
    text = render_markdown(found)
    with printing():
        if as_json:
            show_json(record_as_json(found), indent=None)
        else:
            show(*text.removesuffix("\n").split("\n"), wrap=False)
    if output is not None:
        write_output(output, text, reads=reads)
        say(f"wrote {output}")
    if not found.passed:
        raise _failed(found.failed())


def verify(study: VerifiedStudy, options: Options) -> Verification:
    """Verify a pick, or what a `.env` makes of it.

    Raises:
        UsageError, ConfigError: an option or the `.env` is wrong.
        DeviceError: the study's device is not here.
    """
    duration_s, urls = _duration_s(options.duration), _urls(options.urls, list(study.result.models))
    api_key = api_key_of(options.api_key_env)
    variables = {} if options.env is None else load_env(options.env)
    for variable in unread(list(study.result.models), variables):
        warn(f"nothing here reads {variable} of {options.env}")
    stack = stack_of(study.result, study.result.picked(options.pick), study.folders(), variables)
    pressure = Load(
        options.n_streams,
        duration_s,
        {name: (each.n_prompt, each.n_generate) for name, each in study.result.workload.items()},
    )
    checks = checklist.files(stack)
    for model in stack.models.values():
        if not is_file(model.file):
            say(f"there is no {model.file}")  # the record names no folder of this machine
    if any(check.state == "failed" for check in checks):
        return _nothing_started(study, stack, pressure, checks)
    config = study.config_of(stack)
    models = models_of(config)
    plan = plan_verdict(config, models)
    checks.append(checklist.plan(plan))
    if plan.fits is False:
        return _nothing_started(study, stack, pressure, checks, plan)
    return _walk(study, stack, pressure, checks, plan, models, urls, api_key, options.server)


def _walk(
    study: VerifiedStudy,
    stack: Stack,
    pressure: Load,
    checks: list[Check],
    plan: PlanVerdict,
    models: ModelsOnDevice,
    urls: dict[str, str],
    api_key: str | None,
    server: Path | None,
) -> Verification:
    target = models.target
    program = None if urls else find_program(server)
    with ExitStack() as open_:
        open_.enter_context(DeviceLease(target, warn=warn).held(_say_wait))
        ledger = None
        if program is not None and target.kind == "emulated":
            ledger = Ledger.create(target.vram_bytes or 0)
            open_.callback(ledger.close)
        servers: Servers = GivenServers(urls, api_key)
        if program is not None:
            servers = _own(program, target, ledger, api_key, open_)
        probe = open_outside_probe(target, None if ledger is None else ledger.descriptor)
        walk = Walk(
            stack,
            servers,
            plan,
            pressure,
            None if probe is None else Gauge(probe),
            _why_no_memory(target),
            say,
            HostWatch(sum(engine.n_threads for _, engine in stack.settings.items()) + (target.n_threads or 0)),
        )
        started = datetime.now(UTC)
        asyncio.run(walk.run())
    return Verification(
        started=f"{started:%Y-%m-%d %H:%M:%S}",
        layertune_version=layertune.__version__,
        subject=_subject(
            study,
            stack,
            _device(study, target),
            "given by --url" if program is None else program.words,
            program,
            walk.builds,
        ),
        load=pressure,
        plan=plan,
        checks=(*checks, *walk.checks),
        compared=tuple(walk.compared),
        memory=walk.memory(),
        phases=tuple(walk.phases),
        meanwhile=walk.meanwhile,
    )


def _own(program: Program, target: Target, ledger: Ledger | None, api_key: str | None, open_: ExitStack) -> OwnServers:
    # llama-server is told its device; the other takes what llama.cpp sees.
    gpus = inspect().gpus if target.kind == "gpu" or program.dialect == "llama_cpp.server" else ()
    check_device(program, target, len(gpus))
    gpu = gpus[target.gpu_index].name if target.gpu_index is not None else None
    servers = OwnServers(program, target, gpu, ledger, api_key)
    open_.callback(servers.close)
    return servers


def _nothing_started(
    study: VerifiedStudy, stack: Stack, pressure: Load, checks: list[Check], plan: PlanVerdict | None = None
) -> Verification:
    info = study.result.hardware.device
    device = info.name if info.vram_bytes is None else f"{info.name}, {format_bytes(info.vram_bytes)}"
    nobody = PlanVerdict(None, "no plan", None, study.result.budget.capacity_bytes(), dict.fromkeys(stack.models))
    return Verification(
        started=f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S}",
        layertune_version=layertune.__version__,
        subject=_subject(study, stack, device, "none was started", None, {}),
        load=pressure,
        plan=plan or nobody,
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


def _say_wait(owner: str) -> None:
    say(f"waiting for the device: {owner} measures on it")


def _why_no_memory(target: Target) -> str:
    if target.kind == "cpu":
        return "a CPU has no memory of its own"
    if target.kind == "emulated":
        return "an emulated card counts only what was started with it"
    return "NVML does not answer for this GPU, and ggml's own figures need llama.cpp in this process"


def _study(study: Path | None, options: Options) -> VerifiedStudy:
    if study is None and options.env is None:
        raise UsageError("nothing is given to verify", remedy="give STUDY, or --env FILE of a study's folder")
    folder = study if study is not None else options.env.parent if options.env is not None else Path()
    return open_verified(folder, options.models_dir)


def _urls(written: Sequence[str], names: list[str]) -> dict[str, str]:
    urls = {}
    for option in written:
        name, equals, url = option.partition("=")
        like = "write it like " + ", ".join(f"--url {each}=http://127.0.0.1:8001" for each in names)
        if not equals or name not in names or not url.startswith(("http://", "https://")):
            shown = f"{name}{equals}{without_password(url)}" if equals else without_password(option)
            raise UsageError(f"--url {shown} is no NAME=URL of this study", remedy=like)
        if not is_clear(url) or "?" in url:
            raise UsageError(
                f"--url {name}={without_password(url)} is no address of a server",
                remedy=f"{like}, and an @, / or : of a password as %40, %2F or %3A",
            )
        if name in urls:
            raise UsageError(f"--url {name} is given twice", remedy="leave one of them out")
        urls[name] = url
    if urls and set(urls) != set(names):
        lacking = ", ".join(name for name in names if name not in urls)
        raise UsageError(f"there is no --url for {lacking}", remedy="give one for every model, or none")
    return urls


def api_key_of(variable: str | None) -> str | None:
    """Return the API key that this variable of the environment has, or LLAMA_API_KEY without one; None: no key.

    Raises:
        UsageError: the variable is not there, or no header can hold its value.
    """
    # Neither is repeated: somebody may give the key itself for the name.
    key = os.environ.get(variable or API_KEY, "").split(",")[0].strip()
    if variable is not None and not key:
        raise UsageError("--api-key-env names no variable of the environment", remedy=f"export it, or use {API_KEY}")
    if not key.isascii() or not key.isprintable() or " " in key:
        raise UsageError("the API key has a character that no key has", remedy="check the variable that holds it")
    return key or None


def _duration_s(written: str) -> float:
    try:
        duration_s = parse_duration(written)
    except ValueError as error:
        raise UsageError(f"--duration: {error}") from error
    if duration_s == 0:
        raise UsageError("--duration 0 is no soak", remedy="write it like 30m or 90s")
    return duration_s


def _failed(checks: Sequence[Check]) -> VerificationFailed:
    first = checks[0]
    more = f" (and {len(checks) - 1} more)" if len(checks) > 1 else ""
    return VerificationFailed(f"verification failed: {first.what}: {first.evidence}{more}", remedy=first.advice)
