"""Reads one OData `$metadata` document (EDMX, V2 to V4.01) into entity types, properties, navigation and value lists.

Belongs here: the document's structure and SAP's V2 attributes (`sap:label`). Vocabulary annotations are
`edmx_annotations`, where documents come from is `metadata_fetch`, what is made of them is `knowledge`.

A document is foreign: a document type declaration is refused, so that there are no entities to expand, and nothing is
loaded from outside.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from lxml import etree

from sap_llm.sources.corpus import UnusableError
from sap_llm.sources.edmx_annotations import Annotated, Annotations, ValueList

MAX_BYTES = 50 * 2**20
"""No `$metadata` of SAP comes near it; a parsed tree takes about ten times as much memory."""

_SAP = "{http://www.sap.com/Protocols/SAPData}"
_METADATA = "{http://schemas.microsoft.com/ado/2007/08/dataservices/metadata}"
_XML_LANG = "{http://www.w3.org/XML/1998/namespace}lang"
_DIGITS = 9  # so that it fits into 32 bits
_MANY, _ONE, _PERHAPS_ONE = "*", "1", "0..1"


class EdmxError(UnusableError):
    """A document that is no usable `$metadata`."""


@dataclass(frozen=True, kw_only=True)
class Property:
    """One property of an entity type. Texts are empty where the document says nothing.

    Attributes:
        type: As declared, such as `Edm.String` or `Collection(NS.Type)`.
        description: Documentation in sentences.
        field_control: mandatory | optional | read_only | hidden | inapplicable, or `path:<property>` where it varies.
        unit: Property that holds the unit or currency, or a fixed code in quotes.
        text: Property or navigation path that holds the readable text of this code.
        semantics: SAP's V2 semantics, such as currency-code.
        data_element: Name in the data dictionary, where the documentation reference gives it.
        value_list: standard | fixed, empty without one.
    """

    name: str
    type: str = ""
    is_key: bool = False
    is_nullable: bool = True
    max_length: int | None = None
    precision: int | None = None
    scale: int | None = None
    label: str = ""
    quickinfo: str = ""
    heading: str = ""
    description: str = ""
    field_control: str = ""
    unit: str = ""
    text: str = ""
    semantics: str = ""
    display_format: str = ""
    data_element: str = ""
    value_list: str = ""


@dataclass(frozen=True, kw_only=True)
class Navigation:
    """A way from one entity type to another; `constraints` are pairs of own and foreign property."""

    name: str
    target: str
    multiplicity: str = ""
    constraints: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, kw_only=True)
class EntityType:
    """One entity type with what it inherits from its base type."""

    name: str
    label: str = ""
    description: str = ""
    entity_sets: tuple[str, ...] = ()
    properties: tuple[Property, ...] = ()
    navigations: tuple[Navigation, ...] = ()
    value_lists: tuple[ValueList, ...] = ()

    @property
    def keys(self) -> tuple[str, ...]:
        """Names of the key properties."""
        return tuple(item.name for item in self.properties if item.is_key)


@dataclass(frozen=True, kw_only=True)
class Service:
    """What one document describes."""

    namespace: str
    odata_version: str  # V2 | V3 | V4
    language: str = "en"
    entity_types: tuple[EntityType, ...] = field(default=())


def parse_edmx(content: bytes, *, max_bytes: int = MAX_BYTES) -> Service:
    """Read a document.

    Args:
        content: The file, in any encoding that XML knows.
        max_bytes: Longer documents are refused before they are parsed.

    Raises:
        EdmxError: Too large, no XML, with a document type declaration, or without schema.
    """
    if len(content) > max_bytes:
        raise EdmxError(
            "too_large",
            f"the document has {len(content):,} bytes, at most {max_bytes:,} are read",
            remedy="Raise max_bytes, or leave the service out.",
        )
    root = _root(content)
    schemas = [item for item in root.iter("{*}Schema") if isinstance(item.tag, str)]
    if etree.QName(root).localname != "Edmx" or not schemas:
        raise EdmxError(
            "not_edmx",
            f"the root element is {etree.QName(root).localname}, with {len(schemas)} schemas",
            remedy="Give the address or file of $metadata; a login page or an OpenAPI file is none.",
        )
    return _Document(root, schemas).service()


def _root(content: bytes) -> Any:
    parser = etree.XMLParser(
        resolve_entities=False,
        no_network=True,
        load_dtd=False,
        huge_tree=False,
        remove_comments=True,
        remove_pis=True,
    )
    try:
        root = etree.fromstring(content.removeprefix(b"\xef\xbb\xbf").lstrip(), parser=parser)
    except (etree.XMLSyntaxError, ValueError) as error:
        raise EdmxError("bad_xml", f"not well-formed XML ({error})", remedy="Download the document again.") from error
    if root.getroottree().docinfo.doctype:
        raise EdmxError(
            "doctype",
            "the document has a document type declaration, which $metadata never has",
            remedy="Do not trust its origin; remove the declaration if you know it is harmless.",
        )
    return root


@dataclass(frozen=True, kw_only=True)
class _Association:
    """V2: by role the type with its multiplicity, and the columns by which the two ends are joined."""

    ends: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    columns: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


class _Document:
    """One parsed document; resolves names, associations and base types."""

    def __init__(self, root: Any, schemas: list[Any]) -> None:
        self.root, self.schemas = root, schemas
        self.annotations = Annotations(root, schemas)
        self.types = {
            f"{schema.get('Namespace')}.{item.get('Name')}": item
            for schema in schemas
            for item in schema.iterchildren("{*}EntityType")
        }
        self._short = Counter(name.rpartition(".")[2] for name in self.types)
        self.associations = dict(self._associations())
        self.sets: dict[str, list[Any]] = {}
        for entity_set in root.iter("{*}EntitySet"):
            self.sets.setdefault(self.qualified(entity_set.get("EntityType")), []).append(entity_set)

    def qualified(self, name: str | None) -> str:
        """A type's name with its alias replaced by the namespace."""
        return self.annotations.unaliased(name or "")

    def short(self, name: str) -> str:
        """A type's name without namespace, unless two namespaces of the document have it."""
        last = name.rpartition(".")[2]
        return last if self._short[last] < 2 else name

    def service(self) -> Service:
        """All of it."""
        home = next((item for item in self.schemas if item.find("{*}EntityContainer") is not None), self.schemas[0])
        return Service(
            namespace=home.get("Namespace") or "",
            odata_version=self._version(),
            language=(home.get(_XML_LANG) or "en").lower(),
            entity_types=tuple(self._entity_type(name, element) for name, element in self.types.items()),
        )

    def _version(self) -> str:
        declared = self.root.get("Version") or ""
        services = next(self.root.iter("{*}DataServices"), None)
        if declared.startswith("4"):
            return "V4"
        data = (services.get(f"{_METADATA}DataServiceVersion") if services is not None else None) or "2.0"
        return "V3" if data.startswith("3") else "V2"

    def _associations(self) -> Iterator[tuple[str, "_Association"]]:
        for schema in self.schemas:
            for item in schema.iterchildren("{*}Association"):
                ends = {
                    end.get("Role"): (self.qualified(end.get("Type")), end.get("Multiplicity") or "")
                    for end in item.iterchildren("{*}End")
                }
                sides = {
                    side.get("Role"): tuple(ref.get("Name") or "" for ref in side.iterchildren("{*}PropertyRef"))
                    for name in ("Principal", "Dependent")
                    for side in item.iterfind(f"{{*}}ReferentialConstraint/{{*}}{name}")
                }
                yield f"{schema.get('Namespace')}.{item.get('Name')}", _Association(ends=ends, columns=sides)

    def _entity_type(self, name: str, element: Any) -> EntityType:
        chain = list(self._chain(name))
        keys = {ref.get("Name") for item in chain for ref in item.iterfind("{*}Key/{*}PropertyRef")}
        said = self.annotations.of(name, element)
        sets = self.sets.get(name, [])
        labels = (said.label, element.get(f"{_SAP}label"), *(item.get(f"{_SAP}label") for item in sets))
        properties: list[Property] = []
        lists: list[ValueList] = []
        for owner in chain:
            for item in owner.iterchildren("{*}Property"):
                own = self.annotations.of(f"{self._name_of(owner)}/{item.get('Name')}", item)
                properties.append(_property(item, own, is_key=item.get("Name") in keys))
                lists += own.value_lists
        return EntityType(
            name=self.short(name),
            label=next((label for label in labels if label), ""),
            description=said.description or said.quickinfo or _documentation(element),
            entity_sets=tuple(item.get("Name") or "" for item in sets),
            properties=tuple(properties),
            navigations=tuple(
                self._navigation(item) for owner in chain for item in owner.iterchildren("{*}NavigationProperty")
            ),
            value_lists=tuple(lists),
        )

    def _chain(self, name: str) -> Iterator[Any]:
        """The type's element after those of its base types; a circle ends where it closes."""
        names: list[str] = []
        while name in self.types and name not in names:
            names.append(name)
            name = self.qualified(self.types[name].get("BaseType"))
        yield from (self.types[item] for item in reversed(names))

    def _name_of(self, element: Any) -> str:
        return f"{element.getparent().get('Namespace')}.{element.get('Name')}"

    def _navigation(self, element: Any) -> Navigation:
        if (declared := element.get("Type")) is not None:
            return self._navigation_v4(element, declared)
        association = self.associations.get(self.qualified(element.get("Relationship")), _Association())
        own, foreign = element.get("FromRole"), element.get("ToRole")
        target, multiplicity = association.ends.get(foreign, ("", ""))
        return Navigation(
            name=element.get("Name") or "",
            target=self.short(target),
            multiplicity=multiplicity,
            constraints=tuple(
                zip(association.columns.get(own, ()), association.columns.get(foreign, ()), strict=False)
            ),
        )

    def _navigation_v4(self, element: Any, declared: str) -> Navigation:
        is_many = declared.startswith("Collection(")
        target = self.qualified(declared.removeprefix("Collection(").removesuffix(")"))
        single = _ONE if element.get("Nullable") == "false" else _PERHAPS_ONE
        return Navigation(
            name=element.get("Name") or "",
            target=self.short(target),
            multiplicity=_MANY if is_many else single,
            constraints=tuple(
                (item.get("Property") or "", item.get("ReferencedProperty") or "")
                for item in element.iterchildren("{*}ReferentialConstraint")
            ),
        )


