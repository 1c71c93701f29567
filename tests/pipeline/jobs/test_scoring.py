"""predict_batches: a stream of rows scored in order, whatever it comes from; bad rows by policy."""

import gc
import threading
from pathlib import Path

import child
import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from breast_cancer import N_ROWS, TABLE

from fastnn.files.modelfile import ModelFileError
from fastnn.pipeline import DataError, Model, SchemaError, Scorer, predict_batches
from fastnn.pipeline.jobs.scoring import _PIECE_ROWS
from fastnn.pipeline.learning.plan import Plan
from fastnn.pipeline.learning.train import prepare
from fastnn.training.trainer import TrainOptions

PROBABILITIES = ["probability_benign", "probability_malignant"]


@pytest.fixture(scope="module")
def model() -> Model:
    plan = Plan(hidden=(16,), epochs=5, options=TrainOptions("adam", step_size=1e-2))
    return prepare(TABLE, "diagnosis", plan, ["id"]).run().model


def scores(*arguments, **options) -> pa.Table:
    return pa.Table.from_batches(predict_batches(*arguments, **options))


def proba(table) -> np.ndarray:
    return np.column_stack([table[name] for name in PROBABILITIES])


def test_order_columns_and_bits_however_the_rows_are_cut(model):
    expected = model.predict_proba(TABLE)
    for rows in (1, 50, 1000):
        found = scores(model, TABLE.to_batches(max_chunksize=rows), keep=["id", "count", "id"])
        assert found.column_names == ["id", "count", "prediction", *PROBABILITIES]
        assert found["id"].to_pylist() == TABLE["id"].to_pylist()
        assert found["prediction"].to_pylist() == model.predict(TABLE).tolist()
        assert proba(found).tobytes() == expected.tobytes()


def test_a_large_batch_is_cut(model):
    (batch,) = pa.concat_tables([TABLE] * 500).combine_chunks().to_batches()
    found = list(predict_batches(model, batch, output="label"))
    n_whole, rest = divmod(500 * N_ROWS, _PIECE_ROWS)
    assert [len(piece) for piece in found] == [_PIECE_ROWS] * n_whole + [rest]
    assert found[1]["prediction"].to_pylist() == (model.predict(TABLE).tolist() * 500)[_PIECE_ROWS : 2 * _PIECE_ROWS]


@pytest.mark.parametrize(
    ("output", "columns"),
    [("proba", PROBABILITIES), ("label", ["prediction"]), ("both", ["prediction", *PROBABILITIES])],
)
def test_outputs(model, output, columns):
    scorer = Scorer(model, keep=["id"], output=output)
    found = pa.Table.from_batches(scorer.batches(TABLE))
    assert found.column_names == ["id", *columns] and found.schema.equals(scorer.schema(TABLE.schema))


def test_everything_that_speaks_arrow(model, tmp_path):
    model.save(tmp_path / "m")
    expected = scores(model, TABLE, keep=["id"])
    (batch,) = TABLE.combine_chunks().to_batches()
    reader = pa.RecordBatchReader.from_batches(TABLE.schema, TABLE.to_batches(max_chunksize=100))
    for data in (batch, reader, iter(TABLE.to_batches()), TABLE.to_pandas(), pl.from_arrow(TABLE)):
        found = scores(tmp_path / "m", data, keep=["id"])
        assert proba(found).tobytes() == proba(expected).tobytes()
        assert found["id"].to_pylist() == expected["id"].to_pylist()
    for wrong in (np.ones((3, 3)), [TABLE], 3, "abc"):
        with pytest.raises(TypeError, match="speaks Arrow"):
            list(predict_batches(model, wrong))


def test_duckdb(model):
    """A query's rows go in, and a relation that can be queried comes out. Neither is ever in memory as a whole."""
    with duckdb.connect() as connection, connection.cursor() as reading:  # a cursor for each of two open queries
        reading.register("measured", TABLE)
        rows = reading.sql("SELECT * FROM measured ORDER BY id").to_arrow_reader(100)
        scorer = Scorer(model, keep=["id", "diagnosis"])
        stream = pa.RecordBatchReader.from_batches(scorer.schema(rows.schema), scorer.batches(rows))
        connection.register("scores", stream)
        found = connection.sql("SELECT * FROM scores").to_arrow_table()
    assert proba(found).tobytes() == model.predict_proba(TABLE).tobytes()


