"""Where documents come from: the QorSync export, public corpora, e-invoices; one reader a file.

Belongs here: reading a foreign form into corpus tables, with truth aligned to the words on the page. Turning files into
words is `reading`, our own documents are `synthetic`, cleaning and splitting are `preparation`.
"""
