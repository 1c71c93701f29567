"""Model: training on a real table with strings, missing values and booleans; prediction, files, refusals."""

import dataclasses
from dataclasses import replace

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from breast_cancer import TABLE
from sklearn.metrics import accuracy_score, confusion_matrix, log_loss

from fastnn.files import modelfile
from fastnn.files.modelfile import ModelFileError
from fastnn.network.network import Network
from fastnn.pipeline import DataError, Model, SchemaError
from fastnn.pipeline.columns import encoding
from fastnn.pipeline.jobs.evaluate import evaluate
from fastnn.pipeline.learning.held_out import HeldOut
from fastnn.pipeline.learning.plan import Plan
from fastnn.pipeline.learning.train import Trained, prepare
from fastnn.training.trainer import TrainOptions

PLAN = Plan(hidden=(16,), epochs=30, options=TrainOptions("adam", step_size=1e-2))


def train(table: pa.Table, target: str, plan: Plan, ignore: list[str] | tuple[()] = ()) -> Trained:
    return prepare(table, target, plan, ignore).run()


@pytest.fixture(scope="module")
def model() -> Model:
    return train(TABLE, "diagnosis", PLAN, ignore=["id"]).model


def test_learns(model):
    assert model.classes.tolist() == ["benign", "malignant"]
    result = evaluate(model, TABLE, "diagnosis")
    proba = model.predict_proba(TABLE)
    truth = TABLE["diagnosis"].to_pylist()
    assert result.accuracy > 0.9
    assert proba.dtype == np.float32 and proba.shape == (569, 2)
    np.testing.assert_allclose(proba.sum(axis=1), 1, atol=1e-6)
    predicted = model.predict(TABLE)
    assert result.accuracy == accuracy_score(truth, predicted)
    np.testing.assert_array_equal(result.confusion, confusion_matrix(truth, predicted))
    assert result.log_loss == pytest.approx(log_loss(truth, proba), rel=1e-5)


def test_held_out_rows_stop_the_training_and_keep_the_best():
    trained = train(TABLE, "diagnosis", dataclasses.replace(PLAN, epochs=500), ignore=["id"])
    assert len(trained.epochs) < 500
    best = trained.epochs[-12].validation_score  # ten epochs of patience follow the best one, and one that ends it
    assert trained.accuracy == best
    held_out = HeldOut(0.1, 0).among(TABLE.to_batches()[0], 0)
    assert (trained.n_train, trained.n_validation) == (569 - held_out.sum(), held_out.sum())
    result = evaluate(trained.model, TABLE.filter(pa.array(held_out)), "diagnosis")
    assert result.accuracy == pytest.approx(trained.accuracy)


def test_held_out_values_are_not_looked_at():
    held_out = HeldOut(0.1, 0).among(TABLE.to_batches()[0], 0)
    changed = np.where(held_out, 1e6, np.asarray(TABLE["mean_radius"]))
    other = train(TABLE.set_column(0, "mean_radius", pa.array(changed)), "diagnosis", PLAN, ignore=["id"]).model
    same = train(TABLE, "diagnosis", PLAN, ignore=["id"]).model
    assert other.preprocessor == same.preprocessor


def test_without_validation_every_epoch_is_run():
    plan = dataclasses.replace(PLAN, validation=0, epochs=7)
    trained = train(TABLE, "diagnosis", plan, ignore=["id"])
    assert (len(trained.epochs), trained.n_train, trained.n_validation, trained.accuracy) == (7, 569, 0, None)


