"""The compile cache: private, found again, and compiled anew if stale or broken. fastnn works without it, too."""

import ast
import os
import re
import shutil
import stat
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from textwrap import dedent

import numba
import numpy as np
import pytest
from child import run

import fastnn
from fastnn.runtime import compile_cache

# In a child: checks one small kernel's result, and prints how often the kernel was loaded and how often compiled.
WORK = """
import numba
import numpy as np
import fastnn
from fastnn.kernels.functions.layers import _tanh
z = np.linspace(-3, 3, 100, dtype=np.float32)
np.testing.assert_allclose(fastnn.kernels.tanh(z), np.tanh(z), rtol=1e-6)
stats = _tanh.compiled.stats
print(sum(stats.cache_hits.values()), sum(stats.cache_misses.values()))
"""
LOADED, COMPILED = "1 0\n", "0 1\n"
posix = pytest.mark.skipif(not hasattr(os, "getuid"), reason="owners and modes are POSIX's")


@pytest.fixture(scope="module")
def filled(tmp_path_factory) -> Path:
    """A cache that holds the kernel of `WORK`."""
    directory = tmp_path_factory.mktemp("cache") / "of" / "mine"
    assert run(WORK, FASTNN_CACHE_DIR=str(directory)) == COMPILED
    return directory


@pytest.fixture
def cache(filled, tmp_path) -> Path:
    """A copy of the filled cache, which a test may damage."""
    return Path(shutil.copytree(filled, tmp_path / "cache"))


def files(cache: Path, kind: str) -> list[Path]:
    """The cache's index files (nbi), or its files of machine code (nbc)."""
    found = sorted(cache.rglob(f"*.{kind}"))
    assert found
    return found


def test_the_next_process_loads_what_the_last_one_compiled(cache):
    assert run(WORK, FASTNN_CACHE_DIR=str(cache)) == LOADED


@posix
def test_the_directory_is_the_users_own(filled, cache):
    ours = cache / "kernels"
    assert stat.S_IMODE((filled / "kernels").stat().st_mode) == 0o700
    for mode in (0o777, 0o770):  # whoever may write here may run code as this user
        cache.chmod(mode)
        ours.chmod(mode)
        assert run(WORK, FASTNN_CACHE_DIR=str(cache)) == LOADED
        assert stat.S_IMODE(ours.stat().st_mode) == 0o700
        assert stat.S_IMODE(cache.stat().st_mode) == mode  # this folder is the user's own, so fastnn leaves its mode


@posix
def test_somebody_elses_directory_is_not_used(cache, monkeypatch):
    assert compile_cache._make_private(cache)
    monkeypatch.setattr(os, "getuid", lambda: os.stat(cache).st_uid + 1)
    assert not compile_cache._make_private(cache)


@posix
def test_a_link_is_not_followed(cache, tmp_path):
    """In a temporary directory that everybody may write to, somebody else may have made the link."""
    (tmp_path / "link").symlink_to(cache, target_is_directory=True)
    assert not compile_cache._make_private(tmp_path / "link")


@pytest.mark.parametrize("kind", ["nbi", "nbc"])
@pytest.mark.parametrize(
    "harm",
    [lambda content: b"", lambda content: content[:-1], lambda content: b"\0" * len(content)],
    ids=["empty", "one byte short", "zeros"],
)
def test_a_broken_file_is_compiled_anew(cache, kind, harm):
    for path in files(cache, kind):
        path.write_bytes(harm(path.read_bytes()))
    assert run(WORK, FASTNN_CACHE_DIR=str(cache)) == COMPILED
    assert run(WORK, FASTNN_CACHE_DIR=str(cache)) == LOADED


