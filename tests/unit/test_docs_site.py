"""What the documentation site changes in Markdown and in docstrings."""

from __future__ import annotations

import pytest

from docs_site.hooks import adapt_links, adapt_lists, examples_page


@pytest.fixture
def repository(tmp_path):
    for name, text in {
        "README.md": "# The provider\n",
        "Makefile": "",
        "docs/errors.md": "# Every error\n",
        "docs/images/grid.png": "",
        "docs/reference/hook.md": "",
        "example_dags/fan_out.py": '"""\n### Fan out\n\nSeveral at once.\n"""\n\nimport airflow\n',
    }.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path


@pytest.mark.parametrize(
    ("source", "page", "markdown", "expected"),
    [
        ("README.md", "index.md", "[why](docs/errors.md#retries)", "[why](errors.md#retries)"),
        ("README.md", "index.md", "[docs/errors.md](docs/errors.md)", "[Every error](errors.md)"),
        ("README.md", "index.md", "[here](#deploy)", "[here](#deploy)"),
        ("README.md", "index.md", "![Grid](docs/images/grid.png)", "![Grid](images/grid.png)"),
        ("docs/errors.md", "errors.md", "[the\nREADME](../README.md#try)", "[the\nREADME](index.md#try)"),
        ("docs/reference/hook.md", "reference/hook.md", "[a](../errors.md)", "[a](../errors.md)"),
        ("docs/reference/hook.md", "reference/hook.md", "[a](../../README.md)", "[a](../index.md)"),
        ("docs/errors.md", "errors.md", "[all](../example_dags/fan_out.py)", "[all](examples.md#fan_out)"),
        ("docs/errors.md", "errors.md", "[Makefile](../Makefile)", "`Makefile`"),
        ("docs/errors.md", "errors.md", "[`make`](../Makefile)", "`make`"),
        ("docs/errors.md", "errors.md", "[make](../Makefile)", "make"),
        ("docs/errors.md", "errors.md", "[the commands](../Makefile)", "the commands"),
        ("docs/errors.md", "errors.md", "[gone](../gone.py)", "[gone](../gone.py)"),
        ("docs/errors.md", "errors.md", "[x](https://example.com/a)", "[x](https://example.com/a)"),
        ("docs/errors.md", "errors.md", "```\n[a](../Makefile)\n```", "```\n[a](../Makefile)\n```"),
    ],
)
def test_links_lead_to_pages_of_the_site(repository, source, page, markdown, expected):
    assert adapt_links(markdown, source, page, repository) == f"{expected}\n"


def test_examples_page_has_title_text_and_code(repository):
    assert examples_page(repository / "example_dags") == (
        "# Examples\n\n## Fan out {#fan_out}\n\nSeveral at once.\n\n"
        '```python title="fan_out.py"\nimport airflow\n```\n'
    )


@pytest.mark.parametrize(
    ("markdown", "expected"),
    [
        ("Text:\n- a\n- b", "Text:\n\n- a\n- b"),
        ("Text:\n1. a", "Text:\n\n1. a"),
        ("From 3 to\n5. That is all.", "From 3 to\n5. That is all."),
        ("- a\n  more\n  - b\n    more\n\nText", "- a\n    more\n    - b\n        more\n\nText"),
        ("1. a\n\n   ```\n   - x\n     y\n   ```", "1. a\n\n    ```\n    - x\n      y\n    ```"),
        ("```\nText\n- a\n  - b\n```", "```\nText\n- a\n  - b\n```"),
        ("Text\n\n    code", "Text\n\n    code"),
    ],
)
def test_lists_follow_the_rules_of_python_markdown(markdown, expected):
    assert adapt_lists(markdown) == f"{expected}\n"


@pytest.fixture
def load(tmp_path):
    """Load a package with the classes ``Waiter`` and ``LateError``, and the docstring of the former."""
    griffe = pytest.importorskip("griffe")
    from docs_site.docstrings import Docstrings

    def load(docstring):
        package = tmp_path / "waiting"
        package.mkdir()
        (package / "__init__.py").write_text(
            f"class Waiter:\n    {docstring!r}\n    seconds: float\n\n    def wait(self): ...\n"
        )
        (package / "exceptions.py").write_text(
            "class LateError(Exception): ...\nclass LostError(Exception): ...\n"
        )
        extensions = griffe.load_extensions(Docstrings)
        return griffe.load(
            "waiting", search_paths=[tmp_path], extensions=extensions, docstring_parser="sphinx"
        )["Waiter"]

    return load


@pytest.mark.parametrize(
    ("docstring", "expected"),
    [
        ("See :class:`~waiting.exceptions.LateError`.", "See [`LateError`][waiting.exceptions.LateError]."),
        ("See :meth:`wait`.", "See [`wait`][waiting.Waiter.wait]."),
        ("See :class:`Nowhere`.", "See [`Nowhere`][Nowhere]."),
        ("Example::\n\n    Waiter()\n\nText.", "Example:\n\n```python\nWaiter()\n```\n\nText."),
        ("Tree::\n\n    a\n    └── b\n\nText.", "Tree:\n\n```text\na\n└── b\n```\n\nText."),
    ],
)
def test_docstring_becomes_markdown(load, docstring, expected):
    assert load(docstring).docstring.value.strip() == expected


def test_docstring_refers_to_each_exception(load):
    waiter = load("Wait.\n\n:raises LateError,\n    LostError: sometimes.\n:raises ValueError: never.")
    raises = waiter.docstring.parsed[1].value
    assert [(each.annotation, each.description) for each in raises][2] == ("ValueError", "never.")
    assert [each.annotation.canonical_path for each in raises[:2]] == [
        "waiting.exceptions.LateError",
        "waiting.exceptions.LostError",
    ]
    assert {each.description for each in raises[:2]} == {"sometimes."}


def test_docstring_field_of_an_attribute_moves_to_it(load):
    waiter = load("Wait.\n\n:ivar seconds: how long,\n    at most.\n:ivar other: kept.")
    assert waiter["seconds"].docstring.value == "how long,\nat most."
    assert waiter.docstring.value == "Wait.\n\n:ivar other: kept."
