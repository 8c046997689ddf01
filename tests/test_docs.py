"""Every code block of the README and of the documentation is run; what only installs is read."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import implementations
import pytest

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
BLOCKS = [
    pytest.param(language, text, id=f"{page.name}:{page.read_text()[:at].count(chr(10)) + 1}")
    for page in PAGES
    for language, text, at in (
        (match[1], match[2], match.start()) for match in FENCE.finditer(page.read_text())
    )
]
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
    else:
        assert language in ("text", "yaml"), f"a block of {language!r} is not run by anybody"


def test_there_are_blocks() -> None:
    assert len(BLOCKS) >= 8
