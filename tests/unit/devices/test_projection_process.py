"""Projections by child processes that answer or die as each test needs."""

from collections.abc import Sequence

import pytest

from layertune.devices import projection_process
from layertune.devices.projection_process import Question, _Output, ask
from layertune.devices.target import Target
from layertune.errors import BuildError
from layertune.memory.placement import TensorInventory
from layertune.memory.projection import Projection
from layertune.settings import EngineSettings
from small_shapes import engine

INVENTORY = TensorInventory({}, 32)
CPU = Target("cpu", "CPU")


class Children:
    """Answer each setting until one of `deadly`, which ends the child; a skeleton's child ends at `deadly_skeleton`."""

    def __init__(self, deadly: Sequence[EngineSettings], deadly_skeleton: Sequence[EngineSettings] = ()) -> None:
        self.deadly, self.deadly_skeleton = deadly, deadly_skeleton
        self.n_asked = 0

    def __call__(self, questions: Sequence[Question]) -> list[_Output]:
        self.n_asked += len(questions)
        return [self._said(question) for question in questions]

    def _said(self, question: Question) -> _Output:
        found: list[Projection | None] = []
        for each in question.settings:
            if each in self.deadly or (not question.whole and each in self.deadly_skeleton):
                return _Output(INVENTORY, tuple(found), "GGML_ASSERT(n_outputs) failed")
            found.append(projected(each))
        return _Output(INVENTORY, tuple(found), None)


def projected(settings: EngineSettings) -> Projection:
    return Projection({"host": settings.n_ctx}, 0, (), {}, flash_attn=True)


def settings(n: int) -> tuple[EngineSettings, ...]:
    return tuple(engine(0, n_ctx=256 * (number + 1)) for number in range(n))


@pytest.mark.parametrize("deadly", [[0], [3], [0, 1], [1, 3], [0, 1, 2, 3]])
def test_a_setting_that_ends_llama_cpp_loses_only_its_own_projection(
    monkeypatch: pytest.MonkeyPatch, deadly: list[int]
) -> None:
    every = settings(4)
    monkeypatch.setattr(projection_process, "_ask", Children([every[index] for index in deadly]))
    (answer,) = ask([Question(CPU, "a.gguf", every)])
    assert answer.inventory == INVENTORY
    assert answer.projections == tuple(None if index in deadly else projected(each) for index, each in enumerate(every))


def test_a_setting_that_fails_with_the_skeleton_is_projected_with_the_whole_file(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    every = settings(4)
    children = Children([], deadly_skeleton=every[2:])
    monkeypatch.setattr(projection_process, "_ask", children)
    (answer,) = ask([Question(CPU, "a.gguf", every)])
    assert answer.projections == tuple(map(projected, every))
    assert children.n_asked == 2


def test_a_model_that_repeatedly_ends_llama_cpp_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    every = settings(100)
    children = Children(every)
    monkeypatch.setattr(projection_process, "_ask", children)
    with pytest.raises(BuildError, match=r"cannot project the memory of a\.gguf: GGML_ASSERT"):
        ask([Question(CPU, "a.gguf", every)])
    assert children.n_asked < 20


def test_a_model_that_does_not_load_is_refused_with_llama_cpps_message(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        projection_process, "_ask", lambda questions: [_Output(None, (), "unknown architecture")] * len(questions)
    )
    with pytest.raises(BuildError, match="unknown architecture"):
        ask([Question(CPU, "a.gguf", settings(1))])
