"""Slow tests run only when asked for, and ``--fast`` runs the fast checks only."""

from pathlib import Path

import pytest

TESTS = Path(__file__).parent
# The tests that ``--fast`` runs: style, types and layering; the equations, networks, training and files.
FAST = (
    "test_checks.py",
    "test_house.py",
    "test_layering.py",
    "kernels/equations/test_activation.py",
    "kernels/equations/test_loss.py",
    "kernels/equations/test_solver.py",
    "kernels/functions",
    "kernels/test_programs.py",
    "network/test_network.py",
    "network/test_parameters.py",
    "network/test_samples.py",
    "training/test_option_table.py",
    "training/test_options.py",
    "training/test_schedule.py",
    "training/test_state.py",
    "training/test_stopping.py",
    "pipeline/columns/test_schema.py",
    "pipeline/io/test_discovery.py",
)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add ``--fast``."""
    parser.addoption("--fast", action="store_true", help="run the fast checks only")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what isn't asked for: the slow tests, unless `-m` names them, and with ``--fast`` all but `FAST`."""
    left_out = []
    if "slow" not in config.option.markexpr:
        left_out = [item for item in items if item.get_closest_marker("slow")]
    if config.option.fast:
        fast = [TESTS / name for name in FAST]
        left_out += [item for item in items if not any(item.path.is_relative_to(path) for path in fast)]
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if item not in set(left_out)]
