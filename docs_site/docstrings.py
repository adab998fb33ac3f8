"""
A Griffe extension: turns what our docstrings have of reStructuredText into Markdown, before they are parsed.

- Roles (``:class:`~module.Name```) become references to the page that describes the name.
- Literal blocks (``Example::``) become fenced code.
- ``:raises A, B:`` becomes a field for each exception, with a reference.
- ``:ivar name:`` of a class becomes the docstring of that attribute.
"""

from __future__ import annotations

import ast
import re
import textwrap
from contextlib import suppress
from typing import Any

from griffe import (
    Attribute,
    Class,
    Docstring,
    DocstringSectionKind,
    ExprName,
    Extension,
    GriffeLoader,
    Module,
    NameResolutionError,
)

_ROLE = re.compile(r":(?:class|meth|attr|func|mod|data|exc):`(~?)([\w.]+)`")
_LITERAL = re.compile(r"^(?P<lead>.*)::\n\n(?P<code>(?:[ ]{4}.*(?:\n|$)|[ ]*\n)+)", re.MULTILINE)
_RAISES = re.compile(r"^:raises (?P<names>[^:]+):(?P<text>.*(?:\n[ ]+.*)*)", re.MULTILINE)
_IVAR = re.compile(r"^:ivar (?P<name>\w+):(?P<text>.*(?:\n[ ]+.*)*)\n?", re.MULTILINE)
_MODULES_OF_EXCEPTIONS = ("exceptions", "client.errors")


class Docstrings(Extension):
    """Rewrites all docstrings of a package once it is loaded."""

    def on_package(self, *, pkg: Module, loader: GriffeLoader, **kwargs: Any) -> None:
        """Rewrite the docstrings of a package and everything in it."""
        modules = []
        for name in _MODULES_OF_EXCEPTIONS:
            with suppress(KeyError):
                modules.append(pkg[name])
        self._rewrite(pkg, modules)

    def _rewrite(self, obj: Any, exceptions: list[Module]) -> None:
        if isinstance(obj, Class) and obj.docstring:
            _move_ivars(obj, obj.docstring)
        if obj.docstring:
            obj.docstring.value = to_markdown(obj.docstring.value, obj)
            _refer_to_exceptions(obj.docstring, exceptions)
        for member in obj.members.values():
            if not member.is_alias:
                self._rewrite(member, exceptions)


def to_markdown(text: str, scope: Any) -> str:
    """
    Return a docstring in Markdown, with its fields.

    :param scope: the object that has it; it resolves the names in roles.
    """
    text = _LITERAL.sub(_fence, text)
    text = _ROLE.sub(lambda match: _reference(match[2], bool(match[1]), scope), text)
    return _RAISES.sub(_split_raises, text)


def _fence(match: re.Match[str]) -> str:
    code = textwrap.dedent(match["code"]).strip("\n")
    try:
        ast.parse(code)
        language = "python"
    except SyntaxError:
        language = "text"
    return f"{match['lead']}:\n\n```{language}\n{code}\n```\n\n"


def _reference(name: str, shorten: bool, scope: Any) -> str:
    path = name
    if not name.startswith(scope.package.name):
        # A name that cannot be resolved fails the build as a reference that is not found.
        with suppress(NameResolutionError):
            path = scope.resolve(name)
    return f"[`{name.rpartition('.')[2] if shorten else name}`][{path}]"


def _split_raises(match: re.Match[str]) -> str:
    names = re.split(r",\s*", match["names"])
    return "\n".join(f":raises {name}:{match['text']}" for name in names)


def _move_ivars(cls: Class, docstring: Docstring) -> None:
    def move(match: re.Match[str]) -> str:
        member = cls.members.get(match["name"])
        if not isinstance(member, Attribute) or member.docstring:
            return match[0]
        text = re.sub(r"\n\s+", "\n", match["text"].strip())
        member.docstring = Docstring(
            text, parent=member, parser=docstring.parser, parser_options=docstring.parser_options
        )
        return ""

    docstring.value = _IVAR.sub(move, docstring.value).strip()


def _refer_to_exceptions(docstring: Docstring, modules: list[Module]) -> None:
    if ":raises " not in docstring.value:
        return
    for section in docstring.parsed:
        if section.kind is not DocstringSectionKind.raises:
            continue
        for item in section.value:
            for module in modules:
                if str(item.annotation) in module.classes:
                    item.annotation = ExprName(str(item.annotation), parent=module)
                    break
