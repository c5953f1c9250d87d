"""What differs between a study of one machine and a study that several machines work on.

A study in a folder's journal has one machine: `Alone`. In a database several machines may write the same study, each
with a study folder of its own: `Fleet`.
"""

import re
import time
import uuid
from collections.abc import Collection
from pathlib import Path
from typing import Protocol

from optuna.storages import BaseStorage, JournalStorage
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from layertune.errors import StorageError, StudyMismatch
from layertune.results.result import Result
from layertune.search.folder import OWNER_NAME
from layertune.search.storage import RESULT
from layertune.search.stored_trials import OUTCOME_KEY, OWNER, read_settings
from layertune.settings import SplitSettings
from layertune.written_files import write_text

_OWNER = re.compile(rb"[0-9a-f]{32}")

# A machine stores what a trial runs within milliseconds of asking for it, unless it is killed in between.
_PATIENCE_S = 2.0
_POLL_S = 0.05

# A machine stores its name with a trial once its sampler has proposed something, which takes seconds at most.
_UNCLAIMED_FOR_S = 300.0


class Sharing(Protocol):
    """How the machines of a study share its trials.

    Attributes:
        owner: marks the trials of this study folder.
        mark: precedes the names of this machine's own attributes of the study: rounds of the finals, and references.
    """

    owner: str
    mark: str

    def check_name(self, name: str, stored: Collection[str]) -> None:
        """Check that the storage, which has the studies `stored`, may have one of this name.

        Raises:
            StudyMismatch: it may not.
        """

    def is_ours(self, running: FrozenTrial) -> bool:
        """Say whether a running trial was left behind by an earlier process of this study folder."""

    def duplicate(self, study: Study, number: int, settings: SplitSettings) -> int | None:
        """Return an earlier trial that runs these settings, or has run them, on another machine; None without one."""

    def abandoned(self, study: Study) -> list[int]:
        """Return the running trials whose machine was killed before it could store its name with them."""

    def publish(self, study: Study, result: Result) -> None:
        """Store the result with the study, if the storage is all that other machines can read."""


class Alone:
    """The study of one machine, in its folder's journal. The study lock keeps every other process out."""

    mark = ""

    def __init__(self, owner: str) -> None:
        self.owner = owner

    def check_name(self, name: str, stored: Collection[str]) -> None:
        # A second study in the journal could not be found by the folder's config.
        if stored and name not in stored:
            raise StudyMismatch(
                f"the study in this folder is called {next(iter(stored))}, and the config says {name}",
                remedy="use the same name, or start another study with --study DIR",
            )

    def is_ours(self, running: FrozenTrial) -> bool:
        return True  # also if it has no owner yet, as between its ask and its first attribute

    def duplicate(self, study: Study, number: int, settings: SplitSettings) -> int | None:
        return None

    def abandoned(self, study: Study) -> list[int]:
        return []

    def publish(self, study: Study, result: Result) -> None:
        """Do nothing: result.json is in the same folder as the journal."""


class Fleet:
    """A study in a database that several machines write at the same time."""

    def __init__(self, owner: str) -> None:
        self.owner = owner
        # Rounds and references compare settings within the same minutes of one machine, so each machine has its own.
        self.mark = f"{owner} "
        self._silent: set[int] = set()  # trials whose settings were waited for in vain
        self._seen_s: dict[int, float] = {}  # when a trial without an owner was first seen

    def check_name(self, name: str, stored: Collection[str]) -> None:
        """Accept every name: a database may have many studies."""

    def is_ours(self, running: FrozenTrial) -> bool:
        return bool(running.user_attrs.get(OWNER) == self.owner)

    def duplicate(self, study: Study, number: int, settings: SplitSettings) -> int | None:
        """See `Sharing.duplicate`.

        Two machines that ask in the same moment may get the same proposal, since it follows from the same trials. The
        earlier of two such trials runs. This trial's settings are stored by now; if an earlier trial's settings are
        not, they are waited for.
        """
        started_s = time.monotonic()
        while True:
            earlier = [each for each in study.get_trials(deepcopy=False) if each.number < number]
            for each in earlier:
                runs = each.state == TrialState.RUNNING or OUTCOME_KEY in each.user_attrs
                if runs and read_settings(each) == settings:
                    return each.number
            running = [each for each in earlier if each.state == TrialState.RUNNING and each.number not in self._silent]
            undecided = {each.number for each in running if read_settings(each) is None}
            if not undecided:
                return None
            if time.monotonic() - started_s > _PATIENCE_S:
                self._silent |= undecided
            time.sleep(_POLL_S)

    def abandoned(self, study: Study) -> list[int]:
        """Return the running trials that this process has seen without an owner for five minutes.

        Their age is counted by this process's own clock, from when it first saw them. The times in the storage cannot
        be used: each is the local time of the machine that wrote it, without a zone, and its clock may be wrong.
        """
        now_s = time.monotonic()
        running = study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
        unclaimed = [each.number for each in running if OWNER not in each.user_attrs]
        self._seen_s = {number: self._seen_s.get(number, now_s) for number in unclaimed}
        return [number for number, seen_s in self._seen_s.items() if now_s - seen_s > _UNCLAIMED_FOR_S]

    def publish(self, study: Study, result: Result) -> None:
        study.set_user_attr(RESULT, result.model_dump(mode="json"))


def sharing_of(storage: BaseStorage, folder: Path) -> Sharing:
    """Return how the study in this storage is shared.

    Raises:
        StorageError: the folder's owner file is damaged.
        OSError: the owner file cannot be read or written.
    """
    owner = read_owner(folder)
    return Alone(owner) if isinstance(storage, JournalStorage) else Fleet(owner)


def read_owner(folder: Path) -> str:
    """Return the mark of this folder's trials; it is made at the first call and kept in a file.

    Raises:
        StorageError: the folder has another file of that name.
        OSError: the file cannot be read or written.
    """
    file = folder / OWNER_NAME
    try:
        written = file.read_bytes().strip(b"\0\n")  # a power cut leaves a file empty or full of zeros
    except FileNotFoundError:
        written = b""
    if not written:
        owner = uuid.uuid4().hex
        write_text(file, owner)
        return owner
    if not _OWNER.fullmatch(written):
        raise StorageError(f"{file} does not name a study's owner", remedy="choose another folder with --study DIR")
    return written.decode()
