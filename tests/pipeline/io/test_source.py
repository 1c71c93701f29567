"""What all sources share: plain types, and error messages of one line."""

import pyarrow as pa
import pytest

from fastnn.pipeline.columns.schema import DataError
from fastnn.pipeline.io.source import as_data_errors, plain_batches, plain_schema


def test_a_plain_schema_has_names_and_types_alone():
    schema = pa.schema(
        [
            pa.field("v", pa.string_view(), nullable=False, metadata={"a": "b"}),
            pa.field("d", pa.dictionary(pa.int8(), pa.string_view(), ordered=True)),
            pa.field("e", pa.dictionary(pa.int8(), pa.int64())),
            pa.field("s", pa.string()),
        ],
        metadata={"pandas": "{}"},
    )
    plain = plain_schema(schema)
    assert plain.equals(
        pa.schema(
            [
                ("v", pa.large_string()),
                ("d", pa.dictionary(pa.int8(), pa.large_string(), ordered=True)),
                ("e", pa.dictionary(pa.int8(), pa.int64())),
                ("s", pa.string()),
            ]
        ),
        check_metadata=True,
    )


@pytest.mark.parametrize(
    ("error", "raised", "message"),
    [
        (pa.ArrowInvalid("bad row\n1,2,3"), DataError, "f can't be read: bad row"),
        (pa.ArrowInvalid("x" * 1000), DataError, f"f can't be read: {'x' * 200}…"),
        (OSError(5, "Input/output error"), DataError, "f can't be read: Input/output error."),
        (OSError("no\nnumber"), DataError, "f can't be read: no"),
        (
            UnicodeDecodeError("utf-8", b"\xff", 0, 1, "bad"),
            DataError,
            "f can't be read: it isn't text of the encoding that was declared, which is UTF-8 if none was. Say its "
            "encoding: --encoding latin-1?",
        ),
        (DataError("as it is"), DataError, "as it is"),
        # These errors don't come from the data.
        (pa.ArrowMemoryError("malloc"), MemoryError, "malloc"),
        (pa.ArrowMemoryError("malloc of size 4096 failed"), MemoryError, "malloc of size 4096 failed"),
        (
            pa.ArrowMemoryError("malloc of size 14073748847853568 failed"),
            DataError,
            "f can't be read: it is damaged, since it asks for 14,073,748,847,853,568 bytes.",
        ),
        (ValueError("a caller's own"), ValueError, "a caller's own"),
    ],
)
def test_errors_have_one_line(error, raised, message):
    with pytest.raises(raised) as caught, as_data_errors("f"):
        raise error
    assert str(caught.value) == message


def test_views_become_large_strings_in_every_batch():
    views = pa.record_batch({"t": pa.array(["a", None]).cast(pa.string_view()), "x": [1, 2]})
    plain = pa.record_batch({"t": pa.array(["b"], pa.large_string()), "x": [3]})
    found = list(plain_batches([views, views, plain, views]))
    assert {batch.schema.field("t").type for batch in found} == {pa.large_string()} and found[2] is plain
    assert [batch["t"].to_pylist() for batch in found] == [["a", None], ["a", None], ["b"], ["a", None]]