@pytest.mark.parametrize(
    ("kind", "harm"),
    [("nbi", "content[:at]"), ("nbc", "content[:at]"), ("nbc", "content[:at] + bytes(64) + content[at + 64:]")],
    ids=["index cut", "code cut", "code damaged"],
)
def test_no_broken_file_is_loaded(cache, kind, harm):
    """No file is loaded, wherever it is broken. Damaged code would end the process when it is run, or even linked."""
    code = """
    import sys
    from pathlib import Path
    import numpy as np
    import fastnn
    from fastnn.kernels.functions.layers import _tanh
    fastnn.kernels.tanh(np.ones(1, np.float32))
    kernel = _tanh.compiled
    [signature] = kernel.signatures
    index, machine_code = map(Path, sys.argv[1:])
    whole = {path: path.read_bytes() for path in (index, machine_code)}
    broken = index if "KIND" == "nbi" else machine_code
    content = whole[broken]
    for at in range(0, len(content), max(1, len(content) // 50)):
        for path in whole:
            path.write_bytes(whole[path])
        if at == 0:
            assert kernel._cache.load_overload(signature, kernel.targetctx) is not None
        broken.write_bytes(HARM)
        assert kernel._cache.load_overload(signature, kernel.targetctx) is None, at
    """
    paths = map(str, files(cache, "nbi") + files(cache, "nbc"))
    run(code.replace("KIND", kind).replace("HARM", harm), *paths, FASTNN_CACHE_DIR=str(cache))


def test_missing_code_and_strange_files_are_no_error(cache):
    for path in files(cache, "nbc"):
        path.unlink()
    assert run(WORK, FASTNN_CACHE_DIR=str(cache)) == COMPILED
    for path in files(cache, "nbi"):
        path.unlink()
        path.mkdir()
    assert run(WORK, FASTNN_CACHE_DIR=str(cache)) == COMPILED


@pytest.mark.parametrize(
    ("edited", "more"),
    [
        (
            "kernels/equations/elementary.py",
            """
            from numba.extending import register_jitable
            @register_jitable
            def tanh_of(x):
                return -x
            """,
        ),
        (
            "kernels/simd/numbers.py",
            """
            @intrinsic
            def fma(typingctx, a, b, c):
                return a(a, b, c), lambda context, builder, signature, args: args[0]
            """,
        ),
    ],
)
def test_an_edit_in_a_file_that_the_kernel_calls_is_noticed(cache, tmp_path, edited, more):
    """Numba looks at the kernel's own file only, and would run the old code."""
    package = shutil.copytree(Path(fastnn.__file__).parent, tmp_path / "edited" / "fastnn")
    ask = """
    import numpy as np
    import fastnn
    print(fastnn.__file__)
    print(float(fastnn.kernels.tanh(np.full(1, 0.7, np.float32))[0]))
    """

    def answer() -> float:
        where, value = run(ask, FASTNN_CACHE_DIR=str(cache), PYTHONPATH=str(package.parent)).split()
        assert Path(where).parent == package
        return float(value)

    assert answer() == pytest.approx(np.tanh(0.7), rel=1e-6)
    with open(package / edited, "a") as source:
        source.write(dedent(more))
    assert abs(answer() - np.tanh(0.7)) > 1e-2


def test_processes_may_fill_one_cache_at_once(tmp_path):
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: run(WORK, FASTNN_CACHE_DIR=str(tmp_path / "shared")), range(4)))
    assert set(answers) <= {LOADED, COMPILED}
    assert run(WORK, FASTNN_CACHE_DIR=str(tmp_path / "shared")) == LOADED


def test_without_a_directory_it_compiles_and_warns_once(tmp_path):
    (tmp_path / "file").touch()  # a directory below a file: nobody can make it, root included
    directory = str(tmp_path / "file" / "cache")
    environment = {**os.environ, "FASTNN_CACHE_DIR": directory}
    finished = subprocess.run(
        [sys.executable, "-P", "-W", "always", "-c", WORK], env=environment, capture_output=True, text=True, check=True
    )
    assert finished.stdout == COMPILED
    warned = re.findall(r"RuntimeWarning: (.*)", finished.stderr)
    assert len(warned) == 1
    assert directory in warned[0]
    assert "FASTNN_CACHE_DIR" in warned[0]


