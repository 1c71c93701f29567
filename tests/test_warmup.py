"""A warm-up compiles every kernel except those of the rare kinds of training that aren't in `KINDS`."""

from pathlib import Path

from child import run


def test_every_kernel_is_compiled_for_both_dtypes():
    """In a process of its own, for in this one other tests have compiled kernels before."""
    code = """
    import sys
    sys.path.insert(0, sys.argv[1])
    from fastnn.warmup import warm_up
    steps = []
    warm_up(steps.append)
    assert steps[0].startswith("float32") and any(step.startswith("float64") for step in steps)
    from cases import all_kernels
    missing = [kernel.name for kernel in all_kernels() if len(kernel.compiled.signatures) != 2]
    assert not missing, missing
    """
    run(code, str(Path(__file__).parent))
