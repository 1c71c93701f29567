"""The schema: what is inferred, what fits, what is refused by name."""

import datetime
import decimal

import pyarrow as pa
import pytest

from fastnn.pipeline.schema import DataError, Schema, SchemaError, kind_of

TRAINED = pa.schema(
    [("age", pa.int64()), ("fare", pa.float32()), ("member", pa.bool_()), ("town", pa.string()), ("y", pa.string())]
)


def trained() -> Schema:
    return Schema.infer(TRAINED, ["y"])


def test_infer_keeps_names_order_kinds():
    columns = trained().columns
    assert [(c.name, c.kind, c.type) for c in columns] == [
        ("age", "number", "int64"),
        ("fare", "number", "float"),
        ("member", "number", "bool"),
        ("town", "category", "string"),
    ]
    assert trained().names("category") == ["town"]


@pytest.mark.parametrize(
    ("array", "kind"),
    [
        (pa.array([1], pa.uint8()), "number"),
        (pa.array([1.0], pa.float16()), "number"),
        (pa.array([decimal.Decimal("1.5")]), "number"),
        (pa.array([True]), "number"),
        (pa.array(["a"], pa.large_string()), "category"),
        (pa.array(["a"], pa.string_view()), "category"),
        (pa.array(["a"]).dictionary_encode(), "category"),
        (pa.array([1]).dictionary_encode(), "number"),
        (pa.array([datetime.date(2020, 1, 1)]), None),
        (pa.array([datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)]), None),
        (pa.array([[1]]), None),
        (pa.array([b"x"]), None),
        (pa.array([None]), None),
    ],
)
def test_kinds(array, kind):
    assert kind_of(array.type) == kind


def test_columns_that_can_t_be_used_are_named_with_the_way_out():
    table = pa.schema([("when", pa.date32()), ("a", pa.int64()), ("my tags", pa.list_(pa.int8())), ("none", pa.null())])
    with pytest.raises(DataError) as caught:
        Schema.infer(table)
    message = str(caught.value)
    assert "'when' (date32[day])" in message and "'none' (no values)" in message
    assert message.endswith("--ignore when --ignore 'my tags' --ignore none")
    assert Schema.infer(table, ["when", "my tags", "none"]).names() == ["a"]


def test_infer_refuses():
    with pytest.raises(DataError, match="no column 'z'"):
        Schema.infer(TRAINED, ["z"])
    with pytest.raises(DataError, match="More than one column is called 'a'"):
        Schema.infer(pa.schema([("a", pa.int64()), ("a", pa.int64())]))
    with pytest.raises(DataError, match="no column to learn from"):
        Schema.infer(pa.schema([("y", pa.int64())]), ["y"])


@pytest.mark.parametrize(
    "table",
    [
        TRAINED,
        pa.schema(list(reversed(list(TRAINED)))),
        pa.schema([*TRAINED, ("extra", pa.date32())]),
        TRAINED.set(0, pa.field("age", pa.float64())),
        TRAINED.set(0, pa.field("age", pa.int64(), nullable=False)),
        TRAINED.set(3, pa.field("town", pa.dictionary(pa.int8(), pa.large_string()))),
        TRAINED.set(3, pa.field("town", pa.null())),
        TRAINED.set(0, pa.field("age", pa.null())),
        TRAINED.set(1, pa.field("fare", pa.decimal128(9, 2))),
        TRAINED.append(pa.field("extra", pa.int8())).append(pa.field("extra", pa.int8())),
    ],
    ids=[
        "same",
        "order",
        "extra",
        "float",
        "not-null",
        "dictionary",
        "empty",
        "empty-number",
        "decimal",
        "twice-extra",
    ],
)
def test_fits(table):
    trained().check(table)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (TRAINED.remove(0), "no column 'age'"),
        (TRAINED.set(0, pa.field("Age", pa.int64())), "no column 'age'"),
        (TRAINED.set(0, pa.field("age", pa.string())), "'age' is string, but was int64"),
        (TRAINED.set(3, pa.field("town", pa.int64())), "'town' is int64, but was string"),
        (TRAINED.set(1, pa.field("fare", pa.timestamp("s", "UTC"))), "'fare' is timestamp"),
        (TRAINED.append(pa.field("town", pa.string())), "more than one column 'town'"),
    ],
)
def test_refused_by_name(table, message):
    with pytest.raises(SchemaError, match=message):
        trained().check(table)


def test_every_problem_in_one_message():
    with pytest.raises(SchemaError, match=r"no column 'age', 'fare'; column 'town' is bool, but was string"):
        trained().check(pa.schema([("member", pa.bool_()), ("town", pa.bool_())]))
    with pytest.raises(SchemaError, match=r"and 90 more"):
        Schema.infer(pa.schema([(f"c{i}", pa.int64()) for i in range(100)])).check(pa.schema([]))


def test_description_round_trip():
    assert Schema.from_description(trained().description()) == trained()
    for broken in (
        [{"name": "a"}],
        [{"name": "a", "kind": "x", "type": ""}],
        [{"name": 1, "kind": "number", "type": ""}],
    ):
        with pytest.raises((TypeError, ValueError)):
            Schema.from_description(broken)