@posix
def test_a_read_only_installation_without_a_home(tmp_path):
    """As in a container that runs as nobody: one warning, right results, nothing written beside the sources."""
    package = shutil.copytree(Path(fastnn.__file__).parent, tmp_path / "installed" / "fastnn")
    for path in (package, *package.rglob("*")):
        path.chmod(0o555 if path.is_dir() else 0o444)
    (tmp_path / "file").touch()
    nowhere = str(tmp_path / "file")
    environment = {
        "HOME": nowhere,
        "XDG_CACHE_HOME": nowhere,
        "FASTNN_CACHE_DIR": "",
        "PYTHONPATH": str(package.parent),
    }
    code = f"import tempfile; tempfile.tempdir = {nowhere!r}; import fastnn; print(fastnn.__file__)" + WORK
    finished = subprocess.run(
        [sys.executable, "-P", "-B", "-W", "always::RuntimeWarning", "-c", code],
        env={**os.environ, **environment},
        cwd="/",
        capture_output=True,
        text=True,
        check=True,
    )
    assert finished.stdout == f"{package / '__init__.py'}\n{COMPILED}"
    assert finished.stderr.count("RuntimeWarning") == 1 and "Set FASTNN_CACHE_DIR" in finished.stderr
    assert not [path for path in package.rglob("*") if path.suffix in (".nbi", ".nbc", ".tmp")]


@posix
def test_a_filled_cache_that_can_not_be_written_is_used(cache, tmp_path):
    """As in a container with a read-only file system. Root may write anywhere, so the test makes writing fail."""
    read_only = """
    import tempfile
    def refuse(*_, **__):
        raise OSError(30, "Read-only file system")
    tempfile.TemporaryFile = refuse
    """
    assert run(dedent(read_only) + WORK, FASTNN_CACHE_DIR=str(cache)) == LOADED
    (cache / "kernels").chmod(0o755)  # the folder is no longer private, so its files can't be trusted
    with pytest.raises(AssertionError, match="can't keep compiled kernels"):
        run(dedent(read_only) + "import os; os.chmod = refuse\n" + WORK, FASTNN_CACHE_DIR=str(cache))


@posix
@pytest.mark.parametrize("room", [0, 100, 10_000])
def test_a_full_disk(tmp_path, room):
    """A limit on the size of files stands for a full disk. The next process doesn't run a file that was cut short."""
    limited = f"import resource\nresource.setrlimit(resource.RLIMIT_FSIZE, ({room}, {room}))\n" + WORK
    for _ in range(2):
        assert run(limited, FASTNN_CACHE_DIR=str(tmp_path)) == COMPILED
    assert run(WORK, FASTNN_CACHE_DIR=str(tmp_path)) == COMPILED
    assert run(WORK, FASTNN_CACHE_DIR=str(tmp_path)) == LOADED


