"""Which language a document is written in, by the words that give it away.

Belongs here: the lists and the one rule, which Spark applies to whole corpora (`preparation.job`). Business documents
are names, numbers and a few dozen labels of a known vocabulary, so that lists go far.

The rule: the language with most distinct words of its list, if they are at least `FEWEST_HITS` and more than those of
any other language. Words are runs of letters in lower case; a word may stand in several lists.
"""

import re
from collections.abc import Iterable

FEWEST_HITS = 3
"""Below so many distinct words no language is claimed."""

_LISTS = {
    "de": "der die das und für von mit bei wir ihre ihr bitte rechnung bestellung lieferung menge einzelpreis gesamt "
    "netto brutto mwst ust steuer datum nummer zahlbar tage innerhalb auf zum zur im den dem ist nach uhr straße "
    "bis nicht betrag kunde gesamtbetrag rechnungsnummer rechnungsdatum lieferschein bezeichnung zahlung "
    "umsatzsteuer bestellnummer",
    "en": "the and of for with by our your you please invoice order delivery quantity price total net gross tax date "
    "number payable days within to from is terms payment due unit amount description street customer receipt cash "
    "change thank bill ship item subtotal purchase address qty goods sales",
    "es": "el la los las y de del para por con su nuestro factura pedido entrega cantidad precio total neto iva fecha "
    "número días pago vencimiento importe descripción unidad albarán calle cliente proveedor una impuesto en gracias "
    "dirección base imponible",
    "fr": "le la les et de du des pour par avec votre notre nous sur une facture commande livraison quantité prix "
    "total net tva date numéro jours paiement échéance montant désignation unité rue client fournisseur sous au aux "
    "taxe adresse merci",
    "it": "il lo la gli le e di del della dei per con da nostro vostro fattura ordine consegna quantità prezzo totale "
    "netto iva data numero giorni pagamento scadenza importo descrizione unità cliente fornitore via imponibile una "
    "sono grazie imposta bolla",
    "nl": "de het een en van voor met door onze uw wij factuur bestelling levering aantal prijs totaal netto btw datum "
    "nummer dagen betaling vervaldatum bedrag omschrijving eenheid klant leverancier straat op te naar bij is binnen "
    "factuurnummer factuurdatum gelieve bruto subtotaal",
}
STOP_WORDS: dict[str, frozenset[str]] = {code: frozenset(words.split()) for code, words in _LISTS.items()}
"""Lower-case words by ISO 639-1 code."""

_LETTERS = re.compile(r"[^\W\d_]+")


def detect_language(words: Iterable[str]) -> str | None:
    """ISO 639-1 code of the language of a page or document, or None where too little or as much speaks for another."""
    met = {part for word in words for part in _LETTERS.findall(word.lower())}
    (second, _), (best, code) = sorted((len(met & known), code) for code, known in STOP_WORDS.items())[-2:]
    return code if best >= FEWEST_HITS and best > second else None
