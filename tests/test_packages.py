"""The four packages are ours, and import each other in one direction only: grammar <- codegen <- kernels <- gp."""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
ORDER = ("grammar", "codegen", "kernels", "gp")
BANNED = {"grammar": {"torch", "triton", "numpy"}, "codegen": {"torch", "triton"}}
FILES = [path for package in ORDER for path in sorted((ROOT / package).rglob("*.py"))]


def _python(code: str, *path: Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(map(str, path))}
    return subprocess.run([sys.executable, "-c", code], env=environment, cwd=cwd, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("name", ["grammar", "codegen", "kernels"])
@pytest.mark.parametrize("form", ["{}/__init__.py", "{}.py"])
def test_package_of_another_distribution(tmp_path: Path, name: str, form: str) -> None:
    other = tmp_path / form.format(name)
    other.parent.mkdir(exist_ok=True)
    other.write_text("raise SystemExit('the wrong package was imported')\n")
    result = _python("import gp", tmp_path, ROOT, cwd=tmp_path)
    assert result.returncode == 1
    message = result.stderr.strip().splitlines()[-1]
    assert message.startswith(f"ImportError: actgp needs its own package '{name}' from {ROOT}, but Python finds another one at ")
    assert str(tmp_path / name) in message
    assert f"pip uninstall {name}" in message
    assert "PYTHONPATH" in message


def test_our_packages_first_on_the_path(tmp_path: Path) -> None:
    """What the message advises helps."""
    (tmp_path / "kernels").mkdir()
    (tmp_path / "kernels" / "__init__.py").write_text("raise SystemExit('the wrong package was imported')\n")
    result = _python("import gp; print(gp.DSLError)", ROOT, tmp_path, cwd=ROOT)
    assert result.stdout == "<class 'grammar.errors.DSLError'>\n", result.stderr


def test_folder_of_the_same_name_is_no_conflict(tmp_path: Path) -> None:
    """Projects often have a folder `kernels` of their own; without __init__.py it does not hide ours."""
    (tmp_path / "kernels").mkdir()
    result = _python("import gp; print(gp.DSLError.__name__)", tmp_path, ROOT, cwd=tmp_path)
    assert result.stdout == "DSLError\n", result.stderr


def test_missing_package(tmp_path: Path) -> None:
    (tmp_path / "gp").mkdir()
    for name in ("__init__.py", "_packages.py"):
        shutil.copy(ROOT / "gp" / name, tmp_path / "gp")
    message = _python("import gp", tmp_path, cwd=tmp_path).stderr.splitlines()[-1]
    assert message.startswith("ImportError: actgp")
    assert "package 'grammar'" in message


def test_import_is_cheap_and_lazy() -> None:
    code = "import sys, gp; assert 'torch' not in sys.modules and 'lark' not in sys.modules; gp.activation; assert 'torch' in sys.modules"
    assert _python(code, ROOT, cwd=ROOT).returncode == 0


def test_unknown_attribute() -> None:
    import gp

    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        gp.nothing  # type: ignore[attr-defined]  # noqa: B018 - mypy sees it too
    assert set(gp.__all__) <= set(dir(gp))


def _imports(path: Path) -> set[str]:
    """The top-level packages that a file imports anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add(path.relative_to(ROOT).parts[0] if node.level else (node.module or "").partition(".")[0])
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_import_direction(path: Path) -> None:
    package = path.relative_to(ROOT).parts[0]
    higher = set(ORDER[ORDER.index(package) + 1 :])
    assert not _imports(path) & (higher | BANNED.get(package, set()))


def test_import_direction_notices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Negative control: an import inside a function is seen."""
    monkeypatch.setattr(sys.modules[__name__], "ROOT", tmp_path)
    path = tmp_path / "grammar" / "bad.py"
    path.parent.mkdir()
    path.write_text("def f():\n    from kernels.module import Activation\n    import torch.nn\n")
    assert _imports(path) == {"kernels", "torch"}
