"""Words that betray a language: enough to tell en, de, fr and es business documents apart.

Belongs here: the lists. The counting is done where the text is (`job`).
"""


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


STOP_WORDS: dict[str, tuple[str, ...]] = {
    "de": _words(
        "der die das und für von mit bei wir ihre ihr bitte rechnung bestellung lieferung menge einzelpreis gesamt "
        "netto brutto mwst ust steuer datum nummer zahlbar tage innerhalb auf zum im den dem ist nach uhr straße"
    ),
    "en": _words(
        "the and of for with by our your you please invoice order delivery quantity price total net gross tax date "
        "number payable days within to from is terms payment due unit amount description street"
    ),
    "es": _words(
        "el la los las y de del para por con su nuestro factura pedido entrega cantidad precio total neto iva fecha "
        "número días pago vencimiento importe descripción unidad albarán calle cliente proveedor"
    ),
    "fr": _words(
        "le la les et de du des pour par avec votre notre facture commande livraison quantité prix total net tva date "
        "numéro jours paiement échéance montant désignation unité rue client fournisseur sous au"
    ),
}
"""Lower-case words by ISO 639-1 code; a word may stand in several lists."""

FEWEST_HITS = 3
"""Below so many distinct words no language is claimed."""
