"""Every code block of the README and of the documentation is run; what only installs is read.

What has a name (functions, commands, options, variables, keys, seams) is in the documentation.
"""

import importlib
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import implementations
import pytest
import test_house
import typer.main
import yaml

import fast_axolotl
from fast_axolotl.axolotl import patch_map
from fast_axolotl.cli import app

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
TEXTS = {page.name: page.read_text(encoding="utf-8") for page in PAGES}
BLOCKS = [
    pytest.param(match[1], match[2], id=f"{name}:{text[: match.start()].count(chr(10)) + 1}")
    for name, text in TEXTS.items()
    for match in FENCE.finditer(text)
]
REPOSITORY = "https://github.com/neul-labs/fast-axolotl/blob/main/"
TARGETS = set(re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))


def run(arguments: list[str], folder: Path) -> None:
    # The pages show what the package does by itself, whatever is set around the tests.
    environment = {k: v for k, v in os.environ.items() if not k.startswith("FAST_AXOLOTL_")}
    environment["FAST_AXOLOTL_PROFILE"] = str(folder / "profile.yaml")
    done = subprocess.run(
        arguments,
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    # 3: the machine was too busy to calibrate, which a machine that runs tests may be.
    statuses = (0, 3) if "calibrate" in arguments else (0,)
    assert done.returncode in statuses, f"{shlex.join(arguments)}\n{done.stdout}\n{done.stderr}"


def command(line: str, folder: Path) -> None:
    """Run one line of a shell block; read those that install or build."""
    words = shlex.split(line, comments=True)
    while words and re.fullmatch(r"[A-Z_]+=\S*", words[0]):
        words = words[1:]
    if words[:1] == ["fast-axolotl"]:
        if words[1:2] == ["demo"] or "--full" in words:
            return  # tests of their own; too long to repeat here
        run([sys.executable, "-m", "fast_axolotl", *words[1:]], folder)
    elif words[:1] == ["make"]:
        assert set(words[1:]) <= TARGETS, line
    elif words[:2] == ["pip", "install"]:
        assert words[2:], line
    elif words[:1] == ["python"] and words[1].endswith(".py"):
        assert (ROOT / words[1]).is_file(), line
    else:
        assert words[:2] in (["git", "clone"], []) or words[0] == "cd", line


@pytest.mark.skipif(implementations.WITHOUT_RUST, reason="the pages are of the whole package")
@pytest.mark.parametrize(("language", "text"), BLOCKS)
def test_block(language: str, text: str, tmp_path: Path) -> None:
    if language == "python":
        run([sys.executable, "-W", "error", "-c", text], tmp_path)
    elif language in ("console", "bash", "sh"):
        lines = [line for line in text.splitlines() if line.strip()]
        if language == "console":
            lines = [line[2:] for line in lines if line.startswith("$ ")]
            assert lines, "a console block has a command"
        for line in lines:
            command(line, tmp_path)
    elif language == "yaml":
        pytest.importorskip("pydantic")
        from fast_axolotl.axolotl.arguments import FastAxolotlArgs

        keys = yaml.safe_load(text)
        assert keys.pop("plugins") == ["fast_axolotl.AxolotlPlugin"]
        assert set(keys) <= set(FastAxolotlArgs.model_fields)
        FastAxolotlArgs.model_validate(keys)
    else:
        assert language == "text", f"a block of {language!r} is not run by anybody"


def test_there_are_blocks() -> None:
    assert len(BLOCKS) >= 8


def named_in(page: str) -> set[str]:
    """Return what a page names as code, by words."""
    spans = re.findall(r"`([^`]+)`|^(:::.*)$|```[a-z]*\n(.*?)```", TEXTS[page], re.M | re.S)
    return set(re.findall(r"[\w-]+", " ".join(map(" ".join, spans))))


@pytest.mark.parametrize("name", [*fast_axolotl.__all__, *fast_axolotl.streaming.__all__])
def test_every_function_is_documented(name: str) -> None:
    # The exceptions are the members of a module that is shown as a whole.
    pages = ("api.md", "reader.md")
    assert name in set().union(*map(named_in, pages)), f"one of {pages} names it"


@pytest.mark.parametrize("name", typer.main.get_command(app).commands)  # type: ignore[attr-defined]
def test_every_option_is_documented(name: str) -> None:
    section = TEXTS["commands.md"].partition(f"## fast-axolotl {name}\n")[2].partition("\n## ")[0]
    command = typer.main.get_command(app).commands[name]  # type: ignore[attr-defined]
    options = {text for each in command.params for text in each.opts if text.startswith("-")}
    assert section
    assert options <= set(re.findall(r"--[a-z]+", section))


def test_every_variable_is_documented() -> None:
    sources = Path(fast_axolotl.__file__).parent.rglob("*.py")
    pattern = re.compile(r'"(FAST_AXOLOTL_\w+|LOCAL_\w+|SLURM_\w+|RANK)"')
    used = {name for source in sources for name in pattern.findall(source.read_text("utf-8"))}
    assert "FAST_AXOLOTL_DISPATCH" in used
    assert used <= named_in("commands.md")


def test_every_key_of_the_plugin_is_documented() -> None:
    pytest.importorskip("pydantic")
    from fast_axolotl.axolotl.arguments import FastAxolotlArgs, FastAxolotlSettings

    keys = {*FastAxolotlArgs.model_fields, *FastAxolotlSettings.model_fields}
    assert keys <= named_in("axolotl.md")


def test_every_seam_is_documented() -> None:
    modules = [
        importlib.import_module(f"fast_axolotl.axolotl.seams.{name}")
        for name in patch_map.SEAM_MODULES
    ]
    seams = {seam.name: seam.operation for module in modules for seam in module.SEAMS}
    rows = re.findall(r"^\| (`.*?`) \| (\w+) \|", TEXTS["axolotl-seams.md"], re.M)
    shown = {name: operation for names, operation in rows for name in re.findall(r"\w+", names)}
    assert shown == seams


def test_every_file_with_unsafe_code_is_documented() -> None:
    files = re.findall(r"^\| `(\S+\.rs)` \|", TEXTS["architecture.md"], re.M)
    assert sorted(f"src/{file}" for file in files) == sorted(test_house.UNSAFE)


def test_the_figures_of_the_readme_are_those_of_the_benchmarks() -> None:
    measured = [line.split(" (")[0] for line in TEXTS["benchmarks.md"].splitlines()]
    shown = re.findall(r"^(\| .* \| \S+ \S+ \| \S+ \S+ \| \S+x) \|$", TEXTS["README.md"], re.M)
    assert len(shown) >= 5
    for line in shown:
        assert line in measured


def test_links_within_the_repository_lead_somewhere() -> None:
    for page in PAGES:
        for link in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", TEXTS[page.name]):
            if link.startswith(REPOSITORY):
                assert (ROOT / link.removeprefix(REPOSITORY)).exists(), (page.name, link)
            elif page.name == "README.md":
                assert link.startswith("https://"), f"{link}: a package index shows the page, too"
            else:
                assert link.startswith("https://") or (page.parent / link).exists(), link
