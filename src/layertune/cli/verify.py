"""layertune verify: the exported stack started, loaded, soaked and judged."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from layertune.cli.console import printing, say, show, show_json
from layertune.cli.signals import end_as_ctrl_c
from layertune.config.env_file import load_env
from layertune.errors import UsageError, VerificationFailed
from layertune.regular_files import is_folder
from layertune.study.outputs import check_output, write_output
from layertune.study.server_access import api_key_of, urls_of
from layertune.study.verification import Request, verify
from layertune.study.verified import VerifiedStudy, open_verified
from layertune.units import parse_duration
from layertune.verify.markdown import render_markdown
from layertune.verify.record import Check
from layertune.verify.record_json import as_json as record_as_json


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
    requested = _request(opened, options)
    end_as_ctrl_c()
    found = verify(opened, requested)
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


def _request(study: VerifiedStudy, options: Options) -> Request:
    return Request(
        options.pick,
        _duration_s(options.duration),
        options.n_streams,
        {} if options.env is None else load_env(options.env),
        urls_of(options.urls, list(study.result.models)),
        api_key_of(options.api_key_env),
        options.server,
        say,
    )


def _study(study: Path | None, options: Options) -> VerifiedStudy:
    if study is None and options.env is None:
        raise UsageError("nothing is given to verify", remedy="give STUDY, or --env FILE of a study's folder")
    folder = study if study is not None else options.env.parent if options.env is not None else Path()
    return open_verified(folder, options.models_dir)


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
