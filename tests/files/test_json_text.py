"""JSON that is sealed comes back as JSON has it; whatever is none, or was changed, is one kind of error."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kerasticket.files import json_text

pytestmark = pytest.mark.same_on_every_backend
LEAVES = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
KEYS = st.text(max_size=3)  # so never "digest"
VALUES = LEAVES | st.lists(LEAVES, max_size=3) | st.dictionaries(KEYS, st.lists(LEAVES, max_size=2), max_size=3)
CONTENTS = st.dictionaries(KEYS, VALUES, max_size=4)


@settings(max_examples=25, deadline=None)
@given(CONTENTS)
def test_a_seal_is_told_from_the_text_in_any_order_of_keys(content):
    sealed = json_text.sealed(content)
    again = json_text.loads(json.dumps(dict(reversed(sealed.items()))).encode())
    assert json_text.unsealed(again) == json.loads(json.dumps(content))


@settings(max_examples=25, deadline=None)
@given(CONTENTS, st.integers())
def test_a_field_more_is_told(content, value):
    with pytest.raises(ValueError, match="it was changed after it was written"):
        json_text.unsealed(json_text.sealed(content) | {"another field": value})


def test_tuples_and_whole_keys_are_sealed_as_json_has_them():
    sealed = json_text.sealed({"seeds": (1, 2), 3: "a"})
    assert json_text.unsealed(sealed) == {"seeds": [1, 2], "3": "a"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"a": 1, "a": 2}', "damaged JSON: a key that is there twice"),
        (b"\xff", "damaged JSON"),
        ("{", "damaged JSON"),
        ("", "damaged JSON"),
        ("[" * 10**5, "nested too deeply"),
        (b" " * (json_text.MOST + 1), "JSON of 33,554,433 bytes, more than 33,554,432"),
    ],
)
def test_what_is_no_json_is_one_kind_of_error(text, message):
    with pytest.raises(ValueError, match=message):
        json_text.loads(text)


def test_without_a_digest_of_ours_it_is_as_it_is():
    assert json_text.unsealed({"digest": "md5:0", "a": 1}) == {"digest": "md5:0", "a": 1}
    with pytest.raises(ValueError, match="expected an object with fields, found list"):
        json_text.unsealed([])
