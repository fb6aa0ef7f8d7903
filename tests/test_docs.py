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


def test_links_lead_somewhere() -> None:
    for name in DOCUMENTS:
        path = ROOT / name
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", path.read_text(encoding="utf-8")):
            assert (path.parent / target).exists(), f"{name} links to {target}"
