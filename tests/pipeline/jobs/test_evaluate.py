"""Measures over a stream of rows: those of the whole table, whatever its pieces."""

import numpy as np
import pyarrow as pa
import pytest
from breast_cancer import N_ROWS, TABLE
from sklearn.metrics import (
    accuracy_score,
    confusion_matrix,
    log_loss,
    mean_absolute_error,
    r2_score,
    root_mean_squared_error,
)

from fastnn.pipeline import DataError, Dialect, SchemaError, predict_batches, scoring
from fastnn.pipeline.columns.schema import RowError
from fastnn.pipeline.jobs import evaluate as module
from fastnn.pipeline.jobs.evaluate import evaluate
from fastnn.pipeline.learning.plan import Plan
from fastnn.pipeline.learning.train import prepare, train_batches
from fastnn.training.trainer import TrainOptions


@pytest.fixture(scope="module")
def model():
    plan = Plan(hidden=(16,), epochs=5, options=TrainOptions("adam", step_size=1e-2))
    return prepare(TABLE, "diagnosis", plan, ["id"]).run().model


def test_measures(model):
    result = evaluate(model, iter(TABLE.to_batches(max_chunksize=100)), "diagnosis")
    truth, predicted = TABLE["diagnosis"].to_pylist(), model.predict(TABLE)
    assert result.n_rows == N_ROWS and result.accuracy == accuracy_score(truth, predicted)
    np.testing.assert_array_equal(result.confusion, confusion_matrix(truth, predicted))
    assert result.log_loss == pytest.approx(log_loss(truth, model.predict_proba(TABLE)), rel=1e-5)


def test_pieces_do_not_change_the_bits(model, monkeypatch):
    monkeypatch.setattr(module, "_BLOCK_ROWS", 64)
    losses = {evaluate(model, TABLE.to_batches(max_chunksize=rows), "diagnosis").log_loss for rows in (1, 50, 1000)}
    assert len(losses) == 1


