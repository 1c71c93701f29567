"""Measures over a stream of rows: those of the whole table, whatever its pieces."""

import numpy as np
import pyarrow as pa
import pytest
from breast_cancer import N_ROWS, TABLE
from sklearn.metrics import accuracy_score, confusion_matrix, log_loss

from fastnn.pipeline import DataError, SchemaError, scoring
from fastnn.pipeline.jobs import evaluate as module
from fastnn.pipeline.jobs.evaluate import evaluate
from fastnn.pipeline.learning.plan import Plan
from fastnn.pipeline.learning.train import prepare
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
