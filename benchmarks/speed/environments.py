"""Virtual environments for the programs that cannot live in one."""

from __future__ import annotations

import subprocess
import sys
import venv
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Environment:
    """Packages that are installed together; none means the environment of this program."""

    name: str
    packages: tuple[str, ...] = ()
    required: bool = False


HERE = Environment("polytask")
CELER = Environment("celer", ("celer==0.7.4", "scikit-learn==1.5.2"), required=True)
SKGLM = Environment("skglm", ("skglm",), required=True)
SKLEARN = Environment("sklearn", ("scikit-learn",), required=True)
ADELIE = Environment("adelie", ("adelie", "numpy<2"))


def python_of(environment: Environment, cache: Path) -> Path | None:
    """Return the interpreter of an environment, made if need be; None if that is impossible.

    Raises
    ------
    SystemExit
        If a required environment cannot be made.
    """
    if not environment.packages:
        return Path(sys.executable)
    folder = cache / environment.name
    binary = "Scripts/python.exe" if sys.platform == "win32" else "bin/python"
    python, done = folder / binary, folder / "done"
    wanted = " ".join(environment.packages)
    if done.exists() and done.read_text(encoding="utf-8") == wanted:
        return python
    print(f"making the environment {environment.name}: {wanted}", file=sys.stderr)
    venv.create(folder, with_pip=True)
    command = [str(python), "-m", "pip", "install", "--quiet", *environment.packages]
    if subprocess.run(command, check=False).returncode == 0:
        done.write_text(wanted, encoding="utf-8")
        return python
    if environment.required:
        raise SystemExit(f"{environment.name} must be in the run, and pip could not install it.")
    return None


def versions(python: Path, packages: tuple[str, ...]) -> str:
    """Return the versions of some packages in an environment."""
    code = (
        "import importlib.metadata as m, sys;"
        "print(', '.join(f'{p} {m.version(p)}' for p in sys.argv[1:]))"
    )
    names = [p.split("=")[0].split("<")[0] for p in packages]
    found = subprocess.run(
        [str(python), "-c", code, *names], capture_output=True, text=True, check=True
    )
    return found.stdout.strip()
