"""The checklist over fake servers and a card whose memory is prescribed."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pytest

from layertune.devices.host_watch import HostWatch
from layertune.errors import DeviceError
from layertune.testing import FakeServer
from layertune.verify.checklist_run import ChecklistRun
from layertune.verify.gauge import Gauge
from layertune.verify.record import Check
from layertune.verify.servers import ServerFailed
from layertune.vram.vram_report import VramReport
from played import FITS, LOAD, Card, PlayedServers, fakes, served, stack


def quiet(_words: str) -> None:
    """No one watches."""


TAKES = {"chat": 60, "code": 40}


def run_checklist(
    card: Card | None = None, changed: Mapping[str, FakeServer] | None = None, **changes: Any
) -> tuple[ChecklistRun, PlayedServers]:
    """ChecklistRun it to its end; `changes` are of the servers."""
    card = card or Card(TAKES)
    with served(fakes() | dict(changed or {})) as urls:
        servers = PlayedServers(urls, card, **changes)
        gauge = Gauge(card)
        run = ChecklistRun(stack(), servers, FITS, LOAD, gauge, "", quiet, HostWatch(1), return_s=0.05)
        asyncio.run(run.run())
    return run, servers


def failed(run: ChecklistRun) -> list[Check]:
    return [check for check in run.checks if check.state == "failed"]


def test_a_stack_within_the_budget_passes_every_item() -> None:
    run, servers = run_checklist()
    assert failed(run) == []
    assert len(run.checks) == 10
    assert {check.state for check in run.checks} == {"passed"}
    assert servers.stopped
    assert [phase.name for phase in run.phases] == ["chat alone", "code alone", "side by side", "load test", "soak"]
    memory = run.memory()
    assert memory is not None
    assert memory.after_bytes == {"chat": 60 * 2**20, "code": 100 * 2**20}
    assert (memory.load_peak_bytes, memory.soak_peak_bytes, memory.left_bytes) == (100 * 2**20, 100 * 2**20, 0)


def test_the_load_has_the_given_streams_and_duration() -> None:
    made = {"chat": FakeServer("chat", "/models/Qwen2.5-3B-Instruct-Q4_K_M.gguf", token_s=0.002)}
    run_checklist(changed=made)
    assert made["chat"].most_at_once == LOAD.n_streams
    assert {len(prompt) for prompt in made["chat"].prompts} == {64}
    assert {body["n_predict"] for body in made["chat"].bodies} == {16}
    assert len({tuple(prompt) for prompt in made["chat"].prompts}) == len(made["chat"].prompts)


def test_the_speeds_are_compared_with_the_studys() -> None:
    run, _ = run_checklist()
    rows = [(row.model, row.how, row.study is not None) for row in run.compared]
    assert rows == [
        ("chat", "alone", True),
        ("code", "alone", True),
        ("chat", "together", True),
        ("code", "together", True),
    ]


def test_a_card_in_use_before_the_first_server_fails_and_the_run_goes_on() -> None:
    run, _ = run_checklist(Card(TAKES, before=1200))
    (check,) = failed(run)
    assert check.what == "less than 1 GB of VRAM in use before the first server"
    assert check.evidence == "1200.0 MiB in use, by ledger"


def test_a_server_that_does_not_start_ends_the_run_with_its_last_output() -> None:
    failure = ServerFailed("the server of code ended with exit status 1; its last output: no such file")
    run, servers = run_checklist(fails={"code": failure})
    (check,) = failed(run)
    assert check.what == "code: its server starts"
    assert "its last output: no such file" in check.evidence
    assert run.phases == []
    assert not servers.stopped


def test_out_of_memory_at_a_start_advises_settings_that_fit() -> None:
    failure = ServerFailed("the server of code ended with exit status 1; its last output: x", "unable to allocate RPC0")
    card = Card(TAKES)
    with served(fakes()) as urls:
        servers = PlayedServers(urls, card, fails={"code": failure})
        plan = replace(FITS, advice="lower CODE_N_GPU_LAYERS to 17")
        run = ChecklistRun(stack(), servers, plan, LOAD, Gauge(card), "", quiet, HostWatch(1))
        asyncio.run(run.run())
    (check,) = failed(run)
    assert check.evidence.endswith("out of memory: unable to allocate RPC0")
    assert check.advice == "lower CODE_N_GPU_LAYERS to 17"


def test_a_model_that_takes_more_than_the_budget_fails() -> None:
    run, _ = run_checklist(Card({"chat": 60, "code": 145}))
    first = failed(run)[0]
    assert first.what == "VRAM after code has started"
    assert "5.0 MiB over the budget" in first.evidence


def test_a_server_with_other_settings_fails() -> None:
    other = FakeServer("code", "/models/code.gguf", n_ctx=4096, n_slots=4)
    run, _ = run_checklist(changed={"code": other})
    (check,) = failed(run)
    assert check.what == "code: its server runs the settings"
    assert check.evidence == "a slot's context is 4096, not 1024; slots is 4, not 1"


def test_an_orphan_that_answers_on_the_port_is_not_taken_for_the_started_server() -> None:
    run, _ = run_checklist(changed={"code": FakeServer("code-of-yesterday", "/models/code.gguf")})
    (check,) = failed(run)
    assert "is answered by another server, code-of-yesterday" in check.evidence


def test_failed_requests_fail_the_load_test_with_their_reasons() -> None:
    mishaps = dict.fromkeys(range(11, 13), "error")  # after those of one stream
    run, _ = run_checklist(changed={"code": FakeServer("code", "/models/code.gguf", token_s=0.002, mishaps=mishaps)})
    assert failed(run)
    assert all("2 × code: the server reports: Compute error." in check.evidence for check in failed(run))


def test_a_server_that_ends_in_the_soak_fails_it_at_once() -> None:
    run, servers = run_checklist(dies_after=4)  # two starts, the comparison and the load test looked at it
    (check,) = failed(run)
    assert check.what == "0.3 s of load without out-of-memory"
    assert "the server of chat ended with signal SIGABRT; its last output: ggml_abort" in check.evidence
    assert servers.stopped


def test_memory_that_grows_over_the_soak_fails_it() -> None:
    run, _ = run_checklist(Card(TAKES, grows=5))
    assert any("memory grew" in check.evidence for check in failed(run))


def test_memory_that_is_not_freed_fails() -> None:
    run, _ = run_checklist(Card(TAKES, left=30))
    (check,) = failed(run)
    assert (check.what, check.evidence) == ("all VRAM is back once the servers have ended", "30.0 MiB left")


@dataclass
class Mute(Card):
    """A card that does not answer some of its readings: 0 to 3 are around the starts, 4 and 5 in the soak."""

    silent: Sequence[int] = ()
    n_readings: int = 0

    def read(self) -> int:
        self.n_readings += 1
        if self.n_readings - 1 in self.silent:
            raise DeviceError("the driver does not answer")
        return super().read()


def test_a_single_failed_reading_in_the_soak_is_ignored() -> None:
    run, _ = run_checklist(Mute(TAKES, silent=(4,)))
    assert failed(run) == []
    assert run.phases[-1].name == "soak"


def test_several_failed_readings_in_a_row_fail_and_the_record_is_complete() -> None:
    run, servers = run_checklist(Mute(TAKES, silent=(4, 5)))
    (check,) = failed(run)
    assert (check.what, check.evidence) == (
        "the device reports its memory in the soak",
        "the driver does not answer",
    )
    assert run.phases[-1].name == "soak"
    assert servers.stopped


@pytest.mark.parametrize("silent", [3, 6])  # at a start; when all have ended
def test_a_device_that_stops_answering_fails_and_the_record_is_kept(silent: int) -> None:
    run, _ = run_checklist(Mute(TAKES, silent=range(silent, 99)))
    (check,) = failed(run)
    assert (check.what, check.evidence) == ("the device answers until the end", "the driver does not answer")


def test_a_peak_that_cannot_be_read_does_not_end_the_run() -> None:
    class Peakless(Card):
        n_laps = 0

        def stop(self) -> VramReport:
            self.n_laps += 1
            if self.n_laps == 3:  # the baseline's, the comparison's, the load test's
                raise DeviceError("the driver does not answer")
            return super().stop()

    run, _ = run_checklist(Peakless(TAKES))
    assert [check.what for check in failed(run)] == ["the device reports its memory in the load test"]
    assert run.phases[-1].name == "soak"


def test_a_file_of_another_folder_is_reported_without_the_folders() -> None:
    run, _ = run_checklist(changed={"code": FakeServer("code", "/elsewhere/code.gguf")})
    (check,) = failed(run)
    assert check.evidence == "the file is the code.gguf of another folder"


def test_given_servers_stay_running_and_their_memory_is_not_checked() -> None:
    run, servers = run_checklist(Card({"chat": 60, "code": 145}), were_there=True)  # more than the budget, of whomever
    assert failed(run) == []
    assert [check.what for check in run.checks if check.state == "not checked"] == ["VRAM before, and after each start"]
    assert "chat: file, context and slots are the pick's" in [check.what for check in run.checks]
    assert run.memory() is None
    assert not servers.stopped


def test_without_a_memory_source_the_other_items_are_checked() -> None:
    with served(fakes()) as urls:
        servers = PlayedServers(urls, Card(TAKES))
        run = ChecklistRun(stack(), servers, FITS, LOAD, None, "a CPU has none", quiet, HostWatch(1))
        asyncio.run(run.run())
    assert failed(run) == []
    assert run.memory() is None
    assert run.checks[0].evidence == "a CPU has none"
