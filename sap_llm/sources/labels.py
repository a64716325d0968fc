"""Words that stand beside a header field on real documents, in English, German, French and Spanish.

Belongs here: the label patterns that decide between several places showing one value, and the words that give a
document's language away. The regex baseline of `evaluation` has labels of its own: truth must not depend on a rival.
"""

import re

LABELS = {
    name: re.compile(pattern, re.IGNORECASE)
    for name, pattern in {
        "document_number": r"invoice|rechnung|factur[ea]|avoir|order|bestell|commande|pedido|beleg|n[ro°º]\b|number",
        "document_date": r"dat[eu]|fecha|\bvom\b|\bdu\b|issued",
        "due_date": r"due|fällig|zahlbar|échéance|echeance|vencimiento|bis zum|pay by",
        "delivery_date": r"deliver|liefer|leistung|livraison|entrega|supply",
        "order_reference": r"order|bestell|commande|pedido|\bpo\b|auftrag|referen|référence",
        "delivery_note_number": r"liefersch|delivery note|despatch|bon de livraison|albar",
        "customer_number": r"kund|customer|client|käufer|buyer|nummer",
        "seller_name": r"seller|verkäufer|lieferant|vendeur|fournisseur|vendedor|supplier|name",
        "buyer_name": r"buyer|käufer|kunde|acheteur|client|comprador|bill to|name",
        "seller_vat_id": r"vat|ust|tva|mwst|nif|iva",
        "buyer_vat_id": r"vat|ust|tva|mwst|nif|iva",
        "net_amount": r"net|ht\b|hors tax|basis|base|subtotal|zwischensumme|without|sin iva|imponible",
        "tax_amount": r"tax|vat|mwst|ust|steuer|tva|iva|gst",
        "tax_rate": r"tax|vat|mwst|ust|steuer|tva|iva|gst|%",
        "total_amount": r"total|gesamt|brutto|ttc|summe|betrag|importe|grand",
        "iban": r"iban|konto|account",
        "bic": r"bic|swift",
        "payment_terms": r"zahl|payment|paiement|règlement|pago|terms|skonto",
    }.items()
}

_STOPWORDS = {
    "de": "der die das und für mit von bis nicht rechnung bitte ihre wir zum zur betrag datum menge lieferung netto "
    "kunde bestellung steuer nummer zahlbar straße",
    "fr": "le les des du pour avec facture votre nous sur par une date montant quantité livraison commande taxe "
    "numéro client désignation prix rue total",
    "es": "el los las del para con factura su por una fecha importe cantidad entrega pedido impuesto número cliente "
    "precio calle",
    "en": "the and for with of invoice your to from date amount quantity delivery order tax number customer price "
    "total please receipt street cash change",
}
_LANGUAGE_BY_WORD: dict[str, list[str]] = {}
for _language, _words in _STOPWORDS.items():
    for _word in _words.split():
        _LANGUAGE_BY_WORD.setdefault(_word, []).append(_language)

_MIN_HITS = 2


def guess_language(words: list[str]) -> str | None:
    """ISO 639-1 code of the language with most stop words, or None when hardly any are met."""
    hits: dict[str, float] = {}
    for word in words:
        languages = _LANGUAGE_BY_WORD.get(word.casefold().strip(".,:;()"), [])
        for language in languages:
            hits[language] = hits.get(language, 0.0) + 1 / len(languages)
    if not hits or max(hits.values()) < _MIN_HITS:
        return None
    return max(sorted(hits), key=lambda language: hits[language])
