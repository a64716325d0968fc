"""Seller and buyer on the page: letterhead, address window, party boxes, form sections, footer.

Everything that prints a party belongs here; other label-value pairs do not (`blocks_pairs`).
"""

import random
from functools import lru_cache
from typing import Any

from sap_llm.synthetic.blocks_noise import Pair
from sap_llm.synthetic.blocks_pairs import arrange, label
from sap_llm.synthetic.draft import Draft
from sap_llm.synthetic.markup import bold, call, grid, join, lines, points, stack, styled, text
from sap_llm.synthetic.papers_draft import PaperDraft
from sap_llm.synthetic.pools import invented_word, pools
from sap_llm.synthetic.worlds import make_party

STRANGERS = ("other-0", "other-1", "other-2", "ship")
"""Roles of third parties: what is printed of them is no field."""


@lru_cache(maxsize=1024)
def _stranger(seed: str, role: str, country: str) -> dict[str, Any]:
    rng = random.Random(f"{seed}/stranger/{role}")
    return make_party(
        rng, role, rng.choice(("DE", "FR", "ES", "GB", country, country)), kind="stranger", person_share=0.1
    ).printed


def party_of(draft: Draft, role: str) -> dict[str, Any]:
    """The facts about `seller`, `buyer` or one of `STRANGERS` (the same on all documents of a layout)."""
    if role in STRANGERS:
        return _stranger(draft.style.seed, role, draft.issuer["country"])
    party: dict[str, Any] = draft.facts[role]
    return party


def name_of(draft: Draft, role: str) -> str:
    """The name of a party, marked if it is a field."""
    return text(party_of(draft, role)["name"]) if role in STRANGERS else draft.name(role)


def vat_of(draft: Draft, role: str) -> str:
    """The VAT id of a party, marked if it is a field; nothing where the party has none."""
    if role not in STRANGERS:
        return draft.vat(role)
    value = party_of(draft, role)["vat_id"]
    return text(value) if value else ""


def address_lines(draft: Draft, role: str, *, name: str) -> list[str]:
    """Street, place and country of a party as the style writes them (one expression a line)."""
    party = party_of(draft, role)
    found = _place_lines(draft, party["address"], party["country"], name=name)
    if draft.style.chance(f"attention/{name}", 0.15):
        found.insert(0, text(f"{draft.style.word('contact')} {party['contact']}"))
    return found


def _place_lines(draft: Draft, place: dict[str, str], country: str, *, name: str) -> list[str]:
    style = draft.style
    city = f"{place['postcode']} {place['city']}"
    if country in ("GB", "US"):
        city = f"{place['city']} {place['postcode']}"
    prefix = style.pick(f"city_prefix/{name}", ("", "", "", "{} ", "{}-"))
    if place["postcode"][0].isdigit():  # L-4761 names its country already
        city = prefix.format(country) + city
    found = [text(place["street"]), text(city)]
    if place["extra"]:
        found.insert(0 if style.chance(f"extra_first/{name}", 0.3) else 1, text(place["extra"]))
    if style.chance(f"country/{name}", 0.45):
        is_code = style.chance(f"country_code/{name}", 0.25)
        shown = country if is_code else draft.country(country)
        if style.chance(f"country_beside/{name}", 0.15):
            found[-1] = text(f"{city} - {shown}")
        else:
            found.append(text(shown))
    return found


def letterhead(draft: Draft) -> str:
    """The issuer's head: logo as text, or full name with address."""
    style, role = draft.style, draft.role("issuer")
    name = draft.issuer["name"]
    size = points(style.number("logo_size", 12, 24))
    shape = style.pick("letterhead", ("logo", "name", "name_address", "line", "one_line", "logo_address", "none"))
    short = name.split()[0] if len(name.split()) > 1 else name[:6]
    if draft.issuer["salutation"] or len(short) < 3:  # nobody cuts a person's name, or goes by "Au"
        short = name
    if shape == "none":
        return ""
    if shape == "logo":
        return styled(
            bold(text(short if style.chance("logo_upper", 0.5) else short.upper())), size=size, fill=_colour(draft)
        )
    separator = style.pick("head_separator", (" · ", " - ", " | ", ", "))
    if shape == "one_line":
        return _one_line_head(draft, role, separator)
    full = styled(
        bold(draft.name(role, is_upper=style.chance("head_upper", 0.12))),
        size=points(style.number("head_size", 10, 20)),
        fill=_colour(draft),
    )
    if shape == "name":
        return full
    clear = style.number("head_size", 10, 20) * 0.4  # small print keeps clear of large letters
    if shape == "line":
        rows = [join(*_joined(address_lines(draft, role, name="head"), separator))]
        if draft.issuer["vat_id"] and style.chance("head_vat", 0.4):
            ids = [
                join(label(draft, style.word("vat_id"), name="head"), text(" "), draft.vat(role)),
                text(f"{style.word('tax_number')} {draft.issuer['tax_number']}"),
            ]
            rows.append(join(*_joined(ids, separator)))
        return stack([full, styled(stack(rows, spacing=4), size="0.85em")], spacing=clear)
    details = [*address_lines(draft, role, name="head"), *contact_lines(draft, draft.issuer, name="head")]
    if draft.issuer["vat_id"] and style.chance("head_vat", 0.35):
        details.append(join(label(draft, style.word("vat_id"), name="head"), text(" "), draft.vat(role)))
    if shape == "logo_address":
        full = styled(bold(text(short)), size=size)
        details.insert(0, draft.name(role))
    return stack([full, stack(details, spacing=style.number("head_gap", 3, 5.5))], spacing=clear + 2)


