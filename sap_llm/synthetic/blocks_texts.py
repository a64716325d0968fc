"""Sentences on the page: the first ones, notes about the subtype, conditions, prose about other things.

Texts that are no label, value or title belong here; titles do not (`layouts`), nor sentences about payment
(`blocks_totals`).
"""

from sap_llm.synthetic.blocks_totals import headed
from sap_llm.synthetic.draft import Draft
from sap_llm.synthetic.markup import stack, text
from sap_llm.synthetic.style import labels


def intro(draft: Draft) -> str:
    """First sentences of the class, in half of the styles."""
    style = draft.style
    if not style.chance("intro", 0.55):
        return ""
    sayable = [one for one in labels(style.language)["intro"][draft.kind] if draft.can_say(one)]
    template = style.rng(f"intro/{draft.kind}").choice(sayable)
    rows = [draft.sentence(part) for part in template.split("|")]
    return draft.sheet.block("text", stack([*rows, prose(draft, "above")], spacing=6))


def closing_texts(draft: Draft) -> str:
    """Sentences below the sums: what says the subtype, conditions, greetings."""
    style = draft.style
    count = style.pick("noise_sentences", (0, 0, 1, 1, 2, 3))
    kinds = ["all", draft.issuer_role] + (["bill"] if draft.spec.sums == "taxed" and draft.is_by_seller else [])
    vocabulary = [sentence for kind in kinds for sentence in style.synonyms("noise", kind)]
    rows = [draft.sentence(sentence) for sentence in style.rng("noise_text").sample(vocabulary, count)]
    rows = _subtype_notes(draft) + rows
    if style.chance("closing", 0.3):
        words = style.synonyms("closing") + (style.synonyms("seller_closing") if draft.is_by_seller else [])
        rows.append(text(style.rng("closing").choice(words)))
        if style.chance("closing_name", 0.5):
            rows.append(
                draft.name(draft.role("issuer"))
                if style.chance("closing_company", 0.6)
                else text(draft.issuer["contact"])
            )
    return draft.sheet.block("text", headed(draft, "notes", stack(rows, spacing=4))) if rows else ""


def _subtype_notes(draft: Draft) -> list[str]:
    """What says the subtype: nearly always where the title does not."""
    style, name = draft.style, f"{draft.kind}.{draft.subtype}"
    named = labels(style.language)["subtypes"].get(name)
    notes = labels(style.language)["subtype_notes"].get(name)
    found = []
    if notes and draft.rng.random() < (0.6 if named and draft.is_titled else 0.95):
        found.append(text(style.pick(f"subtype_note/{name}", notes)))
    if named and not draft.is_titled and draft.rng.random() < 0.6:
        word = labels(style.language)["subtype_note"]
        found.append(text(f"{word}: {style.pick(f'subtype/{draft.subtype}', named)}"))
    return found


def prose(draft: Draft, place: str) -> str:
    """A paragraph about other things, full of dates, amounts and numbers that are no fields."""
    style = draft.style
    is_of_money = draft.is_priced and draft.is_by_seller
    if (
        not is_of_money
        or not style.chance("prose", 0.16)
        or style.pick("prose_place", ("above", "below", "below")) != place
    ):
        return ""
    vocabulary = style.synonyms("prose")
    count = min(len(vocabulary), style.pick("prose_sentences", (2, 3, 4, 6, 9)))
    chosen = style.rng("prose_text").sample(vocabulary, count)
    if style.chance("prose_lines", 0.3):
        return draft.sheet.block("text", stack([draft.sentence(part) for part in chosen], spacing=4))
    return draft.sheet.block("text", draft.sentence(" ".join(chosen)))
