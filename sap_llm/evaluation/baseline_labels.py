# ruff: noqa: E501  (expressions are read more easily whole than cut at a column)
"""The words that the label baseline looks for, in English, German, French and Spanish.

Belongs here: regular expressions as data. They are those of common usage, written without looking at the generator's
lists, so that the baseline is what a careful person would set up by hand. How they are applied is `baseline`.

Within a field the first pattern is the most trusted. All are matched case-insensitively on the text of a visual line.
"""

_NUMBER = r"(?:nummer|number|num[ée]ro|n[úu]mero|n[úu]m|nr|no|n[°º]|id|#)"
_NO = rf"[\s.\-]*{_NUMBER}(?!\w)[.°º]?"
_NUMBER_OF = r"(?:n[°ºo]\.?|n\.º|num[ée]ro|n[úu]m(?:ero)?\.?)\s*(?:de\s+|du\s+|d')?(?:la\s+|l')?"

INVOICE, ORDER, CONFIRMATION, RECEIPT = "invoice", "order", "confirmation", "receipt"

NUMBER: dict[str, tuple[str, ...]] = {
    INVOICE: (
        rf"\b(?:rechnungs?|rg|re|gutschrifts?|rechnungskorrektur|fakturen?|invoice|inv|credit note|bill)(?:\s*\(\d+\))?{_NO}",
        rf"\b{_NUMBER_OF}(?:facture|factura|fra\.?|avoir|abono)",
        rf"\b(?:facture|factura|fra\.?|avoir|abono)\s*(?:{_NUMBER}(?!\w)\.?)?",
        rf"\b(?:handels)?rechnung(?:\s*\(\d+\))?\s*(?:{_NUMBER}(?!\w)\.?)?",
        rf"\b(?:beleg|document|dokument|documento|pi[èe]ce){_NO}",
        rf"\b{_NUMBER_OF}(?:documento|pi[èe]ce|document)",
        r"\b(?:invoice|tax invoice)\b",
        r"\bR\.?-Nr\b\.?",
    ),
    ORDER: (
        r"\border (?:change|response)\b",
        rf"\b(?:purchase order|p\.?o\.?|(?<!sales )order|bestell(?:ung)?|auftrags?){_NO}",
        rf"\b{_NUMBER_OF}(?:commande|bon de commande|pedido|orden de compra|o\.?c\.?)",
        rf"\b(?:bon de commande|commande|pedido|orden de compra|bestellung|purchase order)\s*(?:{_NUMBER}(?!\w)\.?)?",
        rf"\b(?:beleg|document|documento|pi[èe]ce){_NO}",
    ),
    CONFIRMATION: (
        rf"\b(?:auftrags?(?:best[äa]tigung)?|sales order|order confirmation|confirmation|acknowledge?ment|s\.?o\.?|ab){_NO}",
        rf"\b(?:our order|unsere? auftrags?){_NO}",
        rf"\b{_NUMBER_OF}(?:confirmation|confirmaci[óo]n|arc|ar)\b",
        rf"\b(?:confirmation de commande|confirmaci[óo]n(?: de pedido)?|commande client|pedido de venta)\s*(?:{_NUMBER}(?!\w)\.?)?",
        rf"\b(?:beleg|document|documento|pi[èe]ce){_NO}",
        rf"\b(?:order|commande|pedido){_NO}",
    ),
    RECEIPT: (
        rf"\b(?:goods receipt|grn|gr|material document|receipt|wareneingangs?|we|materialbeleg|receiver){_NO}",
        rf"\b{_NUMBER_OF}(?:r[ée]ception|recepci[óo]n|entrada|b\.?r\.?)\b",
        rf"\b(?:bon de r[ée]ception|r[ée]ception|recepci[óo]n|entrada|materialbeleg|material document|grn)\s*(?:{_NUMBER}(?!\w)\.?)?",
        rf"\b(?:beleg|document|documento|pi[èe]ce){_NO}",
    ),
}
"""Labels of the document's own number by kind of document."""

REFERENCE: tuple[str, ...] = (
    rf"\b(?:your order|your purchase order|customer p\.?o\.?|purchase order|ihre bestell(?:ung)?|bestell(?:ung)?){_NO}",
    r"\b(?:your order|your reference|your ref|ihre bestellung|ihre referenz|ihr zeichen|votre r[ée]f[ée]rence|votre commande)\b",
    r"\b(?:su pedido|su referencia|r[ée]f\.? commande|purchase order id|ordernummer)\b",
    rf"\bp\.?o\.?{_NO}",
    rf"\b{_NUMBER_OF}(?:commande|bon de commande|pedido|orden de compra)",
    rf"(?<!sales )\border{_NO}",
    r"\b(?:bestellung|commande|pedido|purchase order|(?<!sales )order|reference|referenz)\b",
)
"""Labels of the order that another document refers to."""

