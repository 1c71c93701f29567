"""The kinds of model files: who reads another kind than expected is told how that kind is loaded."""

import pytest

from fastnn.files.kinds import CHECKPOINT, ENSEMBLE, NETWORK, PIPELINE, check_kind
from fastnn.files.modelfile import ModelFileError

LOADED_BY = {
    NETWORK: r"fastnn\.Network\.load",
    ENSEMBLE: r"fastnn\.Ensemble\.load",
    PIPELINE: r"fastnn\.pipeline\.Model\.load",
    CHECKPOINT: "name it to `train` or `fit` again",
}


@pytest.mark.parametrize("expected", LOADED_BY)
@pytest.mark.parametrize("kind", LOADED_BY)
def test_the_message_says_how_a_kind_is_loaded(kind, expected):
    if kind == expected:
        check_kind({"kind": kind}, expected)
        return
    message = "no checkpoint but a model" if expected == CHECKPOINT else LOADED_BY[kind]
    with pytest.raises(ModelFileError, match=message):
        check_kind({"kind": kind}, expected)


@pytest.mark.parametrize("description", [{}, {"kind": None}, {"kind": "something"}, {"kind": [1]}])
def test_unknown_kinds_are_named(description):
    with pytest.raises(ModelFileError, match=r"^file: the file's kind is .*, not 'network'\.$"):
        check_kind(description, NETWORK, "file")
