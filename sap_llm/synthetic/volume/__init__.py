"""The volume tier of the generator: PDF content written directly, with boxes computed from font metrics.

`document.draw_fact` is the way in. What documents say is made elsewhere (`chains`), and so are styles, label words and
the blocks of parties, which both tiers share.
"""
