"""What the documents show is what happens: their examples are run, and print what stands below them.

In a document, each block of Python is run in order, in one namespace; the block of text that follows is what
it prints, an error's text included. A new document is an entry in `DOCUMENTS`. `pytest --update-golden`
writes what is printed now.
"""

from __future__ import annotations

import contextlib
import io
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
DOCUMENTS = ("README.md", "docs/guide.md")
PAGES = (*DOCUMENTS, "docs/architecture.md", "docs/api.md")
ROOMS = ("compiler", "runtime", "retrograd", "tests", "benchmarks", "docs")

_EXAMPLE = re.compile(r"```python\n(?P<code>.*?)```\n(?:\n```text\n(?P<prints>.*?)```\n)?", re.DOTALL)


def printed(code: str, path: Path, line: int, namespace: dict[str, object]) -> str:
    """What the code prints; its lines are counted as those of the document."""
    output = io.StringIO()
    with contextlib.redirect_stdout(output):
        try:
            exec(compile("\n" * line + code, str(path), "exec"), namespace)
        except Exception as error:
            print(f"{type(error).__name__}: {error}")
    return "".join(f"{row.rstrip()}\n" for row in output.getvalue().rstrip().splitlines())


@pytest.mark.parametrize("name", DOCUMENTS)
def test_examples_print_what_stands_below_them(name: str, request: pytest.FixtureRequest) -> None:
    pytest.importorskip("scipy", reason="scipy is not installed, which an example hands a gradient to")
    path = ROOT / name
    text = path.read_text(encoding="utf-8")
    namespace: dict[str, object] = {"__name__": "__main__"}
    renewed, end = "", 0
    for example in _EXAMPLE.finditer(text):
        line = text[: example.start("code")].count("\n")
        prints = printed(example["code"], path, line, namespace)
        below = f"\n```text\n{prints}```\n" if prints else ""
        renewed += text[end : example.start()] + f"```python\n{example['code']}```\n" + below
        end = example.end()
    renewed += text[end:]
    if request.config.getoption("--update-golden"):
        path.write_text(renewed, encoding="utf-8")
    assert renewed == path.read_text(encoding="utf-8")


def anchors(text: str) -> set[str]:
    """The names by which links reach a page's headings."""
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("name", PAGES)
def test_links_lead_somewhere(name: str) -> None:
    page = ROOT / name
    for link in re.findall(r"\]\((?!https?:)([^)]+)\)", page.read_text(encoding="utf-8")):
        file, _, anchor = link.partition("#")
        target = page.parent / file if file else page
        assert target.exists(), f"{name} links to {file}"
        assert not anchor or anchor in anchors(target.read_text(encoding="utf-8")), f"{name} links to {link}"


def test_files_that_the_architecture_names_are_there() -> None:
    text = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
    files = [str(path.relative_to(ROOT)) for room in ROOMS for path in (ROOT / room).rglob("*.py")]
    for name in re.findall(r"[\w./*]*\w\.py", text):
        wanted = re.escape(name).replace(r"\*", ".*")
        assert any(re.search(rf"(^|/){wanted}$", file) for file in files), f"there is no {name}"