def test_same_seed_same_bytes_however_the_table_is_cut(tmp_path):
    pieces = pa.Table.from_batches(TABLE.to_batches(max_chunksize=37))
    for name, table in (("a", TABLE), ("b", pieces)):
        train(table, "diagnosis", PLAN, ignore=["id"]).model.save(tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    other = dataclasses.replace(PLAN, options=dataclasses.replace(PLAN.options, seed=1))
    train(TABLE, "diagnosis", other, ignore=["id"]).model.save(tmp_path / "c")
    assert (tmp_path / "a").read_bytes() != (tmp_path / "c").read_bytes()


def test_blocks_do_not_change_the_bits(model, monkeypatch):
    whole = model.predict_proba(TABLE)
    for rows in (1, 200, 300):  # a chunk has at least 128 rows
        monkeypatch.setattr(encoding, "CHUNK_NUMBERS", rows)
        assert model.predict_proba(TABLE).tobytes() == whole.tobytes()


# With relu, x = -1 gives sums of 0. With x = 0 and with x = 3, the sums overflow: one to infinity, one to -infinity.
OVERFLOWING = Network(
    [np.full((1, 1), 1e20, np.float32), np.array([[1e20, -1e20]], np.float32)],
    [np.full(1, 1e20, np.float32), np.zeros(2, np.float32)],
    activation="relu",
    classes=["a", "b"],
)


def of_numbers(network: Network) -> Model:
    """A model of a column x that is taken as it is."""
    learnt = train(pa.table({"x": [-1.0, 1.0] * 50, "y": ["a", "b"] * 50}), "y", PLAN).model
    (column,) = learnt.preprocessor.columns
    preprocessor = encoding.Preprocessor((dataclasses.replace(column, centre=0.0, scale=1.0),))
    return Model(learnt.schema, preprocessor, network, "y")


@pytest.mark.parametrize("type_", [pa.float32(), pa.float64()])
@pytest.mark.parametrize("threads", [1, 2])
def test_rows_that_cannot_be_scored_are_found_wherever_they_are(type_, threads, monkeypatch):
    monkeypatch.setattr("fastnn.pipeline.model.threads_for", lambda operations, n_threads: threads)
    model = of_numbers(OVERFLOWING)
    x = np.full(1000, -1.0)
    for rows in ([], [3], [999], [500, 997]):
        for value, why in ((3.0, "sums overflow"), (np.inf, "'x' holds an infinite value")):
            found = x.copy()
            found[rows] = value
            batch = pa.record_batch({"x": pa.array(found, type_)})
            columns, bad = np.empty((2, 1003), np.float32), np.zeros(1000, bool)
            model.fill_columns(batch, columns, 3, bad)
            assert np.flatnonzero(bad).tolist() == rows
            np.testing.assert_array_equal(columns[:, 3:][:, ~bad], 0.5)
            if rows:
                with pytest.raises(DataError, match=why):
                    model.predict_proba(batch)
            else:
                assert (model.predict_proba(batch) == 0.5).all()
    both = pa.record_batch({"x": pa.array([3.0, *x, np.inf], type_)})
    with pytest.raises(DataError, match="'x' holds an infinite value"):
        model.predict_proba(both)


def test_columns_to_fill_must_fit(model):
    (batch,) = TABLE.combine_chunks().to_batches()
    for columns in (
        np.empty((2, 568), np.float32),
        np.empty((3, 569), np.float32),
        np.empty((2, 569)),
        np.empty((569, 2), np.float32).T,
        np.empty(1138, np.float32),
    ):
        with pytest.raises(ValueError, match=r"C-contiguous array of float32 with 2 rows of at least 569"):
            model.fill_columns(batch, columns)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    "kind", [{"layer_norm": True}, {"activation": "gelu"}, {"ensemble": 3}, {"ensemble": 2, "layer_norm": True}]
)
def test_networks_of_every_kind(tmp_path, kind, dtype):
    """They score by their rows: the bits are those of the network, whatever the batches and the threads."""
    plan = Plan(hidden=(9,), epochs=2, dtype=dtype, options=TrainOptions("adam", step_size=1e-2), **kind)
    for target, task in (("diagnosis", None), ("mean_texture", "regression")):
        ignore = ["id", "diagnosis"] if task else ["id"]
        trained = prepare(TABLE, target, replace(plan, task=task), ignore).run().model
        trained.save(tmp_path / "m")
        model = Model.load(tmp_path / "m")
        (batch,) = TABLE.combine_chunks().to_batches()
        expected = trained.network.outputs(trained.preprocessor.transform(batch, trained.network.dtype)).T
        for cut in (569, 100, 1):
            found = np.empty(expected.shape, expected.dtype)
            start = 0
            for part in TABLE.to_batches(max_chunksize=cut):
                model.fill_columns(part, found, start, n_threads=1 + cut % 2)
                start += part.num_rows
            assert found.tobytes() == np.ascontiguousarray(expected).tobytes()
        # Rows that can't be scored are flagged, and change no other row.
        bad, found = np.zeros(569, np.bool_), np.empty(expected.shape, expected.dtype)
        place = TABLE.column_names.index("mean_radius")
        values = pa.array([np.inf, *TABLE["mean_radius"].to_pylist()[1:]])
        (batch,) = TABLE.set_column(place, "mean_radius", values).combine_chunks().to_batches()
        model.fill_columns(batch, found, bad=bad)
        assert np.flatnonzero(bad).tolist() == [0]
        np.testing.assert_array_equal(found[:, 1:], expected[:, 1:])
        with pytest.raises(DataError, match="'mean_radius' holds an infinite value"):
            model.fill_columns(batch, found)