def _one_line_head(draft: Draft, role: str, separator: str) -> str:
    style = draft.style
    rows = [join(*_joined([draft.name(role), *address_lines(draft, role, name="head")], separator))]
    if found := contact_lines(draft, draft.issuer, name="head"):
        rows.append(join(*_joined(found, separator)))
    if draft.issuer["vat_id"] and style.chance("head_vat", 0.5):
        ids = [join(label(draft, style.word("vat_id"), name="head"), text(" "), draft.vat(role))]
        ids.append(text(f"{style.word('registry')} {draft.issuer['registry']}"))
        rows.append(join(*_joined(ids, separator)))
    return stack(rows, spacing=4)


def contact_lines(draft: Draft, party: dict[str, Any], *, name: str) -> list[str]:
    """Telephone, mail and web lines that the style shows."""
    style = draft.style
    found = []
    for concept, probability in (("phone", 0.5), ("email", 0.45), ("web", 0.35)):
        if style.chance(f"{concept}/{name}", probability):
            bare = style.chance(f"bare_contact/{name}", 0.4) and concept != "phone"
            found.append(text(party[concept] if bare else f"{style.word(concept)} {party[concept]}"))
    if style.chance(f"hours/{name}", 0.07):
        found.append(text(style.pick("hours", style.synonyms("hours"))))
    return found


def contact_section(draft: Draft, role: str, *, name: str) -> list[str]:
    """The person to ask at a party, under a heading of its own: a name that is no party's."""
    style, party = draft.style, party_of(draft, role)
    person = party["contact"]
    word = style.pick(f"contact_name_word/{name}", ("", *style.synonyms("person_word")))
    if style.chance(f"department/{name}", 0.3):
        word = f"{word}, {style.word('department_word')}" if word else word
        person = f"{person}, {style.rng('department').choice(pools()[style.language]['departments'])}"
    rows = [text(f"{word}: {person}" if word else person)]
    reach = [text(f"{style.word(concept)}: {party[concept]}") for concept in ("phone", "email")]
    rows += [join(*_joined(reach, ", "))] if style.chance(f"reach_on_line/{name}", 0.5) else reach
    heading = style.word("contact_section")
    if style.chance(f"contact_heading_inline/{name}", 0.3):
        return [join(text(f"{heading}: "), rows[0]), *rows[1:]]
    return [bold(text(heading + ":"), is_bold=style.chance(f"contact_heading_bold/{name}", 0.4)), *rows]


def _salutation(draft: Draft, role: str, shown_name: str) -> list[str]:
    """The name, with the salutation of a person before or above it."""
    word = party_of(draft, role)["salutation"]
    if not word:
        return [shown_name]
    return (
        [text(word), shown_name]
        if draft.style.chance("salutation_above", 0.5)
        else [join(text(word + " "), shown_name)]
    )


def address_window(draft: Draft) -> str:
    """Recipient's address as in a window envelope, with the sender's line above."""
    style, role = draft.style, draft.role("recipient")
    rows = []
    if style.chance("sender_line", 0.55):
        separator = style.pick("sender_separator", (" - ", " · ", " | ", ", ", " ● "))
        sender = [draft.name(draft.role("issuer")), *address_lines(draft, draft.role("issuer"), name="sender")[-2:]]
        rows.append(styled(join(*_joined(sender, separator)), size="0.72em"))
    if style.chance("window_heading", 0.3):
        rows.append(bold(label(draft, draft.heading(role), name="window")))
    rows += [*_salutation(draft, role, draft.name(role)), *address_lines(draft, role, name="window")]
    if role == "buyer" and party_of(draft, role)["vat_id"] and style.chance("window_vat", 0.15):
        rows.append(join(label(draft, style.word("vat_id"), name="window"), text(" "), draft.vat(role)))
    return stack(rows, spacing=style.number("window_gap", 3, 6))


