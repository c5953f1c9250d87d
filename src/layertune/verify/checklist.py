"""The items of the checklist: each function makes one `Check` with its evidence and, if it failed, how to fix it."""

from collections.abc import Mapping, Sequence

from layertune.errors import DeviceError
from layertune.models import file_sha256
from layertune.models.shape import part_files
from layertune.regular_files import is_file
from layertune.units import format_bytes, format_duration
from layertune.verify.client import ServerInfo
from layertune.verify.gauge import Drift
from layertune.verify.record import Check, PlanCheck
from layertune.verify.requests import Phase
from layertune.verify.servers import ServerFailed
from layertune.verify.stack import ServedModel, Stack

# The case study's checklist asks for "< 1GB" in use before the first server.
_BEFORE_BYTES = 10**9

_N_WHYS = 3
_LESS = "lower a model's n_gpu_layers, or keep a larger budget.margin"


def files(stack: Stack) -> list[Check]:
    """Check that every model file exists and is the one that the study measured."""
    return [_file(model) for model in stack.models.values()]


def _file(model: ServedModel) -> Check:
    what = f"{model.name}: the model file is here"
    size_bytes = 0
    for file, sha256 in zip(part_files(model.file), model.sha256, strict=False):
        if not is_file(file):
            evidence = f"there is no file {file.name} in the folder of the study's models"
            return Check(what, "failed", evidence, "put it there, or give its folder: --models-dir")
        if file_sha256(file) != sha256:
            advice = "serve the measured file, or search again with this one"
            return Check(what, "failed", f"{file.name} is not the file that the study measured (sha256)", advice)
        size_bytes += file.stat().st_size
    return Check(what, "passed", f"{model.file.name}, {format_bytes(size_bytes)}, same sha256 as in the study")


def plan(verdict: PlanCheck) -> Check:
    what = "the planned memory fits the budget"
    if verdict.fits is None:
        return Check(what, "not checked", verdict.words)
    return Check(what, "passed" if verdict.fits else "failed", verdict.words, verdict.advice)


def before(n_bytes: int, source: str) -> Check:
    what = "less than 1 GB of VRAM in use before the first server"
    evidence = f"{format_bytes(n_bytes)} in use, by {source}"
    if n_bytes < _BEFORE_BYTES:
        return Check(what, "passed", evidence)
    return Check(what, "failed", evidence, "end the programs that hold it; nvidia-smi names them")


def applied(model: ServedModel, about: ServerInfo, *, given: bool) -> Check:
    """Compare the file, context and slots that a server reports with the pick's.

    The other flags of a `given` server are not reported, so they are not checked.
    """
    what = f"{model.name}: " + ("file, context and slots are the pick's" if given else "its server runs the settings")
    if about.n_ctx is None or about.file is None:
        return Check(what, "not checked", "this server does not report its settings")
    engine = model.settings.canonical(model.n_layer)
    wanted = {
        "the file": (_file_name(about.file), model.file.name),
        "a slot's context": (about.n_ctx, engine.n_ctx_slot),
        "slots": (about.n_slots, engine.n_parallel),
    }
    wrong = [f"{key} is {there}, not {here}" for key, (there, here) in wanted.items() if str(there) != str(here)]
    if not wrong and not given and about.file != str(model.file):
        wrong = [f"the file is the {model.file.name} of another folder"]
    if wrong:
        return Check(what, "failed", "; ".join(wrong), "start it from the export: layertune export")
    return Check(
        what, "passed", f"{model.file.name}, slots: {about.n_slots}, of {about.n_ctx} tokens each, as it reports"
    )


def not_started(model: ServedModel, failure: ServerFailed, advice: str | None) -> Check:
    what = f"{model.name}: its server starts"
    if failure.out_of_memory is None:
        return Check(what, "failed", str(failure), "fix what it reports, then verify again")
    return Check(what, "failed", f"{failure}; out of memory: {failure.out_of_memory}", advice or _LESS)


def after_start(model: str, held_bytes: int, taken_bytes: int, verdict: PlanCheck) -> Check:
    what = f"VRAM after {model} has started"
    planned = verdict.device_bytes.get(model)
    of_plan = "" if planned is None else f", {format_bytes(planned)} planned"
    evidence = f"{format_bytes(held_bytes)} in use{_of(verdict)}, {format_bytes(taken_bytes)} by {model}{of_plan}"
    return _within(what, held_bytes, verdict, evidence)


