"""The language of a document by its words: six languages, no claim without evidence."""

from pathlib import Path

import pytest

from sap_llm.reading.document import read_document
from sap_llm.reading.language import STOP_WORDS, detect_language

TEXTS = {
    "en": "Please ship the items to our address. Payment is due within 30 days of the invoice date.",
    "de": "Bitte überweisen Sie den Betrag bis zum 14. März auf das unten genannte Konto. Danke für die Bestellung.",
    "fr": "Nous vous remercions de votre commande. Le montant est payable sous 30 jours, date de la facture.",
    "es": "Le agradecemos su pedido. El importe de la factura vence a los 30 días de la fecha indicada en el albarán.",
    "it": "La ringraziamo per il Suo ordine. Il pagamento della fattura è dovuto entro 30 giorni dalla data.",
    "nl": "Wij danken u voor uw bestelling. Gelieve het bedrag binnen 30 dagen op onze rekening te betalen.",
}


@pytest.mark.parametrize("language", TEXTS)
def test_a_sentence_is_enough(language: str) -> None:
    assert detect_language(TEXTS[language].split()) == language
    assert detect_language(TEXTS[language].upper().split()) == language
    read = read_document(TEXTS[language].encode(), name="note.txt")
    assert read.language == language


def test_too_little_or_as_much_for_another_is_no_claim() -> None:
    assert detect_language([]) is None
    assert detect_language("4711 12,50 EUR K-77 DE136695976".split()) is None
    assert detect_language(["Invoice", "invoice", "INVOICE:"]) is None, "one word three times is one word"
    both = [*TEXTS["en"].split(), *TEXTS["de"].split()]
    assert detect_language(both) in (None, "en", "de")
    known = sorted(STOP_WORDS["en"] - STOP_WORDS["de"])[:5] + sorted(STOP_WORDS["de"] - STOP_WORDS["en"])[:5]
    assert detect_language(known) is None


def test_the_order_of_words_says_nothing() -> None:
    words = TEXTS["de"].split()
    assert detect_language(words[::-1]) == detect_language(words + words) == "de"


def test_real_receipts_are_english(shared_data: Path) -> None:
    texts = [path.read_text(errors="replace") for path in sorted((shared_data / "sroie" / "box").glob("*.csv"))[:100]]
    words = [[word for row in text.splitlines() for word in row.split(",", 8)[-1].split()] for text in texts]
    found = [detect_language(page) for page in words]
    assert set(found) <= {"en", None}
    assert found.count("en") >= 0.9 * len(found)