def test_tables_of_many_kinds_give_the_same(model, tmp_path):
    expected = model.predict_proba(TABLE)
    pq.write_table(TABLE, tmp_path / "t.parquet", row_group_size=100)
    encoded = TABLE.set_column(TABLE.column_names.index("size"), "size", TABLE["size"].dictionary_encode()).select(
        TABLE.column_names[::-1]
    )
    (batch,) = TABLE.combine_chunks().to_batches()
    for data in (
        pq.read_table(tmp_path / "t.parquet"),
        encoded,
        batch,
        TABLE.to_pandas(),
        TABLE.drop_columns(["id", "diagnosis"]),
    ):
        np.testing.assert_array_equal(model.predict_proba(data), expected)
    assert isinstance(TABLE.to_pandas(), pd.DataFrame)
    for wrong in (expected, [[1.0]], None):
        with pytest.raises(TypeError, match="speaks Arrow"):
            model.predict_proba(wrong)


def test_no_rows(model):
    assert model.predict_proba(TABLE.slice(0, 0)).shape == (0, 2)
    assert model.predict(TABLE.slice(0, 0)).shape == (0,)


def test_save_and_load(model, tmp_path):
    model.save(tmp_path / "m")
    again = Model.load(tmp_path / "m")
    assert again.predict_proba(TABLE).tobytes() == model.predict_proba(TABLE).tobytes()
    assert (again.schema, again.preprocessor, again.target) == (model.schema, model.preprocessor, "diagnosis")
    assert again.classes.tolist() == ["benign", "malignant"]


@pytest.mark.parametrize("labels", [[3, 1, 7], ["α", "b", "c,"], [True, False]])
def test_labels_survive_the_file_with_their_types(labels, tmp_path):
    table = pa.table({"x": np.arange(60.0), "y": [labels[i % len(labels)] for i in range(60)]})
    model = train(table, "y", dataclasses.replace(PLAN, epochs=1, validation=0)).model
    model.save(tmp_path / "m")
    again = Model.load(tmp_path / "m")
    assert again.classes.tolist() == sorted(labels) and again.classes.dtype == model.classes.dtype
    assert set(again.predict(table).tolist()) <= set(labels)


def test_files_of_the_wrong_kind(model, tmp_path):
    model.network.save(tmp_path / "network")
    with pytest.raises(ModelFileError, match=r"fastnn\.Network\.load"):
        Model.load(tmp_path / "network")
    model.save(tmp_path / "model")
    with pytest.raises(ModelFileError, match=r"fastnn\.pipeline\.Model\.load"):
        Network.load(tmp_path / "model")
    modelfile.save(tmp_path / "other", {}, {"kind": "something"})
    with pytest.raises(ModelFileError, match="something"):
        Model.load(tmp_path / "other")