@pytest.mark.parametrize("block_rows", [module._BLOCK_ROWS, scoring._PIECE_ROWS // 3, 2 * scoring._PIECE_ROWS + 1])
def test_blocks_need_not_be_the_pieces_that_are_scored(model, monkeypatch, block_rows):
    monkeypatch.setattr(module, "_BLOCK_ROWS", block_rows)
    n = max(block_rows, scoring._PIECE_ROWS) + 1000
    table = TABLE.take(np.random.default_rng(0).integers(0, N_ROWS, n))
    result = evaluate(model, iter(table.to_batches(max_chunksize=20_000)), "diagnosis")
    truth, proba = table["diagnosis"].to_pylist(), model.predict_proba(table)
    np.testing.assert_array_equal(result.confusion, confusion_matrix(truth, model.predict(table)))
    assert result.n_rows == n and result.log_loss == pytest.approx(log_loss(truth, proba), rel=1e-5)


def test_rows_are_forgotten(model):
    """Rows are evaluated a block at a time, and no block is kept in memory."""
    batches = (batch for _ in range(400) for batch in TABLE.to_batches())
    before = pa.total_allocated_bytes()
    assert evaluate(model, batches, "diagnosis").n_rows == 400 * N_ROWS
    assert pa.total_allocated_bytes() - before < 1 << 20


def test_refusals(model):
    for nothing in (TABLE.slice(0, 0), []):
        with pytest.raises(DataError, match="no rows"):
            evaluate(model, nothing, "diagnosis")
    for data in (TABLE, TABLE.to_batches()):
        with pytest.raises(DataError, match="no column 'outcome'"):
            evaluate(model, data, "outcome")
    with pytest.raises(SchemaError, match="no column 'size'"):
        evaluate(model, TABLE.drop_columns(["size"]), "diagnosis")
    strange = TABLE.slice(0, 1).set_column(TABLE.column_names.index("diagnosis"), "diagnosis", pa.array(["unclear"]))
    with pytest.raises(SchemaError, match="'unclear'"):
        evaluate(model, pa.concat_tables([TABLE, strange]), "diagnosis")


@pytest.fixture(scope="module")
def regression():
    plan = Plan(hidden=(16,), epochs=5, options=TrainOptions("adam", step_size=1e-2), task="regression")
    return prepare(TABLE, ["mean_texture", "count"], plan, ["id", "diagnosis"]).run().model


def test_measures_of_a_regression(regression, monkeypatch):
    names = ["mean_texture", "count"]
    predicted = regression.predict(TABLE)
    found = set()
    for rows in (1, 100, 1000):
        monkeypatch.setattr(module, "_BLOCK_ROWS", 64)
        result = evaluate(regression, iter(TABLE.to_batches(max_chunksize=rows)), names)
        found.add(str((result.n_rows, result.r2, result.rmse, result.mae)))
    assert len(found) == 1 and result.n_rows == N_ROWS
    for number, name in enumerate(names):
        truth, values = TABLE[name].to_numpy(), predicted[:, number]
        assert result.r2[name] == pytest.approx(r2_score(truth, values), rel=1e-12)
        assert result.rmse[name] == pytest.approx(root_mean_squared_error(truth, values), rel=1e-12)
        assert result.mae[name] == pytest.approx(mean_absolute_error(truth, values), rel=1e-12)
        np.testing.assert_array_equal(result.sample[number], [truth, values])


def test_r2_of_a_constant(regression):
    constant = TABLE.slice(0, 5).set_column(10, "count", pa.array([3] * 5))
    assert evaluate(regression, constant, ["mean_texture", "count"]).r2["count"] == 0


@pytest.mark.parametrize(
    ("target", "values", "message"),
    [
        (["mean_texture"], None, "predicts 'mean_texture', 'count': name as many columns, not 'mean_texture'"),
        (["mean_texture", "absent"], None, "no column 'absent'"),
        (["mean_texture", "diagnosis"], None, "'diagnosis' is string: a regression needs numbers"),
        (["mean_texture", "mean_area"], None, "Row 3: The target 'mean_area' is missing. To leave"),
    ],
)
def test_values_that_cannot_be_compared(regression, target, values, message):
    with pytest.raises(DataError, match=message):
        evaluate(regression, TABLE, target)


@pytest.mark.parametrize("rows", [7, 1000])
def test_rows_that_cannot_be_measured(model, rows):
    """Two rows have no truth, one can't be scored; the others count as if they were alone."""
    values, labels = TABLE["mean_area"].to_pylist(), TABLE["diagnosis"].to_pylist()
    values[10], labels[5], labels[400] = np.inf, None, ""
    table = with_columns(TABLE, mean_area=values, diagnosis=labels)
    with pytest.raises(RowError, match=r"Row 6: The target 'diagnosis' is missing\. To leave"):
        evaluate(model, table.slice(0, 10).to_batches(rows), "diagnosis")
    with pytest.raises(RowError, match="Row 11: Column 'mean_area' holds an infinite value"):
        evaluate(model, with_columns(table, diagnosis=TABLE["diagnosis"]).to_batches(rows), "diagnosis")
    result = evaluate(model, table.to_batches(rows), "diagnosis", on_bad_row="skip")
    good = TABLE.filter(pa.array([i not in (5, 10, 400) for i in range(N_ROWS)]))
    alone = evaluate(model, good, "diagnosis")
    assert (result.n_rows, result.n_skipped, alone.n_skipped) == (N_ROWS - 3, 3, 0)
    np.testing.assert_array_equal(result.confusion, alone.confusion)
    assert result.log_loss == pytest.approx(alone.log_loss, rel=1e-12)


def test_numbers_that_cannot_be_measured():
    table = TABLE.select(["mean_area", "mean_texture", "mean_radius"])
    regression = prepare(table, "mean_radius", Plan(hidden=(8,), epochs=2)).run().model
    truth, x = table["mean_radius"].to_pylist(), table["mean_area"].to_pylist()
    truth[3], x[8] = None, -np.inf
    spoilt = with_columns(table, mean_radius=truth, mean_area=x)
    result = evaluate(regression, spoilt.to_batches(100), "mean_radius", on_bad_row="skip")
    alone = evaluate(regression, table.filter(pa.array([i not in (3, 8) for i in range(N_ROWS)])), "mean_radius")
    assert (result.n_rows, result.n_skipped) == (N_ROWS - 2, 2)
    assert result.r2 == pytest.approx(alone.r2) and result.mae == pytest.approx(alone.mae)
    with pytest.raises(DataError, match="There are no rows to measure: all 1 had no true value"):
        evaluate(regression, spoilt.slice(3, 1), "mean_radius", on_bad_row="skip")


def with_columns(table, **columns):
    for name, values in columns.items():
        table = table.set_column(table.column_names.index(name), name, [values] if isinstance(values, list) else values)
    return table


def test_the_place_of_an_infinite_truth():
    """Rows that were left out before it don't count; with "skip" it is left out itself."""
    table = TABLE.select(["mean_texture", "mean_radius"])
    regression = prepare(table, "mean_radius", Plan(hidden=(8,), epochs=2)).run().model
    truth = table["mean_radius"].to_pylist()
    truth[3] = np.inf
    spoilt = with_columns(table, mean_radius=truth)
    with pytest.raises(RowError, match="Row 4: the target 'mean_radius' holds an infinite value"):
        evaluate(regression, spoilt.to_batches(2), "mean_radius")
    truth[0] = None
    result = evaluate(
        regression, with_columns(table, mean_radius=truth).to_batches(100), "mean_radius", on_bad_row="skip"
    )
    assert (result.n_rows, result.n_skipped) == (N_ROWS - 2, 2)
    with pytest.raises(DataError, match="There are no rows to measure: all 1 had no true value"):
        evaluate(regression, spoilt.slice(3, 1), "mean_radius", on_bad_row="skip")
    with pytest.raises(ValueError, match="on_bad_row must be fail or skip, got 'null'"):
        evaluate(regression, table, "mean_radius", on_bad_row="null")


@pytest.mark.parametrize("view", ["string_view", "dictionary"])
def test_string_views_as_polars_has_them(view):
    """Few of Arrow's functions take views."""
    n = 60
    words = pa.array([["a ", "b", "?"][i % 3] for i in range(n)])
    table = pa.table({"t": words, "number": [str(i % 5) for i in range(n)], "y": ["p", "q"] * (n // 2)})
    plan, dialect = Plan(hidden=(4,), epochs=2), Dialect(strip=True, missing=("?",))
    said = {"number": {"kind": "number"}}
    model = train_batches(table, "y", plan, dialect=dialect, columns=said).model
    views = table.cast(pa.schema([(name, pa.string_view()) for name in table.column_names]))
    if view == "dictionary":
        views = views.set_column(
            0, "t", pa.DictionaryArray.from_arrays([i % 3 for i in range(n)], words[:3].cast("string_view"))
        )
    for on_bad_row in ("fail", "null", "skip"):
        for rows in (views, iter(views.to_batches(7))):
            found = pa.Table.from_batches(predict_batches(model, rows, keep=["t"], on_bad_row=on_bad_row))
            expected = pa.Table.from_batches(predict_batches(model, table, keep=["t"]))
            assert found["prediction"] == expected["prediction"] and found["t"].to_pylist() == words.to_pylist()
    for on_bad_row in ("fail", "skip"):
        assert evaluate(model, views, "y", on_bad_row=on_bad_row).n_rows == n
