"""Vocabulary annotations of an EDMX document: which element is annotated by which term with which value.

Belongs here: aliases, targets (`Annotations Target=` and annotations inside an element) and the terms of
`com.sap.vocabularies.*` and `Org.OData.*` that say something about a property. The document's structure is `edmx`.

Sources: SAP/odata-vocabularies (Common.v1), OASIS odata-vocabularies (Core.V1, Measures.V1), CSDL XML 4.01 section 14.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

_COMMON = "com.sap.vocabularies.Common.v1."
_CORE = "Org.OData.Core.V1."
_MEASURES = "Org.OData.Measures.V1."
_CONSTANTS = ("String", "EnumMember", "Bool", "Int")
_PATHS = ("Path", "PropertyPath", "NavigationPropertyPath", "AnnotationPath")
_DATA_ELEMENT = re.compile(r"type=DE&id=([^&]+)")
_CONTROLS = {"ReadOnly": "read_only"}
_LISTS = (f"{_COMMON}ValueList", f"{_COMMON}ValueListMapping")


@dataclass(frozen=True, kw_only=True)
class ValueList:
    """Where the permitted values of a property come from.

    Attributes:
        property: The property that they are for.
        collection: Entity set with the values, or the address of the service that has them.
        parameters: Kind (In, Out, InOut, DisplayOnly, Constant), own property, property of the value list.
    """

    property: str
    collection: str
    label: str = ""
    parameters: tuple[tuple[str, str, str], ...] = ()


@dataclass(frozen=True, kw_only=True)
class Annotated:
    """What annotations say about one element; empty where they say nothing."""

    label: str = ""
    quickinfo: str = ""
    heading: str = ""
    description: str = ""
    field_control: str = ""
    unit: str = ""
    text: str = ""
    data_element: str = ""
    value_list: str = ""
    value_lists: tuple[ValueList, ...] = ()


class Annotations:
    """All annotations of a document by target."""

    def __init__(self, root: Any, schemas: list[Any]) -> None:
        self._aliases = dict(_aliases(root, schemas))
        self._by_target: dict[str, list[Any]] = {}
        for block in root.iter("{*}Annotations"):
            target = self.unaliased(block.get("Target") or "")
            self._by_target.setdefault(target, []).extend(block.iterchildren("{*}Annotation"))

    def unaliased(self, name: str) -> str:
        """`Alias.Rest` -> `Namespace.Rest`; other names stay."""
        alias, point, rest = name.partition(".")
        return f"{self._aliases[alias]}.{rest}" if point and alias in self._aliases else name

    def of(self, target: str, element: Any) -> Annotated:
        """What is said about `target` (`Namespace.Type` or `Namespace.Type/Property`), outside and inside of it."""
        found = [*element.iterchildren("{*}Annotation"), *self._by_target.get(target, ())]
        terms: dict[str, list[Any]] = {}
        for annotation in found:
            terms.setdefault(self.unaliased(annotation.get("Term") or ""), []).append(annotation)
        if not terms:
            return _NOTHING

        def said(*names: str) -> str:
            return next((text for name in names for item in terms.get(name, ()) if (text := _text(item))), "")

        name = target.partition("/")[2]
        return Annotated(
            label=said(f"{_COMMON}Label"),
            quickinfo=said(f"{_COMMON}QuickInfo"),
            heading=said(f"{_COMMON}Heading"),
            description=" ".join(filter(None, (said(f"{_CORE}Description"), said(f"{_CORE}LongDescription")))),
            field_control=_field_control(terms),
            unit=_unit(terms),
            text=said(f"{_COMMON}Text"),
            data_element=_data_element(said(f"{_COMMON}DocumentationRef")),
            value_list=_value_list_kind(terms),
            value_lists=tuple(_value_lists(name, terms)),
        )


_NOTHING = Annotated()
_Terms = dict[str, list[Any]]


def _aliases(root: Any, schemas: list[Any]) -> Iterator[tuple[str, str]]:
    for item in (*root.iter("{*}Include"), *root.iter("{*}Using"), *schemas):
        alias, namespace = item.get("Alias"), item.get("Namespace")
        if alias and namespace:
            yield alias, namespace


def _value(element: Any, kinds: tuple[str, ...]) -> str:
    """A constant or path, written as attribute or as child element."""
    for kind in kinds:
        text = element.get(kind)
        if text is None:
            text = element.findtext(f"{{*}}{kind}")
        if text is not None:
            return " ".join(text.split())
    return ""


def _text(element: Any) -> str:
    return _value(element, (*_CONSTANTS, *_PATHS))


def _field_control(terms: _Terms) -> str:
    for item in terms.get(f"{_COMMON}FieldControl", ()):
        if member := _value(item, ("EnumMember",)):
            name = member.rpartition("/")[2]
            return _CONTROLS.get(name, name.lower())
        if path := _value(item, _PATHS):
            return f"path:{path}"
    return "read_only" if _is_tagged(terms, f"{_CORE}Computed") else ""


def _is_tagged(terms: _Terms, name: str) -> bool:
    """A tag is true unless it says false."""
    return any(_value(item, ("Bool",)) != "false" for item in terms.get(name, ()))


def _unit(terms: _Terms) -> str:
    for item in (*terms.get(f"{_MEASURES}ISOCurrency", ()), *terms.get(f"{_MEASURES}Unit", ())):
        if path := _value(item, _PATHS):
            return path
        if code := _value(item, ("String",)):
            return f"'{code}'"
    return ""


def _data_element(reference: str) -> str:
    """Name in `urn:sap-com:documentation:key?=type=DE&id=BUKRS`."""
    found = _DATA_ELEMENT.search(reference)
    return found.group(1) if found else ""


def _value_list_kind(terms: _Terms) -> str:
    if _is_tagged(terms, f"{_COMMON}ValueListWithFixedValues"):
        return "fixed"
    is_listed = any(name in terms for name in (*_LISTS, f"{_COMMON}ValueListReferences"))
    return "standard" if is_listed else ""


def _value_lists(name: str, terms: _Terms) -> Iterator[ValueList]:
    for item in (entry for term in _LISTS for entry in terms.get(term, ())):
        values = {entry.get("Property"): entry for entry in item.iterfind("{*}Record/{*}PropertyValue")}
        parameters = values.get("Parameters")
        records = parameters.iterfind("{*}Collection/{*}Record") if parameters is not None else ()
        yield ValueList(
            property=name,
            collection=_text(values["CollectionPath"]) if "CollectionPath" in values else "",
            label=_text(values["Label"]) if "Label" in values else "",
            parameters=tuple(_parameter(record) for record in records),
        )
    for item in terms.get(f"{_COMMON}ValueListReferences", ()):
        addresses = [entry.text or "" for entry in item.iterfind("{*}Collection/{*}String")] or [_text(item)]
        for address in filter(None, addresses):
            yield ValueList(property=name, collection=" ".join(address.split()))


def _parameter(record: Any) -> tuple[str, str, str]:
    values = {entry.get("Property"): _text(entry) for entry in record.iterchildren("{*}PropertyValue")}
    kind = (record.get("Type") or "").rpartition(".")[2].removeprefix("ValueListParameter")
    return kind, values.get("LocalDataProperty", ""), values.get("ValueListProperty", "")
