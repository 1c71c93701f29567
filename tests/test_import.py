"""`import fastnn` is quick, and imports no other libraries than NumPy and Numba."""

from importlib.metadata import version

import pytest
from child import run

import fastnn


def test_import_brings_numpy_and_numba_only():
    code = """
    import sys
    import numba
    before = {name.partition(".")[0] for name in sys.modules}
    import fastnn
    new = {name.partition(".")[0] for name in sys.modules} - before - sys.stdlib_module_names
    assert new == {"fastnn"}, sorted(new)
    for library in ("sklearn", "pyarrow", "matplotlib", "safetensors", "typer", "rich"):
        assert library not in sys.modules, library
    """
    run(code)


def test_import_takes_at_most_60_ms_more_than_numba(tmp_path):
    # With compiled bytecode, as an installed package has it: the first run writes the bytecode.
    code = """
    import time, numba
    began = time.perf_counter()
    import fastnn
    print(time.perf_counter() - began)
    """
    environment = {"PYTHONPYCACHEPREFIX": str(tmp_path), "PYTHONDONTWRITEBYTECODE": ""}
    assert min(float(run(code, **environment)) for _ in range(8)) <= 0.060


def test_training_and_scoring_work_without_the_other_libraries():
    """The estimators' ImportError then names the library that is missing."""
    code = """
    import sys
    for library in ("sklearn", "scipy", "pyarrow", "matplotlib", "typer", "rich"):
        sys.modules[library] = None
    import numpy as np
    import fastnn
    net = fastnn.Network.create([3, 4, 2], classes=["no", "yes"])
    X = np.random.default_rng(0).standard_normal((20, 3))
    fastnn.train(net, X, np.where(X[:, 0] > 0, "yes", "no"), epochs=2)
    assert set(net.predict(X)) <= {"no", "yes"}
    try:
        fastnn.MLPClassifier
    except ImportError as error:
        assert "sklearn" in str(error)
    else:
        raise AssertionError
    """
    run(code)


def test_a_training_imports_only_the_kernels_of_its_kind(tmp_path):
    code = """
    import sys
    import numpy as np
    import fastnn
    net, X = fastnn.Network.create([3, 4, 2]), np.ones((2, 3))
    fastnn.train(net, X, np.array([0, 1]), epochs=1)
    net.predict(X)
    net.to_onnx(sys.argv[1])
    for few in ("forward.normalised", *("epoch." + name for name in ("general", "sparse", "normalised", "panels"))):
        assert f"fastnn.kernels.{few}" not in sys.modules
    """
    run(code, str(tmp_path / "net.onnx"), warnings="default")


def test_public_names():
    for name in fastnn.__all__:
        assert getattr(fastnn, name) is not None
    assert fastnn.MLPClassifier.__name__ == "MLPClassifier"
    assert fastnn.MLPRegressor.__name__ == "MLPRegressor"
    with pytest.raises(AttributeError, match="has no attribute 'MLPTransformer'"):
        fastnn.MLPTransformer  # noqa: B018


def test_public_names_are_there_after_the_import_alone():
    code = """
    import fastnn
    assert {*fastnn.__all__, "callbacks"} <= {*dir(fastnn)}
    assert {*fastnn.kernels.__all__} <= {*dir(fastnn.kernels)}
    assert fastnn.callbacks.ProgressBar
    """
    run(code)


def test_the_version_is_the_distributions():
    assert version("fastnn-numba") == fastnn.__version__
