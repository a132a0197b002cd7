"""The package as a whole: its public names, its version, what importing it costs, its files."""

from __future__ import annotations

import ast
import importlib
import importlib.metadata
import importlib.util
import json
import os
import pkgutil
import subprocess
import sys
import tomllib
from pathlib import Path
from types import ModuleType

import pytest
from packaging.specifiers import SpecifierSet

import polytask
from polytask import _registry, exceptions

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = Path(polytask.__file__).parent

# These lists are a promise to users: taking a name away needs a new major version. A part (a loss,
# a penalty) may be added without touching them; a name of the top level may not.
PUBLIC = {
    "polytask.statistics": {"TaskStatistics", "collect", "collect_parts"},
    "polytask": {
        "__version__",
        "TaskData",
        "MultiTaskRegressor",
        "MultiTaskClassifier",
        "MultiTaskModel",
        "MultiTaskRegressorCV",
        "MultiTaskClassifierCV",
        "MultiTaskModelCV",
        "MultiTaskRegressorIC",
        "MultiTaskClassifierIC",
        "MultiTaskModelIC",
        "BayesianMultiTaskClassifier",
        "BayesianMultiTaskModel",
        "BayesianMultiTaskRegressor",
        "SingleTask",
        "Pooled",
        "MissingBlocks",
        "Comparison",
        "compare",
        "Relatedness",
        "relatedness",
        "AutoMultiTaskModel",
        "AutoMultiTaskRegressor",
        "AutoMultiTaskClassifier",
        "Adaptation",
        "adapt",
        "Explanation",
        "explain",
        "Monitoring",
        "monitor",
        "calibrate",
        "write_report",
        "save",
        "load",
        "PolytaskError",
        "DataError",
        "ParameterError",
        "IncompatibleError",
        "ConvergenceWarning",
        "DataWarning",
    },
    "polytask.penalties": {
        "Penalty",
        "L1",
        "L2",
        "ElasticNet",
        "L21",
        "SparseGroup",
        "TraceNorm",
        "OutlierTasks",
        "Clustered",
        "LearnedCovariance",
        "coupling",
        "toward_mean",
        "along_graph",
        "NetworkLasso",
        "along_time",
    },
    "polytask.losses": {
        "LOSSES",
        "Gamma",
        "Huber",
        "Loss",
        "Logistic",
        "Multinomial",
        "Poisson",
        "Quantile",
        "SquareRoot",
        "Squared",
        "SquaredHinge",
    },
    "polytask.datasets": {
        "Dataset",
        "load_diabetes_groups",
        "load_digits_few",
        "fetch_computer",
        "fetch_enb",
        "fetch_heart",
        "fetch_landmine",
        "fetch_school",
        "load_wages",
    },
    "polytask.testing": {"check_loss", "check_penalty"},
    "polytask.boosting": {"MixedBoostingClassifier", "MixedBoostingRegressor"},
    "polytask.export": {"log_mlflow", "onnx_inputs", "to_onnx", "to_sklearn"},
}

# What neither `import polytask` nor anything it imports may bring in.
HEAVY = {
    "accelerate", "dask", "jinja2", "lightgbm", "matplotlib", "mlflow", "numba", "onnx", "optuna",
    "pandas", "polars", "pooch", "pyarrow", "rich", "safetensors", "skops", "torch", "typer",
}  # fmt: skip

# Packages that are there with an extra only.
# What needs a package of an extra, and that package.
EXTRAS = {
    "polytask.deep": "torch",
    "polytask.transfer._deep": "torch",
    "polytask.distributed": "dask",
    "polytask.boosting": "lightgbm",
    "polytask.explanation.boosted": "lightgbm",
    "polytask.export.graphs": "onnx",
}
OPTIONAL = tuple(
    name for name, needed in EXTRAS.items() if importlib.util.find_spec(needed) is None
)


def _pyproject() -> dict:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def _pins(name: str) -> dict[str, str]:
    lines = (ROOT / name).read_text(encoding="utf-8").splitlines()
    pairs = [line.split("==") for line in lines if line and not line.startswith("#")]
    return {package.lower().replace("_", "-"): version for package, version in pairs}


