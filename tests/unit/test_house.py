"""The rules of the house that no linter knows. Import rules are in pyproject.toml."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PRODUCT = ("agent.py", "agent", "config", "ops", "plugins")
FRAMEWORK = ("agent/framework.py", "agent/framework_api.py")
FILE_LINES, FUNCTION_LINES, ANSWER_LINES = 400, 60, 40

PLUGIN_INTERFACE = frozenset(
    (
        "_run _recognize_impl _event_ch _input_ch _chat_ctx _tools _llm _tts _input_text"
        " _mark_started _metrics_monitor_task _do_close"
    ).split()
)
"""What the framework's base classes of STT, LLM and TTS hand to plugins for their use."""

STATEMENT = re.compile(r"\s*(SELECT .* FROM|INSERT INTO|UPDATE .* SET|DELETE FROM|CREATE TABLE)\b")


def tracked():
    """Every Python file that git tracks or would track, relative to the root."""
    # A container may run the tests as another user than the one who owns the checkout.
    git = ["git", "-c", f"safe.directory={ROOT}"]
    command = [*git, "ls-files", "--cached", "--others", "--exclude-standard", "*.py"]
    told = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [name for name in told.splitlines() if (ROOT / name).exists()]


FILES = tracked()
OURS = [name for name in FILES if Path(name).parts[0] in PRODUCT]


def tree_of(name):
    return ast.parse((ROOT / name).read_text("utf-8"))


def nodes(names, *kinds):
    return [
        (f"{name}:{node.lineno}", node)
        for name in names
        for node in ast.walk(tree_of(name))
        if isinstance(node, kinds)
    ]


def test_the_files_are_found():
    assert {"agent.py", "agent/job.py", "tests/unit/test_house.py"} <= set(FILES)
    assert "agent/job.py" in OURS


def test_no_file_is_longer_than_a_reader_likes():
    lengths = {name: len((ROOT / name).read_text("utf-8").splitlines()) for name in FILES}
    assert {name: n for name, n in lengths.items() if n > FILE_LINES} == {}


def test_no_function_is_longer_than_a_screen():
    functions = nodes(FILES, ast.FunctionDef, ast.AsyncFunctionDef)
    lengths = {f"{at} {f.name}": f.end_lineno - f.lineno + 1 for at, f in functions}
    assert {at: n for at, n in lengths.items() if n > FUNCTION_LINES} == {}


def test_answer_reads_top_to_bottom():
    (answer,) = (f for _, f in nodes(["agent/job.py"], ast.AsyncFunctionDef) if f.name == "answer")
    body = answer.body[1:] if ast.get_docstring(answer) else answer.body
    assert body[-1].end_lineno - body[0].lineno + 1 <= ANSWER_LINES


def test_the_environment_is_read_in_one_place():
    forbidden = {"environ", "environb", "getenv", "putenv", "unsetenv"}
    places = [
        at
        for at, node in nodes(OURS, ast.Attribute, ast.ImportFrom)
        if (isinstance(node, ast.Attribute) and node.attr in forbidden)
        or (isinstance(node, ast.ImportFrom) and forbidden & {name.name for name in node.names})
    ]
    assert [at for at in places if not at.startswith("config/settings.py:")] == []


def test_every_background_task_has_a_name_and_an_owner():
    calls = [
        (at, node)
        for at, node in nodes(OURS, ast.Call)
        if isinstance(node.func, ast.Attribute) and node.func.attr == "create_task"
    ]
    assert [at for at, call in calls if "name" not in {k.arg for k in call.keywords}] == []
    dropped = [
        at
        for at, node in nodes(OURS, ast.Expr)
        if isinstance(node.value, ast.Call)
        and isinstance(node.value.func, ast.Attribute)
        and node.value.func.attr in {"create_task", "ensure_future"}
    ]
    assert dropped == []


def test_sql_is_written_in_the_store_only():
    outside = [name for name in OURS if not name.startswith("agent/store/")]
    texts = [(at, node) for at, node in nodes(outside, ast.Constant) if isinstance(node.value, str)]
    assert [at for at, node in texts if STATEMENT.match(node.value)] == []