DATES: dict[str, tuple[str, ...]] = {
    "due_date": (
        r"\b(?:f[äa]llig(?:keitsdatum)?|zahlbar bis|zahlungsziel|due date|payment due|due on|pay by|date d'[ée]ch[ée]ance)\b",
        r"\b(?:[ée]ch[ée]ance|vencimiento|vence|f[äa]llig(?:keit)?(?: am)?|zahlbar|bis zum|due|pagar antes del|r[ée]gler avant)\b",
    ),
    "delivery_date": (
        r"\b(?:liefer-?\s?(?:datum|termin)|leistungs-?\s?datum|liefer- und leistungsdatum|delivery date|date of delivery)\b",
        r"\b(?:date de livraison|livraison (?:le|pr[ée]vue)|fecha de entrega|entrega|requested delivery|deliver by)\b",
    ),
}
"""Labels of dates other than the document's own, most trusted first."""

DATE: dict[str, tuple[str, ...]] = {
    INVOICE: (
        r"\b(?:rechnungs|beleg|gutschrifts)-?\s?datum\b|\b(?:invoice|bill|document|issue) date\b|\bdate of (?:invoice|issue)\b",
        r"\bdate (?:de |d')?(?:la )?(?:facture|facturation|[ée]mission)\b|\bfecha (?:de )?(?:la )?(?:factura|emisi[óo]n|expedici[óo]n)\b",
    ),
    ORDER: (
        r"\bbestell-?\s?datum\b|\b(?:order|po|document|issue) date\b|\bdate of (?:order|issue)\b",
        r"\bdate (?:de |d')?(?:la )?(?:commande|[ée]mission)\b|\bfecha (?:de(?:l)? )?(?:pedido|emisi[óo]n|orden)\b",
    ),
    CONFIRMATION: (
        r"\b(?:auftrags|best[äa]tigungs|beleg)-?\s?datum\b|\b(?:confirmation|document|issue) date\b|\bdate of confirmation\b",
        r"\bdate (?:de |d')?(?:la )?confirmation\b|\bfecha (?:de )?(?:la )?confirmaci[óo]n\b|\b(?:order date|date de commande)\b",
    ),
    RECEIPT: (
        r"\b(?:wareneingangs|eingangs|we|buchungs|beleg)-?\s?datum\b|\b(?:receipt|posting|document|received|gr) date\b",
        r"\bdate (?:de |d')?(?:la )?(?:r[ée]ception|comptable)\b|\bfecha (?:de )?(?:la )?(?:recepci[óo]n|entrada|contabilizaci[óo]n)\b",
    ),
}
"""Labels of the document's date by kind of document; a bare `date` and `vom` come after them."""

BARE_DATE: tuple[str, ...] = (
    r"(?<![\w-])(?<!due )(?<!order )(?<!delivery )(?:datum|date|fecha|dated)\b(?! d)",
    r"\b(?:vom|von|du|del|le|emitida el)\b",
)

AMOUNTS: dict[str, tuple[str, ...]] = {
    "total_amount": (
        r"\b(?:total ttc|montant ttc|grand total|total (?:amount )?(?:incl|inc|with(?!out))\w*|(?:rechnungssumme )?brutto(?:summe|betrag)?|endbetrag)\b",
        r"\b(?:rechnungs(?:betrag|endbetrag)|gesamtbetrag|gesamtsumme|zahlbetrag|total (?:a pagar|factura)|importe total|net [àa] payer)\b",
        r"\b(?:amount due|invoice total|total amount|order total|total (?:due|order|general)|total for this invoice|balance due|payable|zu zahlen(?:der \w+)?)\b(?! (?:without|ex|net|of lines))",
        r"(?<!sub)(?<!sub-)(?<!sous-)(?<!vat )(?<!tax )(?<!tva )(?<!iva )(?<!net )\btotal\b(?! (?:ht|h\.t|net|neto|tax|taxes|tva|iva|vat|mwst|without|ex|amount without|of|amount of|lines))",
        r"(?<!ust\. )(?<!mwst\. )(?<!mwst )\b(?:gesamt|totaal|summe)\b(?! (?:netto|ohne))",
    ),
    "net_amount": (
        r"\b(?:rechnungssumme netto|netto(?:betrag|summe|gesamt)|gesamt netto|summe netto|rechnungssumme ohne ust|gesamtbetrag ohne|total (?:ht|h\.t\.?|neto|net))\b",
        r"\b(?:total (?:amount )?(?:without|excl\w*|before) (?:vat|tax)|net (?:amount|total|value)|montant (?:total )?ht|base imponible)\b",
        r"\b(?:sub-?\s?total|sous-total|zwischensumme|warenwert|importe neto|netto(?:wert)?|suma|positionssumme|total amount of lines)\b",
    ),
    "tax_amount": (
        r"\b(?:steuerbetrag|ust\.? gesamt|(?:mwst|ust|umsatzsteuer)\.?-?betrag|total (?:tax(?:es)?|tva|iva|vat)|(?:vat|tax) (?:amount|total))\b",
        r"\b(?:montant (?:de la )?tva|importe iva|cuota (?:de )?iva|total taxes)\b",
        r"(?<!inkl\. )(?<!incl\. )(?<!excl\. )(?<!excl )(?<!incl )(?<!ohne )(?<!zzgl\. )(?<!without )\b(?:mwst|ust|umsatzsteuer|mehrwertsteuer|tva|iva|vat|sales tax|tax|gst|btw|steuer)\b(?![\s.\-]*(?:id|nr|no\b|number|reg))",
    ),
}
"""Labels of amounts, most trusted first."""

