"""Words that stand beside a header field on real documents, in English, German, French and Spanish.

Belongs here: the label patterns that decide between several places showing one value. The regex baseline of
`evaluation` has labels of its own: truth must not depend on a rival.
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