def test_polars(model, tmp_path):
    """A DataFrame in and out, and a lazy scan that is scored batch by batch."""
    frame = pl.from_arrow(TABLE)
    found = pl.DataFrame(pa.Table.from_batches(predict_batches(model, frame, keep=["id"])))
    assert found["id"].to_list() == TABLE["id"].to_pylist()
    assert found.select(PROBABILITIES).to_numpy().tobytes("C") == model.predict_proba(TABLE).tobytes()

    frame.write_parquet(tmp_path / "t.parquet")
    scorer = Scorer(model, keep=["id"])
    schema = pl.DataFrame(scorer.schema(TABLE.schema).empty_table()).schema
    lazy = pl.scan_parquet(tmp_path / "t.parquet").map_batches(
        lambda part: pl.DataFrame(pa.Table.from_batches(scorer.batches(part), scorer.schema(part.to_arrow().schema))),
        schema=schema,
        streamable=True,
    )
    assert lazy.collect().equals(found) and scorer.rows == N_ROWS


def test_pandas(model):
    frame = TABLE.to_pandas()
    found = pa.Table.from_batches(predict_batches(model, frame, keep=["id"])).to_pandas()
    assert isinstance(found, pd.DataFrame) and found["id"].tolist() == frame["id"].tolist()
    np.testing.assert_array_equal(found[PROBABILITIES], model.predict_proba(frame))


def with_value(table: pa.Table, name: str, row: int, value) -> pa.Table:
    values = table[name].to_pylist()
    values[row] = value
    return table.set_column(table.column_names.index(name), name, pa.array(values, table[name].type))


BAD = with_value(with_value(TABLE, "mean_radius", 7, float("inf")), "mean_texture", 300, 1e300)


@pytest.mark.parametrize("rows", [10, 1000])
def test_a_bad_row_fails_by_name_and_number(model, rows):
    with pytest.raises(DataError, match="Row 8: Column 'mean_radius' holds an infinite"):
        scores(model, BAD.to_batches(max_chunksize=rows))
    with pytest.raises(DataError, match="Row 301: Column 'mean_texture' holds a value too far"):
        scores(model, with_value(BAD, "mean_radius", 7, 1.0).to_batches(max_chunksize=rows))


@pytest.mark.parametrize("rows", [10, 1000])
def test_bad_rows_by_policy(model, rows):
    good = np.ones(N_ROWS, bool)
    good[[7, 300]] = False
    expected = model.predict_proba(TABLE)[good]
    for policy in ("null", "skip"):
        scorer = Scorer(model, keep=["id"], on_bad_row=policy)
        found = pa.Table.from_batches(scorer.batches(BAD.to_batches(max_chunksize=rows)))
        assert (scorer.rows, scorer.bad_rows) == (N_ROWS, 2)
        if policy == "null":
            assert found["id"].to_pylist() == TABLE["id"].to_pylist()
            assert all(found[name].is_null().to_pylist() == (~good).tolist() for name in ["prediction", *PROBABILITIES])
            found = found.filter(pa.array(good))
        assert found["id"].to_pylist() == TABLE.filter(pa.array(good))["id"].to_pylist()
        assert proba(found).tobytes() == expected.tobytes()


def test_sums_that_overflow_make_a_bad_row(model):
    """Finite inputs, whose products aren't."""
    weights = [W * np.float32(1e38) if layer == 0 else W for layer, W in enumerate(model.network.weights)]
    network = type(model.network)(weights, model.network.biases, "identity", model.classes)
    steep = Model(model.schema, model.preprocessor, network, "diagnosis")
    scorer = Scorer(steep, on_bad_row="null")
    nulls = pa.Table.from_batches(scorer.batches(TABLE))["prediction"].null_count
    assert 0 < nulls == scorer.bad_rows
    with pytest.raises(DataError, match=r"Row \d+: Values are so large that the network's sums overflow float32"):
        scores(steep, TABLE)


def test_wrong_columns_are_refused_at_the_door(model):
    renamed = TABLE.rename_columns({"size": "Size"})
    with pytest.raises(SchemaError, match="no column 'size'"):
        predict_batches(model, renamed)  # nothing has been asked for yet
    with pytest.raises(SchemaError, match="no column 'size'"):
        next(predict_batches(model, iter(renamed.to_batches())))
    with pytest.raises(DataError, match="no column 'x'"):
        predict_batches(model, TABLE, keep=["x"])
    with pytest.raises(DataError, match="'prediction'"):
        predict_batches(model, TABLE.append_column("prediction", TABLE["id"]), keep=["prediction"])


