"""The taxonomy: which classes, subtypes and fields exist, with types, units, SAP names and XML paths.

The one reader of `taxonomy.yaml`. Adding a class or a field is an edit there, never here.
"""

import hashlib
from functools import cache
from importlib.resources import files

import yaml
from pydantic import BaseModel, ConfigDict


class FieldSpec(BaseModel):
    """One field of the taxonomy."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    type: str  # string | date | amount | quantity | integer | percent | currency | unit | vat_id | iban | bic | country
    level: str  # header | line
    description: str
    sap: str | None = None  # TABLE-FIELD
    ubl: str | None = None  # path below the root or the line element, prefixes cbc: and cac:
    cii: str | None = None  # likewise, prefixes rsm:, ram: and udt:
    classes: tuple[str, ...] = ()  # empty: may occur in every class
    aliases: dict[str, str] = {}  # class -> name in the annotation JSON


class Subtype(BaseModel):
    """One subtype of a class."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    description: str
    sap: str | None = None  # TABLE-FIELD=VALUE that marks it, e.g. EKKO-BSART=NB


class DocumentClass(BaseModel):
    """One document class with its subtypes."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    description: str
    sap: str | None = None
    subtypes: tuple[Subtype, ...] = ()


class Taxonomy(BaseModel):
    """All of it; `version` is in every manifest and model."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: str
    classes: tuple[DocumentClass, ...]
    fields: tuple[FieldSpec, ...]

    def field(self, name: str) -> FieldSpec:
        """The field of that name; KeyError if there is none."""
        return _fields()[name]

    def document_class(self, name: str) -> DocumentClass:
        """The class of that name; KeyError if there is none."""
        return _classes()[name]


@cache
def load_taxonomy() -> Taxonomy:
    """Read the taxonomy that ships with this package."""
    return Taxonomy.model_validate(yaml.safe_load(_text()))


@cache
def taxonomy_version() -> str:
    """Declared version and a hash of the content, e.g. `1.0+3fa91c07`; reads no YAML."""
    text = _text()
    declared = text.split("version:", 1)[1].split("\n", 1)[0].strip().strip('"')
    return f"{declared}+{hashlib.sha256(text.encode()).hexdigest()[:8]}"


@cache
def _text() -> str:
    return files("sap_llm.schema").joinpath("taxonomy.yaml").read_text(encoding="utf-8")


@cache
def _fields() -> dict[str, FieldSpec]:
    return {field.name: field for field in load_taxonomy().fields}


@cache
def _classes() -> dict[str, DocumentClass]:
    return {entry.name: entry for entry in load_taxonomy().classes}