def no_memory(why: str) -> Check:
    return Check("VRAM before, and after each start", "not checked", why)


def inferred_at_once(questions: Mapping[str, str], answers: Sequence[str | BaseException]) -> Check:
    what = "all models answer at the same time"
    wrong = [
        f"{name}: {answer}"
        for name, answer in zip(questions, answers, strict=True)
        if isinstance(answer, BaseException)
    ]
    if wrong:
        return Check(what, "failed", "; ".join(wrong))
    asked = ", ".join(f"{name} was asked “{question}”" for name, question in questions.items())
    return Check(what, "passed", f"{asked}; all answered")


def answered(
    what: str, phases: Sequence[Phase], peak_bytes: int | None, verdict: PlanCheck, ended: ServerFailed | None
) -> Check:
    """Check that every request was answered, that memory stayed within the budget, and that no server ended."""
    whys = _whys(phases)
    n_all = sum(len(outcomes) for phase in phases for outcomes in phase.outcomes.values())
    n_failed = sum(whys.values())
    n_reused = sum(phase.stats(name).n_reused for phase in phases for name in phase.outcomes)
    evidence = (
        f"{n_all - n_failed} of {n_all} requests answered in {format_duration(sum(each.wall_s for each in phases))}"
    )
    if n_reused:
        evidence += f"; {n_reused} prompt tokens were reused"
    if peak_bytes is not None:
        evidence += f"; peak VRAM {format_bytes(peak_bytes)}{_of(verdict)}"
    if whys:
        evidence += "; failed: " + "; ".join(f"{n} × {why}" for why, n in list(whys.items())[:_N_WHYS])
    if ended is not None:
        return Check(what, "failed", f"{ended}; {evidence}", _LESS if ended.out_of_memory else None)
    if n_failed or n_all == 0:
        return Check(what, "failed", evidence)
    return _within(what, peak_bytes, verdict, evidence)


def steady(check: Check, drift: Drift | None) -> Check:
    """Add to the soak's `check` whether the memory grew during the soak."""
    if drift is None:
        return check
    moved = f"drift {'+' if drift.moved_bytes >= 0 else '−'}{format_bytes(abs(drift.moved_bytes))}"
    evidence = f"{check.evidence}, {moved} over {drift.n_readings} readings"
    if check.state == "passed" and drift.noticed:
        advice = "look for a server that leaks, or for another program on the device: nvidia-smi"
        return Check(check.what, "failed", f"{evidence}: memory grew", advice)
    return Check(check.what, check.state, evidence, check.advice)


def unread(phase: str, error: DeviceError) -> Check:
    """Return the failed check of a phase in which the device did not report its memory."""
    return Check(f"the device reports its memory in the {phase}", "failed", str(error), "look at it with: nvidia-smi")


def silent(error: DeviceError) -> Check:
    """Return the failed check of a device that stopped answering; the remaining items are not checked."""
    return Check("the device answers until the end", "failed", str(error), "look at it, then verify again")


def returned(left_bytes: int, *, is_back: bool) -> Check:
    what, evidence = "all VRAM is back once the servers have ended", f"{format_bytes(left_bytes)} left"
    if is_back:
        return Check(what, "passed", evidence)
    return Check(what, "failed", evidence, "find the program that holds it: nvidia-smi")


def _within(what: str, n_bytes: int | None, verdict: PlanCheck, evidence: str) -> Check:
    capacity_bytes = verdict.capacity_bytes
    if n_bytes is None or capacity_bytes is None or n_bytes <= capacity_bytes:
        return Check(what, "passed", evidence)
    return Check(what, "failed", f"{evidence}: {format_bytes(n_bytes - capacity_bytes)} over the budget", _LESS)


def _file_name(path: str) -> str:
    return path.rpartition("/")[2]


def _of(verdict: PlanCheck) -> str:
    return "" if verdict.capacity_bytes is None else f" of {format_bytes(verdict.capacity_bytes)}"


def _whys(phases: Sequence[Phase]) -> Mapping[str, int]:
    found: dict[str, int] = {}
    for phase in phases:
        for why, n in phase.failures().items():
            found[why] = found.get(why, 0) + n
    return found