def _property(element: Any, said: Annotated, *, is_key: bool) -> Property:
    sap = {name.removeprefix(_SAP): value for name, value in element.attrib.items() if name.startswith(_SAP)}
    described = Property(
        name=element.get("Name") or "",
        type=element.get("Type") or "",
        is_key=is_key,
        is_nullable=not is_key and element.get("Nullable") != "false",
        max_length=_number(element.get("MaxLength")),
        precision=_number(element.get("Precision")),
        scale=_number(element.get("Scale")),
        semantics=sap.get("semantics", ""),
        display_format=sap.get("display-format", ""),
        data_element=said.data_element,
        value_list=said.value_list or _value_list_kind(sap),
    )
    return replace(
        described,
        label=said.label or sap.get("label", ""),
        quickinfo=said.quickinfo or sap.get("quickinfo", ""),
        heading=said.heading or sap.get("heading", ""),
        description=said.description or _documentation(element),
        field_control=said.field_control or _field_control(sap),
        unit=said.unit or sap.get("unit", ""),
        text=said.text or sap.get("text", ""),
    )


def _field_control(sap: Mapping[str, str]) -> str:
    if path := sap.get("field-control"):
        return f"path:{path}"
    return "read_only" if sap.get("creatable") == sap.get("updatable") == "false" else ""


def _value_list_kind(sap: Mapping[str, str]) -> str:
    kind = sap.get("value-list", "")
    return "fixed" if kind == "fixed-values" else kind


def _documentation(element: Any) -> str:
    """V2's `Documentation` element: summary and long description as one text."""
    parts = (element.findtext(f"{{*}}Documentation/{{*}}{name}") or "" for name in ("Summary", "LongDescription"))
    return " ".join(" ".join(parts).split())


def _number(text: str | None) -> int | None:
    """A length; None for MaxLength="max", Scale="variable" and numbers that are none of this world."""
    return int(text) if text is not None and text.isdecimal() and len(text) <= _DIGITS else None
