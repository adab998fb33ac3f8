"""
MkDocs hooks: the pages that are not in ``docs/``, links out of ``docs/``, and differences of Markdown.

``README.md``, the other Markdown files beside it and ``docs/`` are written for readers of the repository. On the site,

- the README is the front page, and each example DAG has a section of one page,
- links to files that are not on the site become plain text, as the site knows no address of the repository,
- lists follow the rules of GitHub's Markdown, which Python-Markdown does not know.
"""

from __future__ import annotations

import ast
import posixpath
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[1]
OUTSIDE_DOCS = {
    "README.md": "index.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "vulnerabilities.md",
}
"""Files that are pages of the site, and their pages."""
EXAMPLES = "examples.md"

_LINK = re.compile(r"(?<!!)\[(?P<text>(?:`[^`]*`|[^\[\]])*)\]\((?P<target>[^()\s]+)\)")
_IMAGE = re.compile(r"!\[(?P<text>[^\]]*)\]\((?P<target>[^()\s]+)\)")
_FENCE = re.compile(r"\s*(`{3,}|~{3,})")
_MARKER = re.compile(r"([-*+]|\d+[.)]) +(?=\S)")


def on_files(files: Files, *, config: MkDocsConfig) -> Files:
    """Add the pages that are not in ``docs/``."""
    from mkdocs.structure.files import File

    for source, page in OUTSIDE_DOCS.items():
        files.append(File.generated(config, page, content=(ROOT / source).read_text(encoding="utf-8")))
    files.append(File.generated(config, EXAMPLES, content=examples_page(ROOT / "example_dags")))
    return files


def on_page_markdown(markdown: str, *, page: Page, **_: Any) -> str:
    """Adapt a page to the site."""
    page_uri = page.file.src_uri
    source = {page: source for source, page in OUTSIDE_DOCS.items()}.get(page_uri, f"docs/{page_uri}")
    return adapt_lists(adapt_links(markdown, source, page_uri, ROOT))


def examples_page(folder: Path) -> str:
    """Return a page with all example DAGs. Each begins with a docstring in Markdown, which Airflow shows too."""
    parts = ["# Examples"]
    for path in sorted(folder.glob("*.py")):
        code = path.read_text(encoding="utf-8")
        module = ast.parse(code)
        title, _, text = (ast.get_docstring(module) or path.stem).partition("\n")
        title = title.lstrip("# ")
        parts.append(f"## {title} {{#{path.stem}}}\n\n{text.strip()}")
        code = "\n".join(code.splitlines()[module.body[0].end_lineno :]).strip()
        parts.append(f'```python title="{path.name}"\n{code}\n```')
    return "\n\n".join(parts) + "\n"


def adapt_links(markdown: str, source: str, page: str, root: Path) -> str:
    """
    Return Markdown whose links lead to pages of the site.

    A link whose text is the name of the file shows the title of the page instead. A link to an existing file that is
    not on the site is replaced by its text. One to a file that does not exist is kept, so that MkDocs reports it.

    :param source: the file that the Markdown is from, relative to ``root``.
    :param page: its page on the site.
    :param root: the repository.
    """

    def locate(target: str) -> tuple[str, str, str]:
        """Return the file of a target, the anchor, and the page of that file; ``""`` for what it does not have."""
        path, hash_, anchor = target.partition("#")
        if not path or ":" in path:
            return "", "", ""
        path = posixpath.normpath(posixpath.join(posixpath.dirname(source), path))
        if path.startswith("docs/"):
            return path, hash_ + anchor, path.removeprefix("docs/")
        if posixpath.dirname(path) == "example_dags":
            return path, f"#{Path(path).stem}", EXAMPLES
        return path, hash_ + anchor, OUTSIDE_DOCS.get(path, "")

    def relative(found: str) -> str:
        return posixpath.relpath(found, posixpath.dirname(page) or ".")

    def link(match: re.Match[str]) -> str:
        text = match["text"]
        path, anchor, found = locate(match["target"])
        if not path or not (root / path).exists():
            return match[0]
        if not found:
            return f"`{text}`" if text.rstrip("/") in (path, posixpath.basename(path)) else text
        if text.strip("`") in (path, posixpath.basename(path)):
            text = _title_of(root / path) or text
        return f"[{text}]({relative(found)}{anchor})"

    def image(match: re.Match[str]) -> str:
        found = locate(match["target"])[2]
        return f"![{match['text']}]({relative(found)})" if found else match[0]

    return _outside_fences(markdown, lambda text: _IMAGE.sub(image, _LINK.sub(link, text)))


def _title_of(path: Path) -> str | None:
    """Return the first heading of a Markdown file or of the docstring that a Python file begins with."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".py":
        text = ast.get_docstring(ast.parse(text)) or ""
    heading = re.search(r"^#+ (.+)$", text, re.MULTILINE)
    return heading[1] if heading else None


def _outside_fences(markdown: str, change: Callable[[str], str]) -> str:
    """Return Markdown in which everything but fenced code is changed."""
    parts: list[tuple[bool, list[str]]] = [(False, [])]
    fence = ""
    for line in markdown.splitlines():
        if fence:
            parts[-1][1].append(line)
            if line.strip() == fence:
                fence = ""
                parts.append((False, []))
        elif match := _FENCE.match(line):
            fence = match[1]
            parts.append((True, [line]))
        else:
            parts[-1][1].append(line)
    texts = ("\n".join(lines) if fenced else change("\n".join(lines)) for fenced, lines in parts if lines)
    return "\n".join(texts) + "\n"


def adapt_lists(markdown: str) -> str:
    """
    Return Markdown whose lists mean to Python-Markdown what they mean to GitHub.

    Python-Markdown wants a blank line between a paragraph and a list, and four spaces for each level of a list. As on
    GitHub, a numbered list without a blank line begins with 1; another number is text.
    """
    lines: list[str] = []
    columns: list[int] = []  # where the text of each enclosing list item begins
    fence = ""
    after_paragraph = False
    for line in markdown.splitlines():
        if not line.strip():
            lines.append("")
            after_paragraph = False
            continue
        indent = len(line) - len(line.lstrip())
        if not fence:
            while columns and indent < columns[-1]:
                columns.pop()
        column = columns[-1] if columns else 0
        prefix, rest = "    " * len(columns), line[min(column, indent) :]
        if fence:
            fence = "" if line.strip() == fence else fence
        elif match := _FENCE.match(line):
            fence = match[1]
            after_paragraph = False
        elif (match := _MARKER.match(rest)) and not (after_paragraph and match[1][0] in "023456789"):
            if after_paragraph:
                lines.append("")
            columns.append(column + match.end())
            after_paragraph = False
        else:
            after_paragraph = not columns
        lines.append(prefix + rest)
    return "\n".join(lines) + "\n"


def draw_mermaid(source: str, language: str, css_class: str, *_: Any, **__: Any) -> str:
    """Return a Mermaid diagram as SVG. It is a formatter of pymdownx.superfences."""
    # Not at the top: `make lint` and most tests run without it. It has no type hints.
    import mermaidx  # type: ignore[import-untyped]

    config = {"flowchart": {"rankSpacing": 30, "nodeSpacing": 30}}
    svg: str = mermaidx.render(source, config=config).svg()
    return f'<div class="{css_class}">{svg}</div>'
