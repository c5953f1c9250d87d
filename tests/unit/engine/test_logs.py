import io
from collections.abc import Callable

from layertune.engine.logs import CONTINUED, DEBUG, ERROR, INFO, LogCapture


class FakeLibrary:
    """Stands where llama_cpp stands for a log capture: it hands out messages as llama.cpp would."""

    def __init__(self) -> None:
        self.say: Callable[[int, bytes, None], None]

    def llama_log_callback(self, receive: Callable[[int, bytes, None], None]) -> Callable[[int, bytes, None], None]:
        return receive

    def llama_log_set(self, callback: Callable[[int, bytes, None], None], _user_data: None) -> None:
        self.say = callback


def captured(*messages: tuple[int, str]) -> LogCapture:
    log, library = LogCapture(), FakeLibrary()
    log.install(library)
    for level, text in messages:
        library.say(level, text.encode(), None)
    return log


def test_continued_lines_are_joined_and_debug_lines_left_out() -> None:
    log = captured((INFO, "loading ."), (CONTINUED, "."), (CONTINUED, ".\n"), (DEBUG, "noise\n"), (INFO, "done\n"))
    assert log.since(0) == ["loading ...", "done"]


def test_only_lines_after_the_mark_are_returned() -> None:
    log, library = LogCapture(), FakeLibrary()
    log.install(library)
    library.say(INFO, b"before\n", None)
    mark = log.mark()
    library.say(ERROR, b" failed to allocate\n", None)
    library.say(ERROR, b"failed to load\n", None)
    assert log.since(mark) == [" failed to allocate", "failed to load"]
    assert log.first_error_since(mark) == "failed to allocate"
    assert log.first_error_since(log.mark()) is None


def test_a_long_log_keeps_its_end() -> None:
    log = captured(*((INFO, f"line {number}\n") for number in range(10_000)))
    assert log.tail(2) == ["line 9998", "line 9999"]
    assert log.since(0)[-1] == "line 9999"


def test_lines_are_echoed_so_that_they_outlive_the_process() -> None:
    log, library, echo = LogCapture(), FakeLibrary(), io.StringIO()
    log.install(library)
    log.copy_to(echo)
    library.say(INFO, b"half", None)
    library.say(CONTINUED, b" line\n", None)
    assert echo.getvalue() == "half line\n"


def test_text_that_is_not_utf8_is_decoded_with_replacements() -> None:
    log, library = LogCapture(), FakeLibrary()
    log.install(library)
    library.say(INFO, b"\xff\xfe name\n", None)
    assert log.since(0) == ["�� name"]