def party_box(draft: Draft, role: str, *, name: str = "party", heading: str = "") -> str:
    """Heading, name, address, ids and contact of a party, in lines.

    Args:
        draft: The document.
        role: `seller`, `buyer` or one of `STRANGERS`.
        name: Boxes of one name look alike.
        heading: Instead of the role's own.
    """
    style = draft.style
    heading = heading or draft.heading(role)
    party = party_of(draft, role)
    shown_name = name_of(draft, role)
    if style.chance(f"heading_inline/{name}", 0.25):
        rows = [join(bold(text(heading + ": "), is_bold=style.chance(f"inline_bold/{name}", 0.6)), shown_name)]
    else:
        shown_name = bold(shown_name, is_bold=style.chance(f"name_bold/{name}", 0.3))
        rows = [bold(label(draft, heading, name=f"heading/{name}")), *_salutation(draft, role, shown_name)]
    rows += address_lines(draft, role, name=name)
    if style.chance(f"box_ids/{name}", 0.5):
        rows += _id_lines(draft, role, name=name)
    if style.chance(f"box_contact/{name}", 0.3):
        rows += contact_lines(draft, party, name=name)
    if style.chance(f"trading_name/{name}", 0.08):
        rows.append(text(f"{style.word('trading_name')}: {invented_word(draft.rng)}"))
    if style.chance(f"electronic/{name}", 0.1):
        rows.append(text(f"{style.word('electronic_address')}: {party['email']}"))
    if style.chance(f"contact_section/{name}", 0.18):
        rows += contact_section(draft, role, name=name)
    return stack(rows, spacing=style.number(f"box_gap/{name}", 2.5, 5))


def _id_lines(draft: Draft, role: str, *, name: str) -> list[str]:
    style, party = draft.style, party_of(draft, role)
    found = []
    vat = vat_of(draft, role)
    if vat:
        word = style.word("buyer_vat_id" if role == "buyer" and style.chance("buyer_vat_word", 0.4) else "vat_id")
        found.append(join(label(draft, word, name=name), text(" "), vat))
    if style.chance(f"gln/{name}", 0.25):
        found.insert(0, join(label(draft, style.word("gln"), name=name), text(f" {party['gln']}")))
    if style.chance(f"registry/{name}", 0.2):
        found.append(join(label(draft, style.word("registry"), name=name), text(f" {party['registry']}")))
    if style.chance(f"tax_number/{name}", 0.3):
        tax = join(label(draft, style.word("tax_number"), name=name), text(f" {party['tax_number']}"))
        if found and style.chance(f"ids_on_line/{name}", 0.4):
            found[-1] = join(found[-1], text(" - "), tax)
        else:
            found.append(tax)
    return found


def _party_number(draft: Draft, role: str) -> str:
    if role in STRANGERS or isinstance(draft, PaperDraft):
        return text(party_of(draft, role)["gln"][-6:])
    number = draft.facts["supplier_number" if role == "seller" else "customer_number"]
    is_field = role == "buyer" and draft.is_by_seller
    return draft.plain("customer_number", number) if is_field else text(number)


def party_form(draft: Draft, role: str, *, heading: str = "") -> str:
    """A section of labelled rows: name, address, ids."""
    style, party = draft.style, party_of(draft, role)
    pairs = []
    if style.chance("form_number", 0.6):
        pairs.append(Pair(style.word("number_word"), _party_number(draft, role)))
    if style.chance("form_gln", 0.3):
        pairs.append(Pair(style.word("gln"), text(party["gln"])))
    pairs.append(Pair(style.word("name_word"), bold(name_of(draft, role), is_bold=style.chance("form_bold", 0.4))))
    pairs.append(Pair(style.word("address_word"), lines(address_lines(draft, role, name="form"))))
    if style.chance("form_contact", 0.3):
        pairs.append(Pair(style.word("contact"), text(party["contact"])))
    if style.chance("form_tax_number", 0.4):
        pairs.append(Pair(style.word("tax_number"), text(party["tax_number"])))
    if party["vat_id"] and style.chance(f"form_vat/{role}", 0.85 if role == "seller" else 0.45):
        pairs.append(Pair(style.word("vat_id"), vat_of(draft, role)))
    shown_heading = bold(styled(text(heading or draft.heading(role)), size="1.1em"))
    body = arrange(draft, pairs, name="form", options=("zebra", "zebra", "columns", "colon", "boxed"))
    if style.chance("form_filled_heading", 0.5):
        shown_heading = call(
            "block",
            shown_heading,
            width="100%",
            inset="3pt",
            fill=style.pick("form_fill", ('rgb("#cfeefc")', "luma(220)", "luma(235)")),
        )
    return stack([shown_heading, body], spacing=4)