def test_parts_that_do_not_fit(model, tmp_path):
    model.save(tmp_path / "m")
    tensors, description = modelfile.load(tmp_path / "m")
    first, *others = description["schema"]
    changes = [
        {"schema": others},
        {"schema": [{**first, "name": "other"}, *others]},
        {"schema": [{**first, "kind": "category"}, *others]},
        {"schema": [{name: word for name, word in first.items() if name != "family"}, *others]},
        {"schema": None},
        {"preprocessing": description["preprocessing"][1:]},
        {"preprocessing": {}},
        {"preprocessing": [_with_half_a_character(column) for column in description["preprocessing"]]},
        {"network": {**description["network"], "classes": None}},
        {"network": {**description["network"], "classes": {"dtype": "str", "labels": ["a", "\ud800"]}}},
        {"network": {**description["network"], "output": "identity"}},
        {"network": {**description["network"], "output": "logistic"}},
        {"network": {**description["network"], "sizes": [1, 2]}},
        {"network": 3},
    ]
    for change in changes:
        modelfile.save(tmp_path / "broken", tensors, {**description, **change})
        with pytest.raises(ModelFileError, match="don't fit together"):
            Model.load(tmp_path / "broken")
    for name in tensors:
        modelfile.save(tmp_path / "broken", {n: a for n, a in tensors.items() if n != name}, description)
        with pytest.raises(ModelFileError, match="don't fit together"):
            Model.load(tmp_path / "broken")


def _with_half_a_character(column):
    """The first category replaced."""
    return {**column, "categories": ["\ud800", *column["categories"][1:]]} if "categories" in column else column


def test_truncated_or_flipped_file(model, tmp_path):
    model.save(tmp_path / "m")
    content = (tmp_path / "m").read_bytes()
    header = 8 + int.from_bytes(content[:8], "little")
    for length in [*range(0, header, 11), *range(header, len(content), 101)]:
        (tmp_path / "m").write_bytes(content[:length])
        with pytest.raises(ModelFileError):
            Model.load(tmp_path / "m")
    for position in [*range(header), *range(header, len(content), 97)]:
        (tmp_path / "m").write_bytes(content[:position] + bytes([content[position] ^ 0x10]) + content[position + 1 :])
        with pytest.raises(ModelFileError):
            Model.load(tmp_path / "m")


def test_wrong_tables_are_refused_by_name(model):
    renamed = TABLE.rename_columns([{"size": "Size"}.get(name, name) for name in TABLE.column_names])
    with pytest.raises(SchemaError, match="no column 'size'"):
        model.predict_proba(renamed)
    retyped = TABLE.set_column(0, "mean_radius", TABLE["mean_radius"].cast(pa.string()))
    with pytest.raises(SchemaError, match="'mean_radius' is string, but was double"):
        model.predict(retyped)
    infinite = TABLE.set_column(0, "mean_radius", pa.array([np.inf] * 569))
    with pytest.raises(DataError, match="'mean_radius' holds an infinite value"):
        model.predict(infinite)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.slice(0, 0), "no rows"),
        (lambda t: t.filter(pa.compute.equal(t["diagnosis"], "benign")), "one class only"),
        (lambda t: t.drop_columns(["diagnosis"]), "no column 'diagnosis'"),
        (lambda t: t.select(["diagnosis", "id"]), "no column to learn from"),
        (lambda t: t.append_column("when", pa.array([0] * 569, pa.duration("s"))), "--ignore when"),
        (lambda t: t.slice(100, 2), "Holding out 0.1 of 2 rows"),
    ],
)
def test_data_that_can_t_be_learnt(change, message):
    with pytest.raises(DataError, match=message):
        train(change(TABLE), "diagnosis", PLAN, ignore=["id"])


def test_features_are_named(model):
    assert "size=large" in model.network.feature_names and "mean_area is missing" in model.network.feature_names


def test_compiling_beforehand_leaves_no_trace(tmp_path):
    for name in ("a", "b"):
        training = prepare(TABLE, "diagnosis", PLAN, ["id"])
        if name == "b":
            training.compile()
        training.run().model.save(tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
