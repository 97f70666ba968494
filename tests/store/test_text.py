import os

from hypothesis import given
from hypothesis import strategies as st

from featx.store._format import LONGEST_REASON
from featx.store._text import check_names, clean_reason, decode, encode

# What os.fsdecode can return for any bytes a file can be called.
file_names = st.binary(max_size=40).map(lambda raw: os.fsdecode(raw.replace(b"\0", b"")))


@given(st.lists(file_names))
def test_every_file_name_survives(names):
    check_names("names", names, unique=False)
    assert decode(encode(names)) == tuple(names)


def test_spaces_at_the_end_and_empty_names_survive():
    names = ("", " ", "a  ", "\t\n", "e\u0301", "\u00e9", "\u202egpj.exe", "=cmd()", "[/b]", "🐈")
    assert decode(encode(names)) == names
    assert encode(()).dtype.itemsize == 1


@given(st.text(st.characters(categories=None), max_size=50))
def test_a_reason_can_always_be_stored(reason):
    cleaned = clean_reason(reason)
    check_names("reasons", [cleaned], unique=False)
    assert decode(encode([cleaned])) == (cleaned,)


def test_reasons_are_kept_where_they_can_be():
    assert clean_reason("broken: caf\udce9.jpg") == "broken: caf\udce9.jpg"
    assert clean_reason("a\0b\ud800") == "a\\x00b\\ud800"
    assert len(clean_reason("x" * 5000)) == LONGEST_REASON
