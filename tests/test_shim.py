"""The framework of the shim on a package that looks like Axolotl: process-wide, so in processes."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import implementations
import pytest

pytestmark = pytest.mark.skipif(
    implementations.WITHOUT_RUST, reason="nothing is patched without the extension"
)

UTILS = '''
"""Defines what is replaced."""
from axolotl import circular  # copies a name while this module is half done

def triple(x, *, by=3):
    """Multiply."""
    return x * by

class Sampler:
    """Has methods of every kind."""
    def __init__(self, n): self.n = n
    def batches(self, k: int = 2) -> int:
        """Count."""
        return self.n * k
    @staticmethod
    def fixed(a): return a + 1
    @classmethod
    def made(cls, a): return cls(a).n

def helper(): return 1

def unknown(): return 1
'''.replace("from axolotl import circular", "")
CIRCULAR = "from axolotl.utils.data.utils import triple\n"
FILES = {
    "axolotl/__init__.py": "__version__ = '0.19.0'\n",
    "axolotl/utils/__init__.py": "",
    "axolotl/utils/data/__init__.py": "from axolotl.utils.data.utils import triple\n",
    "axolotl/utils/data/utils.py": UTILS + "\nimport axolotl.circular\n",
    "axolotl/circular.py": CIRCULAR,
    "axolotl/later.py": "from axolotl.utils.data.utils import triple, Sampler\n",
    "user.py": "from axolotl.utils.data.utils import triple\nkept = [triple]\n",
}

PRELUDE = """
import hashlib, inspect, logging, pickle, sys, threading
logs = []
class Handler(logging.Handler):
    def emit(self, record): logs.append((record.levelname, record.getMessage()))
logging.getLogger("fast_axolotl.axolotl").addHandler(Handler())
logging.getLogger("fast_axolotl.axolotl").setLevel(logging.INFO)
BEFORE
import fast_axolotl
from fast_axolotl.axolotl import patching, shim
from fast_axolotl.axolotl.patch_map import Seam
from fast_axolotl.dispatch import Call, Condition, Sizes
NAME = "axolotl.utils.data.utils"
calls = []
def digest(attribute):
    import importlib.util
    source = open(importlib.util.find_spec("axolotl").submodule_search_locations[0]
                  + "/utils/data/utils.py").read()
    scope = {}
    import ast
    *path, name = attribute.split(".")
    node = ast.parse(source)
    for part in (*path, name):
        node = next(n for n in node.body if getattr(n, "name", None) == part)
    first = min([node.lineno] + [d.lineno for d in node.decorator_list])
    lines = source.splitlines(keepends=True)[first - 1 : node.end_lineno]
    return {"0.19.0": hashlib.sha256("".join(lines).encode()).hexdigest()}
def build(original):
    def ours(*args, **kwargs):
        calls.append(original.__name__)
        return original(*args, **kwargs)
    return ours
def seam(attribute, **more):
    return Seam(**{**dict(name="fake_" + attribute, module=NAME, attribute=attribute, build=build,
                digests=digest(attribute), operation="filter",
                describe=lambda a, k: Call("axolotl", "axolotl", Sizes(1, 1, 1))), **more})
SEAMS = [seam("triple"), seam("Sampler.batches"), seam("Sampler.fixed"), seam("Sampler.made")]
shim.seams_of = lambda module: SEAMS if module == NAME else []
AFTER
"""


@pytest.fixture
def run(tmp_path: Path):
    """Run code in a process where `axolotl` is the package above."""
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)

    def start(code: str, before: str = "", **variables: str) -> str:
        # Installed anew once the fake seams are known: import fast_axolotl has patched already.
        prelude = PRELUDE.replace("BEFORE", before).replace(
            "AFTER", "shim.uninstall(); shim.install()"
        )
        environment = {k: v for k, v in os.environ.items() if not k.startswith("FAST_AXOLOTL_")}
        environment.update(PYTHONPATH=str(tmp_path), **variables)
        script = tmp_path / "script.py"  # a file, so that a traceback shows the line
        script.write_text(
            prelude
            + "if __name__ == '__main__':\n"
            + textwrap.indent(textwrap.dedent(code), "    ")
        )
        done = subprocess.run(
            [sys.executable, script],
            env=environment,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=100,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    start.folder = tmp_path
    return start


ORDERS = pytest.mark.parametrize(
    "before", ["", "import user, axolotl.later"], ids=["ours first", "Axolotl first"]
)

REPLACED = """
import user, axolotl.later, axolotl.utils.data, axolotl.circular
import axolotl.utils.data.utils as utils
places = [user, axolotl.later, axolotl.utils.data, axolotl.circular, utils]
for place in places:
    assert place.triple is utils.triple, place
