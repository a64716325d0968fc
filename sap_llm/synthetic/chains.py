"""All chains of a world: purchases of the house from its vendors, and its sales to its customers.

Which chains a world has belongs here; what happens in one does not (`procurement`, `sales`).
"""

import random
from collections.abc import Iterator, Mapping

from sap_llm.synthetic.procurement import Procurement
from sap_llm.synthetic.records import Fact
from sap_llm.synthetic.sales import Sales
from sap_llm.synthetic.worlds import World


def make_chains(
    world: World, *, seed: int, count: int, lines_max: int, sales: int = 0,
    order_subtypes: Mapping[str, float] | None = None, invoice_subtypes: Mapping[str, float] | None = None,
) -> Iterator[Fact]:  # fmt: skip
    """All documents of `count` purchases and `sales` sales of the world.

    Args:
        world: Who trades.
        seed: Of the chains; each has a random stream of its own.
        count: Purchases, shared out evenly among companies and vendors.
        lines_max: Lines of an order at most.
        sales: Sales.
        order_subtypes: How often each subtype of purchase orders is made; those of `data/subtypes.yaml` if not given.
        invoice_subtypes: Likewise for supplier invoices.
    """
    for index in range(count):
        purchase = Procurement(
            random.Random(f"purchase/{seed}/{world.number}/{index}"), seed=seed, world=world,
            name=f"{world.name}-c{index:04d}", company=world.companies[index % len(world.companies)],
            vendor=world.vendors[index % len(world.vendors)], lines_max=lines_max,
            order_subtypes=order_subtypes or {}, invoice_subtypes=invoice_subtypes or {},
        )  # fmt: skip
        yield from purchase.facts()
    for index in range(sales):
        sale = Sales(
            random.Random(f"sale/{seed}/{world.number}/{index}"), seed=seed, world=world,
            name=f"{world.name}-s{index:04d}", company=world.companies[index % len(world.companies)],
            customer=world.customers[index % len(world.customers)], lines_max=lines_max,
        )  # fmt: skip
        yield from sale.facts()
