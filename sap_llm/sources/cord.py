"""CORD receipts: one record of the corpus to truth and words.

Belongs here: CORD's annotation (`valid_line` with quads in pixels, `gt_parse` with menu and totals) and its amounts in
rupiah. Fetching records is `hub`.
"""

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

from sap_llm.sources.truth import Truth

Word = tuple[str, list[float]]

_MENU = {
    "nm": "line_description",
    "num": "line_material_number",
    "cnt": "line_quantity",
    "unitprice": "line_unit_price",
    "price": "line_net_amount",
    "discountprice": "line_discount_amount",
}
_TOTALS = {
    ("sub_total", "subtotal_price"): "net_amount",
    ("sub_total", "tax_price"): "tax_amount",
    ("sub_total", "discount_price"): "allowance_amount",
    ("sub_total", "service_price"): "charge_amount",
    ("total", "total_price"): "total_amount",
}
_TEXTS = ("nm", "num")
_FRACTION = re.compile(r"[.,]\d{1,2}$")  # rupiah have no decimals, but some tills print ",00"


def cord_words(annotation: Mapping[str, Any]) -> list[Word]:
    """Words with their boxes in pixels."""
    words = []
    for line in annotation["valid_line"]:
        for word in line["words"]:
            quad = word["quad"]
            xs, ys = ([float(quad[f"{axis}{corner}"]) for corner in range(1, 5)] for axis in "xy")
            words.append((str(word["text"]), [min(xs), min(ys), max(xs), max(ys)]))
    return words


def cord_truth(annotation: Mapping[str, Any]) -> Truth:
    """Totals and menu lines; without `gt_parse` (CORD as first published) they are put together from the lines."""
    parse = annotation.get("gt_parse") or _parse_of_lines(annotation["valid_line"])
    header = {}
    for (group, name), field in _TOTALS.items():
        amount = _amount(_first(_first(parse.get(group)).get(name)))
        if amount is not None:
            header[field] = amount
    items = parse.get("menu") or []
    lines = [_line(item) for item in (items if isinstance(items, list) else [items]) if isinstance(item, Mapping)]
    return Truth(document_type="RECEIPT", header=header, lines=tuple(line for line in lines if line))


def read_annotation(text: str) -> Mapping[str, Any]:
    """The JSON of `ground_truth`."""
    annotation: Mapping[str, Any] = json.loads(text)
    return annotation


def _line(item: Mapping[str, Any]) -> dict[str, str]:
    line = {}
    for name, field in _MENU.items():
        raw = _first(item.get(name))
        value = raw if name in _TEXTS else _count(raw) if name == "cnt" else _amount(raw)
        if isinstance(value, str) and value.strip():
            line[field] = " ".join(value.split())
    return line


def _amount(text: Any) -> str | None:
    """Whole rupiah of a printed amount, whatever separates its thousands."""
    if not isinstance(text, str):
        return None
    digits = re.sub(r"\D", "", _FRACTION.sub("", text.strip()))
    return f"{'-' if '-' in text else ''}{digits}" if digits else None


def _count(text: Any) -> str | None:
    found = re.search(r"\d+", text) if isinstance(text, str) else None
    return found[0] if found else None


def _first(value: Any) -> Any:
    """CORD repeats a group as a list where it occurs more than once; the first counts. Absent is an empty group."""
    if isinstance(value, list):
        value = value[0] if value else None
    return {} if value is None else value


def _parse_of_lines(lines: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """`gt_parse` from the categories (`menu.nm`, `total.total_price`) and groups of `valid_line`."""
    menu: dict[Any, dict[str, str]] = {}
    parse: dict[str, Any] = {"menu": []}
    for line in lines:
        group, _, name = str(line.get("category", "")).partition(".")
        words = [word for word in line["words"] if not word.get("is_key")]  # keys are labels such as TOTAL
        text = " ".join(str(word["text"]) for word in words)
        record = menu.setdefault(line.get("group_id"), {}) if group == "menu" else parse.setdefault(group, {})
        if isinstance(record, dict) and text:
            record[name] = f"{record[name]} {text}" if name in record else text
    return parse | {"menu": list(menu.values())}