assert utils.triple(2) == 6 and utils.triple(2, by=4) == 8
s = utils.Sampler(3)
assert s.batches() == 6 and s.batches(k=3) == 9
assert utils.Sampler.fixed(1) == 2 and s.fixed(1) == 2
assert utils.Sampler.made(5) == 5
assert calls == ["triple", "triple", "batches", "batches", "fixed", "fixed", "made"], calls
"""


@ORDERS
def test_every_name_is_replaced_in_either_order(run, before: str) -> None:
    run(REPLACED, before)


@ORDERS
def test_uninstall_puts_back_by_identity(run, before: str) -> None:
    run(
        """
        import user, axolotl.later, axolotl.utils.data, axolotl.circular
        import axolotl.utils.data.utils as utils
        ours = utils.triple
        patches = dict(patching.applied)
        assert len(patches) == 4
        held = user.triple
        assert fast_axolotl.uninstall() is True and fast_axolotl.uninstall() is False
        for patch in patches.values():
            assert vars(patch.owner)[patch.name] is patch.original
        for place in (user, axolotl.later, axolotl.utils.data, axolotl.circular):
            assert place.triple is utils.triple and place.triple is not ours
        # Who still holds ours gets the original's answer, in every mode.
        calls.clear()
        for mode in ("auto", "rust", "python", "verify"):
            with fast_axolotl.dispatch_mode(mode):
                assert held(2) == 6
        assert not calls and "fake_triple" not in fast_axolotl.dispatch.registry.FUNCTIONS
        assert fast_axolotl.install() is True and fast_axolotl.install() is False
        assert user.triple is utils.triple and user.triple(2) == 6 and calls == ["triple"]
        """,
        before,
    )


@ORDERS
def test_a_replacement_looks_like_the_original(run, before: str) -> None:
    run(
        """
        import subprocess
        import axolotl.utils.data.utils as utils
        for patch in patching.applied.values():
            old, new = patching.unbound(patch.original), patching.unbound(patch.replacement)
            for name in ("__name__", "__qualname__", "__doc__", "__module__", "__dict__"):
                if name != "__dict__":
                    assert getattr(old, name) == getattr(new, name), name
            assert inspect.signature(old) == inspect.signature(new)
            assert inspect.getfullargspec(old) == inspect.getfullargspec(new)
            assert inspect.getsource(old) == inspect.getsource(new)
            assert type(new) is type(old) and type(patch.original) is type(patch.replacement)
        for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
            raw = pickle.dumps(utils.triple, protocol)
            assert pickle.loads(raw) is utils.triple
            # By reference, as the original's: a child that knows nothing of us finds Axolotl's.
            code = (f"import pickle, sys; f = pickle.loads({raw!r}); assert f(2) == 6; "
                    "assert f.__code__.co_name == 'triple' and 'fast_axolotl' not in sys.modules")
            subprocess.run([sys.executable, "-c", code], check=True)
            fast_axolotl.uninstall()
            assert pickle.dumps(utils.triple, protocol) == raw
            fast_axolotl.install()
        """,
        before,
    )


def test_nothing_of_the_hook_stays_on_a_module(run) -> None:
    run(
        """
        import axolotl.later, axolotl.utils.data.utils as utils
        import importlib, importlib.machinery, importlib.util
        assert type(utils.__loader__) is importlib.machinery.SourceFileLoader
        assert utils.__spec__.loader is utils.__loader__
        assert utils.__loader__.get_source(NAME).startswith("\\n")
        first = utils.triple
        assert importlib.reload(utils) is utils
        assert utils.triple is not first and utils.triple(1) == 3 and first(1) == 3
        assert calls == ["triple"], calls
        spec = importlib.util.find_spec("axolotl.utils.data.utils")
        assert spec.origin == utils.__file__
        """
    )


def test_what_is_not_known_is_left_alone_with_one_line(run) -> None:
    run(
        """
        SEAMS[:] = [
            seam("triple", digests={"0.18.0": "0" * 64}),
            seam("unknown"),
            seam("helper", build=lambda original: 1 / 0),
            seam("Sampler.batches", relies_on={"helper": {"0.18.0": "1" * 64}}),
            seam("Sampler.fixed", relies_on={"helper": digest("helper")}),
            seam("unknown")._replace(name="x", attribute="gone"),
            seam("unknown")._replace(name="y", attribute="Sampler.gone"),
            seam("unknown")._replace(name="z", attribute="Gone.gone"),
        ]
        import axolotl.utils.data.utils as utils
        assert sorted(patching.applied) == ["fake_Sampler.fixed", "fake_unknown"]
        fast_axolotl.install()
        lines = [text for level, text in logs if level == "INFO" and "left to Axolotl" in text]
        assert len(lines) == 6, logs
        assert any("fake_triple: left to Axolotl: axolotl.utils.data.utils.triple of Axolotl 0.19.0"
                   " is not the one of 0.18.0" in line for line in lines), lines
        assert any("ZeroDivisionError" in line for line in lines)
        assert not [text for level, text in logs if level not in ("INFO",)]
        assert utils.triple(2) == 6 and not calls
        """
    )


def test_what_others_put_there_is_theirs(run) -> None:
    run(
        """
        import functools
        import axolotl.utils.data.utils as utils
        ours = utils.triple
        theirs = lambda x: -x
        utils.triple = theirs            # after us
        original = patching.applied["fake_triple"].original
        fast_axolotl.uninstall()
        assert utils.triple is theirs
        wrapped = functools.wraps(original)(lambda *a, **k: original(*a, **k) + 1)
        utils.triple = wrapped           # before us: it looks like the original, and is not
        fast_axolotl.install()
        assert utils.triple is wrapped and utils.triple(2) == 7
        assert "replaced or wrapped" in patching.left_alone["fake_triple"]
        """
    )


@pytest.mark.parametrize("value", ["mock.MagicMock()", "5", "types.ModuleType('stub')", "types"])
def test_what_stands_for_a_module_without_an_import_is_left_alone(run, value: str) -> None:
    run(
        """
        assert fast_axolotl.uninstall() and fast_axolotl.install()
        assert not patching.applied and not patching.left_alone and not logs
        """,
        f"""