def test_what_can_t_be_filtered_is_refused_where_rows_are_skipped(model):
    nested = pa.array([["a"]] * N_ROWS, pa.list_(pa.string_view()))
    runs = pa.RunEndEncodedArray.from_arrays(pa.array([N_ROWS], pa.int32()), pa.array([1]))
    for values in (pa.array([b"a"] * N_ROWS, pa.binary_view()), nested, runs):
        table = BAD.append_column("k", pa.chunked_array([values]))
        assert scores(model, table, keep=["k"], on_bad_row="null").num_rows == N_ROWS
        with pytest.raises(DataError, match="Can't keep column 'k' where bad rows are skipped: Arrow can't filter"):
            predict_batches(model, table, keep=["k"], on_bad_row="skip")


def test_columns_that_nobody_asked_for_may_have_one_name(model):
    table = TABLE.append_column("k", TABLE["id"]).append_column("k", TABLE["size"])
    for data in (table, table.to_batches(max_chunksize=100)):
        assert scores(model, data, keep=["id"]).equals(scores(model, TABLE, keep=["id"]).combine_chunks())
    with pytest.raises(DataError, match="More than one column is called 'k'"):
        predict_batches(model, table, keep=["k"])


def test_later_batches_are_looked_at_too(model):
    first, second = TABLE.to_batches(max_chunksize=300)
    reordered = second.select(second.schema.names[::-1])
    assert proba(scores(model, [first, reordered])).tobytes() == model.predict_proba(TABLE).tobytes()
    retyped = second.set_column(0, "mean_radius", pa.array(["x"] * len(second)))
    with pytest.raises(SchemaError, match="'mean_radius' is string"):
        scores(model, [first, retyped])
    counts = second.schema.get_field_index("count")
    floats = second.set_column(counts, "count", second["count"].cast(pa.float64()))
    assert scores(model, [first, floats]).num_rows == N_ROWS
    with pytest.raises(SchemaError, match="change after 300 rows"):
        scores(model, [first, floats], keep=["count"])


@pytest.mark.parametrize("change", [{"output": "all"}, {"on_bad_row": "drop"}, {"keep": 3}, {"keep": ["id", 3]}])
def test_wrong_options(model, change):
    with pytest.raises((TypeError, ValueError), match=next(iter(change))):
        predict_batches(model, TABLE, **change)


def test_no_model(tmp_path):
    with pytest.raises(ModelFileError, match="no such model file"):
        predict_batches(tmp_path / "m", TABLE)


def test_batches_are_pulled_as_they_are_needed(model):
    """The stream has no end. A caller that stops reading the scores leaves no thread behind."""
    pulled = 0

    def endless():
        nonlocal pulled
        while True:
            pulled += 1
            yield from TABLE.to_batches()

    before = threading.active_count()
    stream = predict_batches(model, endless())
    assert pulled == 0
    for _ in range(10):
        next(stream)
    assert pulled <= 10 + threading.active_count() + 1
    stream.close()
    gc.collect()
    assert threading.active_count() == before


def test_no_rows(model):
    assert list(predict_batches(model, [])) == []
    assert list(predict_batches(model, TABLE.slice(0, 0))) == []


def test_what_is_in_the_source_reaches_the_caller(model):
    def broken():
        yield from TABLE.to_batches()
        raise OSError("the disk is gone")

    with pytest.raises(OSError, match="the disk is gone"):
        scores(model, broken())


def test_a_forked_child_is_told():
    """Rather than wait for threads that it doesn't have."""
    program = """
        import os, sys
        sys.path.insert(0, sys.argv[1])
        from breast_cancer import TABLE
        from fastnn.pipeline import predict_batches
        from fastnn.pipeline.learning.plan import Plan
        from fastnn.pipeline.learning.train import prepare
        model = prepare(TABLE, "diagnosis", Plan(epochs=1), ["id"]).run().model
        stream = predict_batches(model, TABLE.to_batches(max_chunksize=10))
        next(stream)
        process = os.fork()
        if not process:
            try:
                next(stream)
            except RuntimeError as error:
                os._exit(7 if "fork" in str(error) else 1)
            os._exit(2)
        assert os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == 7
        next(stream)
    """
    child.run(program, str(Path(__file__).parents[2]), warnings="ignore", timeout=60)
