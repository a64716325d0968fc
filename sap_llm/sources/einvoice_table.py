"""The path table of e-invoice syntaxes: the taxonomy's XPaths, completed by `einvoice_paths.yaml`, ready to apply.

Belongs here: which paths a syntax has for which field, and compiling them whatever the namespaces. Applying them to a
document is `einvoice`; a wrong path of a field is mended in `schema/taxonomy.yaml`.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import yaml
from lxml import etree

from sap_llm.schema.taxonomy import FieldSpec, load_taxonomy

_NAME = re.compile(r"\b(?:rsm|ram|udt|qdt|cbc|cac):(?P<name>\w+)")
_UBL = "urn:oasis:names:specification:ubl"


@dataclass(frozen=True, kw_only=True)
class Syntax:
    """One XML syntax.

    Attributes:
        name: As in the table.
        type_code: Path of the document type code.
        line_items: Paths of the line elements.
        header: Paths by field from the root, tried in order.
        lines: Paths by field from a line element.
    """

    name: str
    type_code: str
    line_items: tuple[str, ...]
    header: Mapping[str, tuple[str, ...]]
    lines: Mapping[str, tuple[str, ...]]


def syntax_of(root: Any) -> Syntax | None:
    """The syntax of a document by its root element; None if it is no document that the table knows."""
    qualified = etree.QName(root)
    is_ubl = (qualified.namespace or "").startswith(_UBL)
    for name, entry in _table()["syntaxes"].items():
        if qualified.localname in entry["roots"] and name.startswith("ubl") == is_ubl:
            return _syntax(name)
    return None


def document_class(root: str, code: str | None) -> str:
    """Taxonomy class of a document by its root's local name, else by its type code."""
    classes = _table()["classes"]
    by_root: str | None = classes["roots"].get(root)
    known: str = classes["codes"].get(code, "CREDIT_NOTE" if root == "CreditNote" else classes["default"])
    return by_root or known


@cache
def code_fields() -> frozenset[str]:
    """Fields whose values are codes of the XML and never printed."""
    return frozenset(_table()["codes"])


@cache
def compiled(path: str) -> Any:
    """An XPath with the table's prefixes, compiled to compare local names only."""
    return etree.XPath(_NAME.sub(r"*[local-name()='\g<name>']", path))


@cache
def _syntax(name: str) -> Syntax:
    entry, column, more = _entry(name)
    rename = entry.get("rename", {})
    paths: dict[str, dict[str, tuple[str, ...]]] = {"header": {}, "line": {}}
    for spec in load_taxonomy().fields:
        own: str | None = getattr(spec, column)
        found = [*([own] if own else []), *more.get(spec.name, [])]
        if found:
            paths[_level(spec)][spec.name] = tuple(dict.fromkeys(_renamed(path, rename) for path in found))
    return Syntax(
        name=name,
        type_code=_renamed(entry["type_code"], rename),
        line_items=tuple(_renamed(path, rename) for path in entry["lines"]),
        header=paths["header"],
        lines=paths["line"],
    )


def _entry(name: str) -> tuple[dict[str, Any], str, dict[str, list[str]]]:
    """The entry with what it inherits, its column of the taxonomy, and the further paths (own before inherited)."""
    entry: dict[str, Any] = _table()["syntaxes"][name]
    if "extends" not in entry:
        return entry, entry["column"], entry.get("more", {})
    base, column, inherited = _entry(entry["extends"])
    own = entry.get("more", {})
    more = {field: own.get(field, []) + inherited.get(field, []) for field in own.keys() | inherited.keys()}
    return base | {"rename": {}} | entry, column, more


def _level(spec: FieldSpec) -> str:
    return "line" if spec.level == "line" else "header"


def _renamed(path: str, rename: Mapping[str, str]) -> str:
    return _NAME.sub(lambda match: rename.get(match["name"], match[0]), path)


@cache
def _table() -> dict[str, Any]:
    text = files("sap_llm.sources").joinpath("einvoice_paths.yaml").read_text(encoding="utf-8")
    table: dict[str, Any] = yaml.safe_load(text)
    return table