def other_parties(draft: Draft) -> list[str]:
    """Boxes of third parties that look like those of seller and buyer; none of their values is a field."""
    style = draft.style
    count = style.pick("other_parties", (1, 1, 1, 1, 2, 2, 3))
    words = style.rng("other_party_words").sample(style.synonyms("other_party"), count)
    name = "party" if style.chance("others_alike", 0.7) else "other"
    is_form = style.chance("others_as_form", 0.5) and draft.family == "form"
    return [
        party_form(draft, f"other-{index}", heading=word)
        if is_form
        else party_box(draft, f"other-{index}", name=name, heading=word)
        for index, word in enumerate(words)
    ]


def ship_to(draft: Draft) -> str:
    """Where goods go: the buyer again, a person there, or a stranger."""
    style = draft.style
    word = style.word("ship_to_heading")
    kind = style.pick("ship_kind", ("buyer", "buyer", "person", "stranger", "stranger"))
    heading = bold(label(draft, word, name="ship"))
    place = draft.facts.get("ship_to")
    if place and (kind == "buyer" or draft.subtype == "THIRD_PARTY"):
        shown = draft.plain("ship_to_name", place["name"])
        rows = [heading, shown, *_place_lines(draft, place["address"], place["country"], name="ship")]
        return stack(rows, spacing=style.number("box_gap/ship", 2.5, 5))
    if kind == "stranger":
        return party_box(draft, "ship", name="party" if style.chance("ship_alike", 0.6) else "ship", heading=word)
    shown = draft.name("buyer") if kind == "buyer" else text(draft.facts["buyer"]["contact"])
    rows = [heading, shown, *address_lines(draft, "buyer", name="ship")]
    return stack(rows, spacing=style.number("box_gap/ship", 2.5, 5))


def footer(draft: Draft) -> str:
    """Foot of the page: columns or lines with bank, registry, contact of the issuer; empty in some styles."""
    style = draft.style
    shape = style.pick("footer", ("columns", "columns", "columns", "line", "lines", "none", "none"))
    if shape == "none":
        return ""
    groups = _footer_groups(draft)
    size = points(style.number("footer_size", 5.5, 7.5))
    if shape == "columns":
        return styled(
            grid(f"({'1fr,' * len(groups)})", [stack(group, spacing=2) for group in groups], column_gutter="8pt"),
            size=size,
        )
    separator = style.pick("footer_separator", (" | ", " - ", " · ", ", ", "  "))
    if shape == "line":
        return styled(call("block", join(*_joined([part for group in groups for part in group], separator))), size=size)
    rows = [call("align", "center", join(*_joined(group, separator))) for group in groups]
    return styled(call("block", stack(rows, spacing=2.5), width="100%"), size=size)


def _footer_groups(draft: Draft) -> list[list[str]]:
    style, party, role = draft.style, draft.issuer, draft.role("issuer")
    company = [draft.name(role), *address_lines(draft, role, name="foot")]
    registry = [text(f"{style.word('registry')} {party['registry']}")]
    if party["vat_id"] and style.chance("foot_vat", 0.75):
        registry.append(join(label(draft, style.word("vat_id"), name="foot"), text(" "), draft.vat(role)))
    if style.chance("foot_tax", 0.4):
        registry.append(text(f"{style.word('tax_number')} {party['tax_number']}"))
    groups = [company, registry]
    if style.chance("foot_contact", 0.6):
        groups.append(contact_lines(draft, party, name="foot") or [text(party["web"])])
    if party["iban"] and style.chance("foot_bank", 0.65):
        groups.append(bank_lines(draft, name="foot"))
    if style.chance("foot_shuffle", 0.3):
        style.rng("foot_order").shuffle(groups)
    return groups


def bank_lines(draft: Draft, *, name: str) -> list[str]:
    """Bank, IBAN and BIC of the issuer; only the seller's are fields."""
    style, party = draft.style, draft.issuer
    iban = draft.iban() if draft.is_by_seller else text(party["iban"])
    bic = draft.bic() if draft.is_by_seller else text(party["bic"])
    rows = [text(party["bank"]), join(label(draft, style.word("iban"), name=name), text(" "), iban)]
    if style.chance(f"bic/{name}", 0.8):
        rows.append(join(label(draft, style.word("bic"), name=name), text(" "), bic))
    if style.chance(f"holder/{name}", 0.15) and draft.is_by_seller:
        rows.append(draft.name("seller"))
    return rows


def _joined(parts: list[str], separator: str) -> list[str]:
    found: list[str] = []
    for part in parts:
        found += [text(separator), part] if found else [part]
    return found


def _colour(draft: Draft) -> str:
    return draft.style.pick(
        "colour", ("black", "black", 'rgb("#1b4f8a")', 'rgb("#8a1b2c")', 'rgb("#2c6e49")', "luma(60)", 'rgb("#d35400")')
    )
