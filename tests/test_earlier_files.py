"""Model files, checkpoints and pickles that earlier versions wrote load, and go on, to the same bits."""

import json
import shutil
from pathlib import Path

import pytest
from earlier_files import CASES, EXPECTED, results

DATA = Path(__file__).with_name("data")
VERSIONS = sorted(path.name for path in DATA.iterdir())


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("name", CASES)
def test_it_loads_and_goes_on_to_the_same_bits(version, name, tmp_path):
    path = Path(shutil.copy(DATA / version / name, tmp_path))
    assert results(CASES[name], path) == json.loads((DATA / version / EXPECTED).read_text())[name]


@pytest.mark.parametrize("version", VERSIONS)
def test_every_file_is_tested(version):
    assert {path.name for path in (DATA / version).iterdir()} == {*CASES, EXPECTED}
