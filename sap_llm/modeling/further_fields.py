"""Header fields beyond the core: decoded by type alone.

Belongs here: whatever the taxonomy names and no rule of `decoding` knows. A field moves there when its value depends on
those of others.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from sap_llm.modeling.candidates import Scroll, candidates
from sap_llm.modeling.decoding import ACCEPTED, to_field
from sap_llm.modeling.normalise import Manner, field_type
from sap_llm.modeling.protocol import PredictedField
from sap_llm.schema.page import Page

Array = npt.NDArray[Any]
_LEAST = 0.05


def decode_further_fields(
    pages: Sequence[Page], probabilities: Array, names: Sequence[str], scroll: Scroll, manner: Manner
) -> tuple[PredictedField, ...]:
    """The likeliest value of each field that has one.

    Args:
        pages: The document's pages in order.
        probabilities: float [n, fields] over the words of all pages.
        names: Of the fields.
        scroll: The pages' words concatenated.
        manner: How the document writes.
    """
    found = []
    # most of the taxonomy is on no page: only fields with a likely word are looked for
    for index in np.flatnonzero(probabilities.max(axis=0, initial=0.0) >= ACCEPTED).tolist():
        name = names[index]
        options = candidates(
            scroll, probabilities[:, index], field=name, kind=field_type(name), manner=manner, least=_LEAST
        )
        if options and options[0].score >= ACCEPTED:
            found.append(to_field(name, options[0], pages, scroll))
    return tuple(found)