# In a process where no extra is installed, all that needs none can be imported.
WITHOUT_EXTRAS = """
import importlib, importlib.machinery, json, sys
given = json.load(sys.stdin)
find = importlib.machinery.PathFinder.find_spec
importlib.machinery.PathFinder.find_spec = lambda name, path=None, target=None: (
    None if name in given["extras"] else find(name, path, target)
)
import polytask
for name in polytask.__all__:
    getattr(polytask, name)
for name in given["modules"]:
    importlib.import_module(name)
"""


def _import_everything() -> None:
    for found in pkgutil.walk_packages([str(PACKAGE)], "polytask."):
        if not found.name.startswith(OPTIONAL) and not found.name.endswith("__main__"):
            importlib.import_module(found.name)


def _tool(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, ROOT / "tools" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_top_level_names_are_exactly_those_promised():
    assert set(polytask.__all__) == PUBLIC["polytask"]


@pytest.mark.parametrize("module", PUBLIC)
def test_promised_names_are_exported_once(module):
    names = importlib.import_module(module).__all__
    assert len(names) == len(set(names))
    assert PUBLIC[module] <= set(names)


@pytest.mark.parametrize(
    ("module", "name"),
    [(module, name) for module, names in PUBLIC.items() for name in sorted(names)],
)
def test_public_name_exists_and_is_listed(module, name):
    home = importlib.import_module(module)
    assert getattr(home, name) is not None
    assert name in dir(home)


def test_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no_such_name"):
        polytask.no_such_name  # noqa: B018 - the access is the test


def test_import_brings_in_nothing_heavy():
    code = (
        "import sys, sklearn.base\n"
        "before = set(sys.modules)\n"
        "import polytask\n"
        "print(*sorted({name.partition('.')[0] for name in set(sys.modules) - before}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"PYTHONPATH": str(PACKAGE.parent)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert HEAVY.isdisjoint(done.stdout.split())


def test_what_needs_no_extra_is_imported_without_any():
    extras = {*EXTRAS.values(), "distributed", "lightgbm", "onnxruntime", "mlflow", "optuna"}
    extras |= {"filelock", "shap", "openpyxl", "xlrd", "polars", "statsmodels", "torchjd"}
    modules = [found.name for found in pkgutil.walk_packages([str(PACKAGE)], "polytask.")]
    plain = [m for m in modules if not m.startswith(tuple(EXTRAS)) and "__main__" not in m]
    given = json.dumps({"extras": sorted(extras), "modules": plain})
    subprocess.run([sys.executable, "-c", WITHOUT_EXTRAS], input=given, text=True, check=True)


def test_version_is_that_of_the_project_file():
    assert polytask.__version__ == _pyproject()["project"]["version"]


def test_package_is_marked_as_typed():
    assert (PACKAGE / "py.typed").is_file()


# In a process that has imported nothing else, each name finds the class that it belongs to.
RESOLVE_NAMES = """
import json, sys
for names in json.load(sys.stdin):
    for module in [m for m in sys.modules if m.split(".")[0] == "polytask"]:
        del sys.modules[module]
    from polytask import _registry
    for name, own in names:
        cls = _registry.resolve(name)
        assert cls.__module__.startswith("polytask."), name
        assert not own or _registry.registered()[cls] == name, name
"""


def test_every_name_in_a_file_leads_to_its_class():
    _import_everything()
    classes = _registry.registered().items()
    own = [name for cls, name in classes if cls.__module__.startswith("polytask.")]
    assert len(set(own)) == len(own)
    kept = (ROOT / "tests/saved_models/format_names.txt").read_text(encoding="utf-8").split()
    by_home = {home: [] for home in _registry.HOMES}
    for name in sorted({*own, *kept}):
        by_home[max(filter(name.startswith, by_home), key=len)].append((name, name in own))
    assert all(by_home.values())
    present = [h for h, module in _registry.HOMES.items() if not module.startswith(OPTIONAL)]
    given = json.dumps([by_home[home] for home in present])
    subprocess.run([sys.executable, "-c", RESOLVE_NAMES], input=given, text=True, check=True)


def test_lower_bounds_are_the_lowest_versions_that_are_tested():
    pairs = [line.split(">=") for line in _pyproject()["project"]["dependencies"]]
    pins = _pins("constraints-lowest.txt")
    assert {name: pins.get(name) for name, _ in pairs} == dict(pairs)


def test_constraints_cover_every_named_dependency():
    project = _pyproject()["project"]
    groups = [project["dependencies"], *project["optional-dependencies"].values()]
    names = {line.partition(">=")[0].partition("[")[0] for group in groups for line in group}
    assert names - {"polytask"} <= set(_pins("constraints.txt"))


def test_every_pinned_package_installs_on_the_first_python_3_11():
    pinned = {name.lower().replace("_", "-") for name in _pins("constraints.txt")}
    needs = {
        one.name: told
        for one in importlib.metadata.distributions()
        if one.name.lower().replace("_", "-") in pinned
        and (told := one.metadata.get("Requires-Python"))
    }
    assert len(needs) > 50
    assert [n for n, of in needs.items() if not SpecifierSet(of).contains("3.11.0")] == []


def test_body_length_leaves_the_docstring_out(tmp_path):
    source = 'def f(x):\n    """One.\n\n    Two.\n    """\n    y = x\n\n    return y\n'
    (tmp_path / "f.py").write_text(source)
    (found,) = _tool("check_shape").bodies(tmp_path / "f.py")
    assert (found.name, found.line, found.length) == ("f", 1, 3)


def test_length_check_names_what_is_too_long(tmp_path, capsys):
    folder = tmp_path / "src"
    folder.mkdir()
    (folder / "short.py").write_text("def f():\n    return 1\n")
    main = _tool("check_shape").main
    assert main(tmp_path) == 0
    (folder / "long.py").write_text("def g():\n" + "    x = 1\n" * 800)
    assert main(tmp_path) == 1
    printed = capsys.readouterr().out
    assert "long.py: 801 lines, at most 700" in printed
    assert "long.py:1: g has a body of 800 lines, at most 60" in printed


# Its errors are read by who writes a penalty, loss or solver, and name the law that is broken.
NOT_TRANSLATED = "testing"
TRANSLATED = sorted(
    path.name
    for path in PACKAGE.iterdir()
    if path.name != NOT_TRANSLATED and (path.suffix == ".py" or (path / "__init__.py").is_file())
)


def _english_refusals(path: Path) -> list[str]:
    """Return where a file raises an error of polytask with a sentence in code."""
    errors = {name for name in dir(exceptions) if name.endswith("Error")} | {"CellError"}

    def words(node: ast.AST) -> bool:
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "LazyMessage":
            return False
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and " " in node.value:
            return True
        return isinstance(node, ast.JoinedStr) or any(map(words, ast.iter_child_nodes(node)))

    calls = [
        node for node in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(node, ast.Call)
    ]
    made = [call for call in calls if getattr(call.func, "id", "") in errors]
    return [f"{path}:{call.lineno}" for call in made if any(map(words, call.args))]


@pytest.mark.parametrize("part", TRANSLATED)
def test_refusals_are_sentences_of_the_catalogues(part):
    files = [PACKAGE / part] if part.endswith(".py") else sorted((PACKAGE / part).rglob("*.py"))
    assert files
    assert [where for file in files for where in _english_refusals(file)] == []


def test_a_refusal_in_code_is_found(tmp_path):
    file = tmp_path / "code.py"
    file.write_text(
        'raise DataError(f"no {column}")\n'
        'error = ParameterError(sentence("a", "b", "a number", got))\n'
        'raise DataError(LazyMessage("key", {"names": f"{x} y"}))\n',
        encoding="utf-8",
    )
    assert _english_refusals(file) == [f"{file}:1", f"{file}:2"]


def test_the_conda_recipe_needs_what_the_package_needs():
    text = (ROOT / "conda" / "recipe.yaml").read_text(encoding="utf-8")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    run = text.partition("  run:\n")[2].partition("\ntests:")[0]
    listed = {line.strip(" -").replace(" ", "") for line in run.splitlines()}
    conda_names = {"xxhash": "python-xxhash", "matplotlib": "matplotlib-base"}
    needed = {f"python{project['requires-python']}"}
    for requirement in project["dependencies"]:
        name, bound = requirement.split(">=")
        needed.add(f"{conda_names.get(name, name)}>={bound}")
    assert listed == needed
    assert f"version: {project['version']}" in text