@posix
def test_without_a_home_it_is_kept_below_the_temporary_directory(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    environment = {"HOME": str(tmp_path / "file"), "XDG_CACHE_HOME": str(tmp_path / "file"), "TMPDIR": str(tmp_path)}
    monkeypatch.delenv("FASTNN_CACHE_DIR", raising=False)
    assert run(WORK, **environment) == COMPILED
    assert run(WORK, **environment) == LOADED
    kept = tmp_path / f"fastnn-cache-{os.getuid()}" / "kernels"
    assert stat.S_IMODE(kept.stat().st_mode) == 0o700
    assert files(kept, "nbc")


def test_the_cache_belongs_where_the_platform_keeps_caches(monkeypatch):
    home = Path.home()
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(sys, "platform", "linux")
    assert compile_cache.user_cache_root() == home / ".cache"
    monkeypatch.setenv("XDG_CACHE_HOME", tempfile.gettempdir())
    assert compile_cache.user_cache_root() == Path(tempfile.gettempdir())
    monkeypatch.setattr(sys, "platform", "darwin")
    assert compile_cache.user_cache_root() == home / "Library" / "Caches"
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setenv("LOCALAPPDATA", "C:/Local")
    assert compile_cache.user_cache_root() == Path("C:/Local")


def test_a_region_is_kept_too(tmp_path):
    """One thread and several threads run the same kernel. The region, which splits it, has a file of its own."""
    code = """
    import numpy as np
    from fastnn.kernels.functions.layers import Elementwise, _tanh
    from fastnn.runtime.launch import launch
    from fastnn.runtime.region import _region
    z = np.linspace(-3, 3, 100, dtype=np.float32)
    for threads in (1, 2):
        launch(_tanh, Elementwise(z, np.empty_like(z)), threads=threads)
    print(sum(_tanh.compiled.stats.cache_hits.values()), sum(_region.stats.cache_hits.values()))
    """
    environment = {"FASTNN_CACHE_DIR": str(tmp_path), "NUMBA_NUM_THREADS": "2"}
    assert run(code, **environment) == "0 0\n"
    assert run(code, **environment) == "1 1\n"
    assert len(files(tmp_path, "nbi")) == 2


COMPILERS = {"njit", "jit", "jit_entry", "jit_parallel", "intrinsic", "inline", "register_jitable", "overload"} | {
    "instance",
    "kernel",
}


def test_every_file_that_compiles_is_in_the_stamp():
    """Machine code of a file outside of the stamp's folders would still run after an edit of that file."""
    package = Path(fastnn.__file__).parent
    compiling = set()
    for path in package.rglob("*.py"):
        nodes = list(ast.walk(ast.parse(path.read_text())))
        imported = {name.name for node in nodes if isinstance(node, ast.ImportFrom) for name in node.names}
        attributes = {
            node.attr for node in nodes if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "numba"
        }
        if (imported | attributes) & COMPILERS:
            compiling.add(path.relative_to(package).parts[0])
    assert compiling == set(compile_cache.STAMPED)


@pytest.mark.parametrize("place", ["kernels/new.py", "kernels/a/deeper/folder/new.py", "runtime/folder/new.py"])
def test_a_file_in_any_folder_of_the_kernels_changes_the_stamp(monkeypatch, tmp_path, place):
    def stamp() -> str:
        return compile_cache.source_stamp.__wrapped__()

    monkeypatch.setattr(compile_cache, "_PACKAGE", tmp_path)
    stamps = [stamp()]
    path = tmp_path / place
    path.parent.mkdir(parents=True)
    for text in ("one = 1", "one = 2"):
        path.write_text(text)
        stamps.append(stamp())
    path.rename(path.with_name("renamed.py"))
    stamps.append(stamp())
    assert len(set(stamps)) == len(stamps)


VARIABLES = {
    "NUMBA_BOUNDSCHECK": "1",
    "NUMBA_CPU_FEATURES": "+sse2",
    "NUMBA_CPU_NAME": "generic",
    "NUMBA_DEBUG_ARRAY_OPT_RUNTIME": "1",
    "NUMBA_DEBUG_NRT": "1",
    "NUMBA_DEBUGINFO": "1",
    "NUMBA_ENABLE_AVX": "2",
    "NUMBA_ENABLE_PROFILING": "1",
    "NUMBA_EXTEND_VARIABLE_LIFETIMES": "1",
    "NUMBA_LLVM_REFPRUNE_FLAGS": "per_bb",
    "NUMBA_LLVM_REFPRUNE_PASS": "0",
    "NUMBA_LOOP_VECTORIZE": "0",
    "NUMBA_OPT": "max",
    "NUMBA_PARFOR_MAX_TUPLE_SIZE": "50",
    "NUMBA_SLP_VECTORIZE": "1",
}


def test_each_variable_that_changes_code_changes_the_stamp():
    """Numba reads the environment again before it compiles, so a variable counts even if it is set late."""
    code = f"""
    import os
    import numba
    from fastnn.runtime.compile_cache import source_stamp
    def stamp():
        numba.core.config.reload_config()
        return source_stamp.__wrapped__()
    usual = stamp()
    for name, value in {VARIABLES!r}.items():
        os.environ[name] = value
        assert stamp() != usual, name
        del os.environ[name]
        assert stamp() == usual, name
    """
    run(code)


def test_every_setting_of_the_stamp_is_numbas():
    """The stamp would look in vain for a setting that Numba doesn't know."""
    assert not [name for name in compile_cache.SETTINGS if not hasattr(numba.config, name)]
