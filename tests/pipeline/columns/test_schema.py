"""The schema: what is inferred from a table, which tables match it, and the columns that a refusal names."""

import datetime
import decimal

import pyarrow as pa
import pytest

from fastnn.pipeline.columns.options import ColumnOptions, column_options
from fastnn.pipeline.columns.schema import DataError, Schema, SchemaError, family_of

TRAINED = pa.schema(
    [("age", pa.int64()), ("fare", pa.float32()), ("member", pa.bool_()), ("town", pa.string()), ("y", pa.string())]
)


def trained() -> Schema:
    return Schema.infer(TRAINED, ["y"])


def test_infer_keeps_names_order_kinds():
    columns = trained().columns
    assert [(c.name, c.kind, c.type, c.family) for c in columns] == [
        ("age", "number", "int64", "number"),
        ("fare", "number", "float", "number"),
        ("member", "boolean", "bool", "boolean"),
        ("town", "category", "string", "text"),
    ]
    assert trained().names("category") == ["town"]


@pytest.mark.parametrize(
    ("array", "family"),
    [
        (pa.array([1], pa.uint8()), "number"),
        (pa.array([1.0], pa.float16()), "number"),
        (pa.array([decimal.Decimal("1.5")]), "number"),
        (pa.array([True]), "boolean"),
        (pa.array(["a"], pa.large_string()), "text"),
        (pa.array(["a"], pa.string_view()), "text"),
        (pa.array(["a"]).dictionary_encode(), "text"),
        (pa.array([1]).dictionary_encode(), "number"),
        (pa.array([datetime.date(2020, 1, 1)]), "date"),
        (pa.array([datetime.datetime(2020, 1, 1)]), "date"),
        (pa.array([datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)]), "instant"),
        (pa.array([datetime.time(1)]), "time"),
        (pa.array([datetime.timedelta(1)]), None),
        (pa.array([[1]]), None),
        (pa.array([b"x"]), None),
        (pa.array([None]), None),
    ],
)
def test_families(array, family):
    assert family_of(array.type) == family


def test_options_change_kinds_and_leave_columns_out():
    options = column_options({"age": {"kind": "category"}, "fare": {"kind": "ignore"}, "member": {"kind": "number"}})
    schema = Schema.infer(TRAINED, ["y"], options)
    assert [(c.name, c.kind) for c in schema.columns] == [
        ("age", "category"),
        ("member", "number"),
        ("town", "category"),
    ]
    schema.check(TRAINED)
    schema.check(TRAINED.set(0, pa.field("age", pa.float64())))  # as pandas has integers with missing values
    assert Schema.infer(TRAINED, ["y"], {"y": ColumnOptions(kind="ignore")}) == trained()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"Town": {}}, r"no column 'Town' \('town' looks like it\)"),
        ({"town": {"kind": "number"}}, "Column 'town' has the type string, which can't be used as a number"),
        ({"fare": {"kind": "category"}}, "Column 'fare' has the type float, which can't be used as a category"),
        ({"age": {"kind": "date"}}, "Column 'age' has the type int64, which can't be used as a date"),
        ({"age": {"kind": "boolean"}}, "can't be used as a boolean"),
        ({"town": {"impute": "median"}}, "Column 'town': impute means nothing for a category"),
        ({"age": {"max_categories": 3}}, "Column 'age': max_categories means nothing for a number"),
        ({"age": {"categories": ["3"]}}, "Column 'age': categories means nothing for a number"),
        ({"y": {"impute": "mean"}}, "options for column 'y', which isn't learnt from"),
    ],
)
def test_options_that_do_not_fit(options, message):
    with pytest.raises(DataError, match=message):
        Schema.infer(TRAINED, ["y"], column_options(options))


def test_columns_that_can_t_be_used_are_named_with_the_way_out():
    table = pa.schema(
        [("when", pa.duration("s")), ("a", pa.int64()), ("my tags", pa.list_(pa.int8())), ("none", pa.null())]
    )
    with pytest.raises(DataError) as caught:
        Schema.infer(table)
    message = str(caught.value)
    assert "'when' (duration[s])" in message and "'none' (no values)" in message
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
        (TRAINED.set(0, pa.field("Age", pa.int64())), r"no column 'age' \('Age' looks like it\)"),
        (TRAINED.set(3, pa.field("towns", pa.string())), r"no column 'town' \('towns' looks like it\)"),
        (TRAINED.set(2, pa.field("member", pa.int8())), "'member' is int8, but was bool"),
        (TRAINED.set(0, pa.field("age", pa.bool_())), "'age' is bool, but was int64"),
        (TRAINED.set(0, pa.field("age", pa.string())), "'age' is string, but was int64"),
        (TRAINED.set(3, pa.field("town", pa.int64())), "'town' is int64, but was string"),
        (TRAINED.set(1, pa.field("fare", pa.timestamp("s", "UTC"))), "'fare' is timestamp"),
        (TRAINED.append(pa.field("town", pa.string())), "more than one column 'town'"),
    ],
)
def test_refused_by_name(table, message):
    with pytest.raises(SchemaError, match=message):
        trained().check(table)


def test_dates_with_and_without_a_zone_are_two_things():
    dates = {
        "date": [
            pa.date32(),
            pa.date64(),
            pa.timestamp("s"),
            pa.timestamp("ns"),
            pa.dictionary(pa.int8(), pa.date32()),
        ],
        "instant": [pa.timestamp("s", "UTC"), pa.timestamp("us", "Asia/Tokyo")],
        "time": [pa.time32("s"), pa.time64("ns")],
    }
    for family, types in dates.items():
        schema = Schema.infer(pa.schema([("when", types[0])]))
        assert (schema.columns[0].kind, schema.columns[0].family) == ("date", family)
        for other, others in dates.items():
            for type_ in others:
                if other == family:
                    schema.check(pa.schema([("when", type_)]))
                    continue
                with pytest.raises(SchemaError, match=r"column 'when' is .*, but was .* in training"):
                    schema.check(pa.schema([("when", type_)]))


def test_every_problem_in_one_message():
    with pytest.raises(SchemaError, match=r"no column 'age', 'fare'; column 'town' is bool, but was string"):
        trained().check(pa.schema([("member", pa.bool_()), ("town", pa.bool_())]))
    with pytest.raises(SchemaError, match=r"and 90 more"):
        Schema.infer(pa.schema([(f"c{i}", pa.int64()) for i in range(100)])).check(pa.schema([]))


def test_description_round_trip():
    assert Schema.from_description(trained().description(), {}) == trained()
    for broken in (
        [{"name": "a"}],
        [{"name": "a", "kind": "x", "type": ""}],
        [{"name": 1, "kind": "number", "type": "", "family": "number"}],
        [{"name": "a", "kind": "number", "type": "", "family": "text"}],
        [{"name": "a", "kind": "number", "type": "", "family": []}],
        [{"name": "a", "kind": [], "type": "", "family": "text"}],
        [{"name": "a", "kind": "number", "type": ""}],
        [3],
        3,
    ):
        with pytest.raises((TypeError, ValueError)):
            Schema.from_description(broken, {})