def test_there_is_one_way_to_the_livekit_api():
    others = {"LiveKitAPI", "TwirpClient", "api"}  # `api`: that of a job's context
    places = [at for at, node in nodes(OURS, ast.Attribute) if node.attr in others]
    assert places == []


def test_a_metric_is_defined_in_one_file():
    kinds = {"Counter", "Gauge", "Histogram", "Summary", "Info", "Enum"}
    places = [
        at
        for at, node in nodes(OURS, ast.ImportFrom)
        if node.module == "prometheus_client" and kinds & {name.name for name in node.names}
    ]
    assert [at for at in places if not at.startswith("agent/metrics.py:")] == []


def test_private_names_of_the_framework_are_imported_in_one_place():
    places = []
    for at, node in nodes(OURS, ast.Import, ast.ImportFrom):
        names = [alias.name for alias in node.names]
        paths = [f"{node.module}.{n}" for n in names] if isinstance(node, ast.ImportFrom) else names
        for path in paths:
            parts = path.split(".")
            if parts[0] == "livekit" and any(part.startswith("_") for part in parts):
                places.append(at)
    assert [at for at in places if not at.startswith(FRAMEWORK)] == []


def test_private_names_are_watched_by_ruff_and_excused_in_one_place():
    lint = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["ruff"]["lint"]
    assert lint["select"] == ["ALL"]
    assert not {"SLF", "SLF001"} & set(lint["ignore"])
    excused = {files for files, codes in lint["per-file-ignores"].items() if "SLF001" in codes}
    assert excused <= {"tests/**"}
    noted = {
        name
        for name in OURS
        if name.startswith("agent") and "noqa: SLF001" in (ROOT / name).read_text("utf-8")
    }
    assert noted <= {*FRAMEWORK}


HEIRS = sorted(
    {at.split(":")[0] for at, node in nodes(OURS, ast.ClassDef) if node.bases} - {*FRAMEWORK}
)


@pytest.mark.parametrize("name", HEIRS)
def test_no_class_of_ours_uses_or_hides_a_private_name_of_the_framework(name):
    path = name.removesuffix(".py").removesuffix("/__init__")
    module = importlib.import_module(path.replace("/", "."))
    plugs_in = name.startswith("plugins/") or name == "agent/ears.py"
    allowed = PLUGIN_INTERFACE if plugs_in else frozenset()
    clashes = {
        node.name: names
        for _, node in nodes([name], ast.ClassDef)
        if (cls := vars(module).get(node.name))
        and (names := own_names(node) & private_names(cls) - allowed)
    }
    assert clashes == {}


def own_names(node):
    """What a class calls its own: its methods, and what its methods reach through self."""
    methods = {n.name for n in node.body if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)}
    return methods | {
        n.attr
        for n in ast.walk(node)
        if isinstance(n, ast.Attribute) and getattr(n.value, "id", "") in {"self", "cls"}
    }


def private_names(cls):
    """Private names that `cls` has from the framework's classes, also those set in instances."""
    found = set()
    for base in cls.__mro__[1:]:
        if base.__module__.startswith("livekit."):
            found |= set(vars(base)) | set(re.findall(r"self\.(\w+)", inspect.getsource(base)))
    return {name for name in found if name.startswith("_") and not name.startswith("__")}


def test_lock_files_name_no_host():
    for name in ("requirements.lock", "requirements-dev.lock"):
        text = (ROOT / name).read_text("utf-8")
        assert "==" in text
        assert not re.search(r"://|--(extra-)?index-url|--find-links", text), name


def test_the_vocabulary_is_plain_data():
    for name in ("agent/call.py", "agent/errors.py", "agent/events.py"):
        for at, node in nodes([name], ast.Import, ast.ImportFrom):
            roots = (
                [node.module] if isinstance(node, ast.ImportFrom) else [a.name for a in node.names]
            )
            for root in roots:
                known = root.split(".")[0] in sys.stdlib_module_names or root == "agent.call"
                assert known, f"{at} imports {root}"