from unittest import mock
import types
for name in ("axolotl.utils.data.utils", "axolotl.rust_ext"):
    sys.modules[name] = {value}
""",
    )


def test_a_wrapper_in_a_folder_of_a_like_name_is_theirs(run) -> None:
    (run.folder / "axolotl_more.py").write_text(
        "import functools\nimport axolotl.utils.data.utils as utils\noriginal = utils.triple\n"
        "utils.triple = functools.wraps(original)(lambda *a, **k: original(*a, **k) + 1)\n"
    )
    run(
        """
        import axolotl.utils.data.utils as utils
        assert utils.triple(2) == 7 and not calls
        assert "replaced or wrapped" in patching.left_alone["fake_triple"]
        """,
        "import axolotl_more",
    )


def test_a_refused_call_goes_to_the_original_in_every_mode(run) -> None:
    run(
        """
        SEAMS[:] = [seam("triple", conditions=(
            Condition(lambda a, k: type(a[0]) is int, "x is no int"),))]
        import axolotl.utils.data.utils as utils
        for mode in ("auto", "rust", "verify", "python"):
            with fast_axolotl.dispatch_mode(mode):
                calls.clear()
                assert utils.triple("ab") == "ababab" and not calls
                assert utils.triple(2) == 6
                assert calls == ([] if mode == "python" else ["triple"])
        figures = fast_axolotl.stats()["filter"]
        assert figures["python"]["calls"] == 6 and figures["rust"]["calls"] == 3, figures
        assert fast_axolotl.explain("fake_triple").winner == "rust"
        """
    )


def test_verify_compares_results_and_what_happened_to_the_arguments(run) -> None:
    run(
        """
        import contextlib, copy
        from fast_axolotl.dispatch.verify import VerificationError
        def wrong(original):
            return lambda x, **k: (x.append(2), original(x, **k))[1]
        def right(original):
            return lambda x, **k: original(x, **k)
        @contextlib.contextmanager
        def apart(args, kwargs): yield copy.deepcopy(args), kwargs
        import axolotl.utils.data.utils as utils
        for builder, expected in ((right, None), (wrong, "rows|rust has")):
            fast_axolotl.uninstall()
            SEAMS[:] = [seam("triple", build=builder, apart=apart)]
            fast_axolotl.install()
            given = [1]
            with fast_axolotl.dispatch_mode("verify"):
                try:
                    assert utils.triple(given) == [1, 1, 1]
                    assert expected is None
                except VerificationError as error:
                    assert expected is not None and "filter: fake_triple" in str(error)
            assert given == [1]
        """
    )


def test_a_mode_is_taken_from_the_environment_before_axolotl_is_there(run) -> None:
    run(
        """
        import axolotl.utils.data.utils as utils
        assert utils.triple(2) == 6 and not calls
        """,
        FAST_AXOLOTL_DISPATCH="auto,filter=python",
    )


def test_an_import_under_way_keeps_its_finders(run) -> None:
    run(
        """
        found = list(sys.meta_path)
        under_way = iter(sys.meta_path)
        first = next(under_way)
        fast_axolotl.uninstall()
        assert [first, *under_way] == found and len(sys.meta_path) < len(found)
        """
    )


def test_threads(run) -> None:
    run(
        """
        sys.setswitchinterval(1e-5)
        errors = []
        def work(i):
            try:
                for _ in range(40):
                    (fast_axolotl.install if i % 2 else fast_axolotl.uninstall)()
                    import axolotl.later, user
                    assert user.triple(2) == 6
            except BaseException as error:
                errors.append(error)
        threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
        for thread in threads: thread.start()
        for thread in threads: thread.join(60)
        assert not errors and not any(thread.is_alive() for thread in threads), errors
        import axolotl.later, axolotl.circular, user, axolotl.utils.data.utils as utils
        fast_axolotl.uninstall()
        assert not patching.applied
        for place in (user, axolotl.later, axolotl.circular):
            assert place.triple is utils.triple, place
        assert utils.triple.__code__.co_filename == utils.__file__
        fast_axolotl.install()
        assert len(patching.applied) == 4 and user.triple is utils.triple
        """
    )


def test_fork_and_spawn(run) -> None:
    run(
        """
        import multiprocessing, os
        import axolotl.utils.data.utils as utils
        if hasattr(os, "fork"):
            # A thread that holds the lock while others fork must not stop the child.
            stop = threading.Event()
            def churn():
                while not stop.is_set():
                    fast_axolotl.uninstall(); fast_axolotl.install()
            thread = threading.Thread(target=churn)
            thread.start()
            for _ in range(10):
                pid = os.fork()
                if pid == 0:
                    fast_axolotl.install()
                    os._exit(0 if utils.triple(2) == 6 else 1)
                assert os.waitpid(pid, 0)[1] == 0
            stop.set(); thread.join()
        fast_axolotl.install()
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            assert pool.map(utils.triple, [1, 2]) == [3, 6]
        """
    )


def test_without_axolotl_there_is_nothing_to_do(tmp_path: Path) -> None:
    code = """
import sys
class Nothing:
    def find_spec(self, name, path=None, target=None):
        if name == "axolotl": raise ModuleNotFoundError("no axolotl", name=name)
sys.meta_path.insert(0, Nothing())
import fast_axolotl
assert fast_axolotl.install() is False
assert fast_axolotl.uninstall() is True and fast_axolotl.uninstall() is False
assert fast_axolotl.install() is True
assert not [name for name in sys.modules if name.split(".")[0] == "axolotl"]
try:
    fast_axolotl.AxolotlPlugin
except ImportError: pass
else: raise SystemExit("a plugin without Axolotl")
"""
    subprocess.run([sys.executable, "-c", code], check=True, cwd=tmp_path, timeout=60)
