"""The types that the files of a folder have in common."""

import datetime

import pyarrow as pa
import pytest

from fastnn.pipeline.columns.schema import DataError, family_of
from fastnn.pipeline.io.opening import Table
from fastnn.pipeline.io.promotion import common_schema, promoted

TYPES = [
    pa.null(),
    pa.bool_(),
    pa.int8(),
    pa.int32(),
    pa.int64(),
    pa.uint8(),
    pa.uint64(),
    pa.float16(),
    pa.float32(),
    pa.float64(),
    pa.decimal128(10, 2),
    pa.decimal128(38, 10),
    pa.decimal256(76, 3),
    pa.string(),
    pa.large_string(),
    pa.dictionary(pa.int8(), pa.string()),
    pa.dictionary(pa.int32(), pa.large_string(), ordered=True),
    pa.dictionary(pa.int8(), pa.int64()),
    pa.date32(),
    pa.date64(),
    pa.timestamp("s"),
    pa.timestamp("us"),
    pa.timestamp("ns"),
    pa.timestamp("ms", "UTC"),
    pa.timestamp("ns", "Europe/Berlin"),
    pa.time32("ms"),
    pa.time64("ns"),
    pa.list_(pa.int8()),
    pa.struct([("a", pa.int8())]),
    pa.binary(),
]
# A few values that each type has.
VALUES = {
    "boolean": [True, None, False],
    "number": [1, None, 3],
    "text": ["a", None, "b"],
    "date": [datetime.datetime(2020, 1, 1), None, datetime.datetime(1969, 12, 31)],
    "instant": [datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC), None],
    "time": [datetime.time(1, 2, 3), None],
    None: [None],
}


def values_of(type_: pa.DataType) -> pa.Array:
    family = family_of(type_)
    plain = type_.value_type if pa.types.is_dictionary(type_) else type_
    if family == "number" and pa.types.is_floating(plain):
        return pa.array([float(each) if each else None for each in VALUES["number"]]).cast(plain)
    values = pa.array(VALUES[family], pa.int8() if family == "number" else None)
    values = values.cast(plain) if family else pa.nulls(1, type_)
    return values.dictionary_encode().cast(type_) if pa.types.is_dictionary(type_) else values


def comparable(values: pa.Array) -> list:
    """The values, whatever type of their family they have."""
    family = family_of(values.type)
    if family == "number":
        return [None if each is None else float(each) for each in values.to_pylist()]
    return (values.cast(pa.timestamp("us")) if family in ("date", "instant") else values).to_pylist()


@pytest.mark.parametrize("one", TYPES, ids=str)
@pytest.mark.parametrize("other", TYPES, ids=str)
def test_types_of_a_family_have_a_common_one(one, other):
    found = promoted(one, other)
    assert found == promoted(other, one)
    families = {family_of(one), family_of(other)}
    if pa.null() in (one, other):
        assert found == (other if one == pa.null() else one)
    elif len(families) > 1 or (None in families and one != other):
        assert found is None
    else:
        assert family_of(found) in families
        for type_ in (one, other):
            assert comparable(values_of(type_).cast(found)) == comparable(values_of(type_))


@pytest.mark.parametrize(
    ("values", "other"),
    [
        (pa.array([2**53 + 1]), pa.float64()),
        (pa.array([2**63], pa.uint64()), pa.int64()),
        (pa.array([1001], pa.timestamp("ns")), pa.timestamp("us")),
    ],
    ids=str,
)
def test_a_value_that_would_change_is_an_error(values, other):
    tables = [Table(pa.table({"id": values})), Table(pa.table({"id": pa.nulls(1, other)}))]
    common = common_schema(tables)
    tables[0].schema = common.schema
    with pytest.raises(DataError, match=r"column 'id' is .* here and is read as .* can't be done without a loss"):
        list(tables[0].batches())


def test_dates_beyond_the_range_of_nanoseconds_stay():
    """A timestamp in nanoseconds ends in 2262, and many systems write 9999-12-31 for "still valid"."""
    late = pa.array([datetime.datetime(9999, 12, 31)], pa.timestamp("us"))
    assert promoted(pa.timestamp("ns"), late.type) == late.type
    assert late.cast(promoted(late.type, pa.timestamp("ns"))).to_pylist() == late.to_pylist()
