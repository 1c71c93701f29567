"""The README's block of Python runs as written."""

import re
import subprocess
import sys
from pathlib import Path

README = Path(__file__).parent.parent / "README.md"


def test_python_block_runs(tmp_path: Path) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    run = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
    accuracy, labels = run.stdout.splitlines()
    assert float(accuracy) > 0.95
    assert re.fullmatch(r"\[\d( \d){4}\]", labels)
    assert (tmp_path / "digits.safetensors").exists()
