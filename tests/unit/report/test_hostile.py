"""Nothing that a result.json says becomes markup."""

from hypothesis import given, settings
from hypothesis import strategies as st

from finished_study import result
from layertune.report import render_report
from layertune.results.result import Result
from report_page import Page

PIECES = (
    "</script><script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "' onclick='alert(1)",
    "<!--",
    "]]></title>",
    "$title ${style}",
    "\ud800",
    "&lt;",
    "\x00\x1b[31m",
)
HOSTILE = st.text(st.characters(), max_size=30) | st.sampled_from(PIECES)
HARMLESS = Page.of(render_report(result()))


@settings(max_examples=60, deadline=None)
@given(file=HOSTILE, name=HOSTILE, words=HOSTILE)
def test_no_name_of_a_file_a_study_or_a_device_becomes_markup(file: str, name: str, words: str) -> None:
    document = result().model_dump()
    document["models"]["chat"]["file"] = file.replace("/", "") + ".gguf"
    document["models"]["chat"]["architecture"] = document["hardware"]["cpu"]["model"] = words
    document["study"]["name"] = document["hardware"]["device"]["name"] = name
    document["stopped"] = words
    document["trials"][1]["warnings"] = [words]
    document["trials"][2]["reason"] = words
    document["baselines"] = {words: {"settings": None, "trial": None, "planned_bytes": None, "note": words}}
    html = render_report(Result.model_validate(document))
    page = Page.of(html.encode().decode())
    assert set(page.tags) <= set(HARMLESS.tags)
    assert {attribute for _, attribute, _ in page.attributes} <= {attribute for _, attribute, _ in HARMLESS.attributes}
    assert page.tags.count("script") == page.tags.count("style") == 1


def test_a_study_s_name_is_shown_as_it_is() -> None:
    document = result().model_dump()
    document["study"]["name"] = "<b>$title</b> & co"
    page = Page.of(render_report(Result.model_validate(document)))
    assert "<b>$title</b> & co" in page.texts
