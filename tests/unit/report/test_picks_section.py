"""The picks and their exports on the page."""

import re
from html import unescape

from finished_study import result
from layertune.export import EXPORTERS, MODELS_DIR
from layertune.report import render_report
from layertune.report.source import distinct_picks


def test_every_format_of_every_pick_is_there_letter_for_letter() -> None:
    texts = {unescape(text) for text in re.findall(r"<pre>(.*?)</pre>", render_report(result()), re.DOTALL)}
    for _, source in distinct_picks(result()):
        for render in EXPORTERS.values():
            assert set(render(result(), source.trial, MODELS_DIR).values()) <= texts


def test_a_name_that_no_format_holds_is_a_sentence_and_no_crash() -> None:
    html = render_report(result(file="it's ${HOME}\\x.gguf"))
    assert "No export: " in html
    assert "rename the model file" in html
