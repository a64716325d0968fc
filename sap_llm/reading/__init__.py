"""From a file to pages and words: text layer of PDFs, OCR of images, plain text, in a sandboxed process.

Belongs here: everything that turns bytes into `schema.page.Page`. Where the bytes come from is `sources`; what the
words mean is `modeling`.
"""
