"""Pages of documentation as help portals print them, with everything around them that is not documentation."""

FRAME = """<!DOCTYPE html>
<html lang="{language}"><head><meta charset="utf-8"><title>{title} | Help Portal</title>
<link rel="license" href="https://creativecommons.org/licenses/by/4.0/">
<script>var tracking = "script text";</script><style>p {{ color: red }}</style></head>
<body class="layout-with-sidebar">
<div id="cookie-banner">We value your privacy. <button>Accept all cookies</button></div>
<header class="site-header"><a href="/">Portal logo</a></header>
<nav><ul><li>Products</li><li>Support</li></ul></nav>
<div class="breadcrumbs">Home &gt; Purchasing</div>
<div class="content">{body}</div>
<div class="sidebar"><h3>Related links</h3><p>Advertisement</p></div>
<noscript>Please enable JavaScript</noscript>
<footer>© Some company. Imprint. Privacy.</footer>
</body></html>"""
BOILERPLATE = (
    "script text",
    "privacy",
    "cookies",
    "logo",
    "Products",
    "Home",
    "Advertisement",
    "JavaScript",
    "Imprint",
)

PURCHASE_ORDER = """
<h1>Purchase Order</h1>
<p>A <b>purchase order</b> is a request to a<br>vendor to deliver <i>goods</i>.</p>
<!-- an editor's remark -->
<h2>Header Data</h2>
<p>The header applies to the whole document.</p>
<table>
 <caption>Fields of table EKKO</caption>
 <thead><tr><th>Field</th><th>Data Type</th><th>Description</th></tr></thead>
 <tbody>
  <tr><td>EBELN</td><td>CHAR(10)</td><td>Purchasing document number</td></tr>
  <tr><td>WAERS</td><td>CUKY(5)</td><td>Currency key</td></tr>
  <tr><td>ZZOWN</td><td>CHAR(3)</td><td>A customer's own field</td></tr>
  <tr><td colspan="3">The remaining fields are internal.</td></tr>
 </tbody>
</table>
<h3>Steps</h3>
<ol><li>Choose the vendor.</li><li><p>Enter the <code>BEDAT</code>.</p></li></ol>
<pre>SELECT ebeln
  FROM ekko</pre>
<h2>Glossary</h2>
<dl><dt>EKKO-BEDAT</dt><dd>Date of the purchasing document</dd>
<dt>Incoterms</dt><dd>Terms of <em>delivery</em></dd></dl>
"""

ENTITY = """
<h1>Purchase Order API</h1>
<h2>Entity Type A_PurchaseOrder</h2>
<table>
 <tr><th>Property Name</th><th>Label</th><th>Type</th></tr>
 <tr><td>EBELN</td><td>Purchase Order</td><td>Edm.String</td></tr>
 <tr><td>Unheard</td><td>Of</td><td>Edm.String</td></tr>
</table>
<h2>Entity Type B</h2>
<table><tr><th>Property</th><th>Description</th></tr><tr><td>EBELN</td><td>Another one</td></tr></table>
"""


def page(body: str, *, title: str = "Purchase Order", language: str = "en-US") -> bytes:
    """A whole page around a body."""
    return FRAME.format(body=body, title=title, language=language).encode()