VALUES: dict[str, tuple[str, ...]] = {
    "customer_number": (
        rf"\b(?:kunden?|customer|client|account|klant){_NO}",
        rf"\b{_NUMBER_OF}(?:client|cliente)\b",
        r"\b(?:code client|c[óo]digo (?:de )?cliente)\b",
    ),
    "delivery_note_number": (
        rf"\b(?:lieferscheins?|delivery note|delivery|bon de livraison|albar[áa]n|packing slip|despatch(?: note)?){_NO}",
        rf"\b{_NUMBER_OF}(?:bon de livraison|bl|albar[áa]n)\b",
    ),
    "bic": (r"\b(?:bic|swift)(?:[\s\-/]*(?:code|bic|swift))?\b",),
}
"""Labels of other identifiers."""

TERMS: tuple[str, ...] = (
    r"\b(?:zahlungsbedingung(?:en)?|zahlungskonditionen|payment terms?|terms of payment|conditions? de (?:paiement|r[èe]glement))\b",
    r"\b(?:condiciones de pago|forma de pago|terms)\b",
)
"""Labels of the terms of payment."""

PARTIES: dict[str, tuple[str, ...]] = {
    "seller_name": (
        r"\b(?:verk[äa]ufer|lieferant|seller|vendor|supplier|sold by|vendeur|fournisseur|vendedor|proveedor)\b",
    ),
    "buyer_name": (
        r"\b(?:k[äa]ufer(?:/leistungsempf[äa]nger)?|rechnungsempf[äa]nger|auftraggeber|besteller|buyer|customer|bill(?:ed)? to(?: address)?)\b",
        r"\b(?:invoice to|sold to|acheteur|client|factur[ée]r? [àa]|cliente|comprador|facturar a|kunde|billing address)\b",
    ),
}
"""Labels of the two parties."""

SELLER_HINT = r"seller|vendor|supplier|lieferant|verk[äa]ufer|vendeur|fournisseur|proveedor|vendedor"
BUYER_HINT = r"buyer|customer|client|kunde|k[äa]ufer|ihre|your|votre|acheteur|cliente|su nif"
OTHER_PARTIES = r"ship|invoicee|payee|req|deliver|liefer(?:adresse|anschrift)|steuerbevollm|representative|agent"
"""Words before a VAT id that say whose it is."""

NO_NAMES = r"^(?:nummer|nr|no|number|id|gln|name|adresse|address|anschrift|date|datum|fecha|kunden|page|seite)\b"
"""Beginnings of cells that are labels, not names."""

TITLES: dict[str, tuple[str, ...]] = {
    "CREDIT_NOTE": (
        r"credit (?:note|memo)",
        r"gutschrift",
        r"rechnungs-?korrektur",
        r"avoir",
        r"note de cr[ée]dit",
        r"nota de cr[ée]dito",
    ),
    "ORDER_CHANGE": (r"order change", r"bestell[äa]nderung", r"modification de commande", r"modificaci[óo]n de pedido"),
    "ORDER_RESPONSE": (r"order response",),
    "SALES_ORDER": (
        r"order (?:confirmation|acknowledge?ment)",
        r"sales order",
        r"auftragsbest[äa]tigung",
        r"bestellbest[äa]tigung",
        r"kundenauftrag",
        r"confirmation de commande",
        r"accus[ée] de (?:r[ée]ception de )?commande",
        r"commande client",
        r"confirmaci[óo]n de pedido",
        r"pedido de venta",
    ),
    "GOODS_RECEIPT": (
        r"goods re(?:ceipt|ceived)(?: note| slip)?",
        r"receiving report",
        r"grn",
        r"wareneingang\w*",
        r"materialbeleg",
        r"material document",
        r"bon de r[ée]ception",
        r"avis de r[ée]ception",
        r"r[ée]ception de marchandises",
        r"entr[ée]e de marchandises",
        r"(?:entrada|recepci[óo]n) de mercanc[íi]as",
        r"nota de recepci[óo]n",
    ),
    "PURCHASE_ORDER": (
        r"(?:purchase|supply|standard) order",
        r"purchase order",
        r"bestellung",
        r"bestellschein",
        r"bon de commande",
        r"commande(?: d'achat)?",
        r"(?:orden|pedido) de compra",
        r"pedido",
        r"order",
        r"auftrag",
    ),
    "SUPPLIER_INVOICE": (
        r"(?:tax |commercial |retail |vat |sales )?invoices?(?: summary)?",
        r"\w*rechnung",
        r"facture",
        r"factura",
        r"factuur",
        r"faktura",
        r"bill",
    ),
    "RECEIPT": (r"(?:cash|sales|official) (?:receipt|bill)", r"quittung", r"ticket de caisse", r"cash sale"),
    "FORM": (r"form", r"questionnaire"),
}
"""Titles by class, the more special classes first."""
