"""The documents against the code: links lead somewhere, settings are those that are read, examples load."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from agents.registry import load

CHECKOUT = Path(__file__).resolve().parent.parent
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
PYTHON_BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
DOCUMENTED = re.compile(r"^\| `([A-Z][A-Z0-9_]+)` \|", re.MULTILINE)
ENV_CALL = re.compile(r'env\.\w+\(\s*"([A-Z][A-Z0-9_]+)"')
URL_NAME = re.compile(r'"(DATABASE_[A-Z]+_URL|DATABASE_URL)"')
# In two parts, so that this file does not hold them itself.
FORBIDDEN = re.compile(
    "|".join(
        [
            r"pypi" + r"\.org",
            r"python" + r"hosted",
            r"npm" + r"js\.(?:org|com)",
            r"/ho" + r"me/[\w.-]",
            r"/ro" + r"ot/[\w.-]",
        ]
    ),
    re.IGNORECASE,
)
NOT_OURS = ("static/vendor/", "tests/browser/vendor/")


@cache
def tracked_files() -> tuple[Path, ...]:
    """Everything git keeps or would keep; the checkout may belong to another account than ours."""
    git = ["git", "-c", f"safe.directory={CHECKOUT}", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(git, cwd=CHECKOUT, capture_output=True, check=False)
    if listed.returncode:
        pytest.skip(f"git does not list the files: {listed.stderr.decode().strip()}")
    found = (CHECKOUT / name for name in listed.stdout.decode().split("\0") if name)
    return tuple(sorted(path for path in found if path.is_file()))


def text_of(path: Path) -> str:
    """The text of a file, or nothing for a picture or a font."""
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        return ""


def documents() -> list[Path]:
    return [path for path in tracked_files() if path.suffix == ".md" and not _is_vendored(path)]


def anchors(document: Path) -> set[str]:
    """The names under which headings can be linked."""
    headings = HEADING.findall(FENCE.sub("", document.read_text()))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


def broken_links(document: Path) -> list[str]:
    found = []
    for link in LINK.findall(FENCE.sub("", document.read_text())):
        place, _, anchor = link.partition("#")
        target = (document.parent / place).resolve() if place else document
        if re.match(r"[a-z]+:", link):
            continue
        if not target.exists() or (anchor and anchor not in anchors(target)):
            found.append(link)
    return found


def read_by_settings() -> set[str]:
    settings = (CHECKOUT / "approvals" / "settings.py").read_text()
    return set(ENV_CALL.findall(settings)) | set(URL_NAME.findall(settings))


def documented() -> list[str]:
    return DOCUMENTED.findall((CHECKOUT / "docs" / "settings.md").read_text())


def test_every_relative_link_leads_somewhere() -> None:
    assert {str(path.relative_to(CHECKOUT)): broken for path in documents() if (broken := broken_links(path))} == {}


def test_every_variable_that_the_settings_read_is_documented() -> None:
    assert read_by_settings() - set(documented()) == set()


def test_every_documented_variable_is_read_somewhere() -> None:
    sources = [text_of(path) for path in tracked_files() if path.suffix == ".py" or path.name == "Makefile"]
    code = "\n".join(sources)
    unread = [name for name in documented() if f'"{name}"' not in code and f"$({name})" not in code]
    assert unread == []


def test_no_variable_is_documented_twice() -> None:
    assert len(documented()) == len(set(documented()))


def test_the_checks_above_see_something() -> None:
    assert {"DATABASE_ADMIN_URL", "SECRET_KEY"} <= read_by_settings()
    assert len(documented()) > 20
    assert "tenants" in anchors(CHECKOUT / "docs" / "architecture.md")
    assert FORBIDDEN.search("see https://py" + "pi.org/simple")


def test_no_file_names_a_package_registry_or_a_home_folder() -> None:
    found = [
        f"{path.relative_to(CHECKOUT)}: {match[0]}"
        for path in tracked_files()
        if not _is_vendored(path)
        for match in FORBIDDEN.finditer(text_of(path))
    ]
    assert found == []


def test_the_example_graphs_load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    examples = PYTHON_BLOCK.findall((CHECKOUT / "docs" / "your-own-graph.md").read_text())
    names = [f"documented_example_{number}" for number in range(len(examples))]
    for name, example in zip(names, examples, strict=True):
        (tmp_path / f"{name}.py").write_text(example)
        monkeypatch.setitem(sys.modules, name, None)  # forgotten again after the test
        del sys.modules[name]
    config = tmp_path / "langgraph.json"
    config.write_text(json.dumps({"graphs": {name: f"./{name}.py:graph" for name in names}}))
    loaded = load(config)
    assert {name: found.problem for name, found in loaded.items()} == dict.fromkeys(names, "")
    assert [sorted(loaded[name].tools) for name in names] == [["book_pickup"], []]


def _is_vendored(path: Path) -> bool:
    return path.relative_to(CHECKOUT).as_posix().startswith(NOT_OURS)
