"""File names that mean something to one reader or another."""

from hypothesis import strategies as st

_CHARACTERS = st.sampled_from("'\"\\$`#={}();&|<>~*?!%: \t\n\r\x85\xa0\u2028-ab한") | st.characters(
    codec="utf-8", exclude_characters="/"
)
HOSTILE = st.text(_CHARACTERS, min_size=1).filter(lambda name: name not in (".", ".."))

AWKWARD = (
    "a b.gguf",
    " a.gguf ",
    "it's.gguf",
    'say "a".gguf',
    "'\"'.gguf",
    "back\\slash\\",
    "$HOME.gguf",
    "$$.gguf",
    "${HOME}.gguf",
    "${env.HOME}.gguf",
    "${PORT}.gguf",
    "$(id).gguf",
    "`id`.gguf",
    "%h %% %i.gguf",
    "a\nEVIL=1.gguf",
    "a\r\nb.gguf",
    "# a.gguf",
    "a #b; c.gguf",
    "-m.gguf",
    "--model",
    "한국어 모델.gguf",
    "e\u0301\u202e\xa0\u2028.gguf",
    "\U0001f999\ufffe\ufdd0.gguf",
    "]a=[b]: {c}, *d &e !f |g >h.gguf",
    "~.gguf",
    "NUL\0.gguf",
)
