"""The EDMX parser: every real document, every kind of annotation, and documents that mean harm."""

import re
from pathlib import Path

import pytest

from sap_llm.schema.taxonomy import load_taxonomy
from sap_llm.sources.edmx import EdmxError, Navigation, Property, Service, parse_edmx
from sap_llm.sources.edmx_annotations import ValueList
from sap_llm.sources.knowledge_tables import SERVICE_TABLES, service_tables
from sap_llm.sources.taxonomy_match import TaxonomyIndex

V2 = """<?xml version="1.0" encoding="utf-8"?>
<edmx:Edmx Version="1.0" xmlns:edmx="http://schemas.microsoft.com/ado/2007/06/edmx"
  xmlns:m="http://schemas.microsoft.com/ado/2007/08/dataservices/metadata"
  xmlns:sap="http://www.sap.com/Protocols/SAPData">
<edmx:Reference Uri="x" xmlns:edmx="http://docs.oasis-open.org/odata/ns/edmx">
  <edmx:Include Namespace="com.sap.vocabularies.Common.v1" Alias="Common"/></edmx:Reference>
<edmx:DataServices m:DataServiceVersion="2.0">
<Schema Namespace="ORDERS" xml:lang="de" xmlns="http://schemas.microsoft.com/ado/2008/09/edm">
<EntityType Name="OrderType"><Documentation><Summary>Ordered goods.</Summary></Documentation>
 <Key><PropertyRef Name="Order"/></Key>
 <Property Name="Order" Type="Edm.String" Nullable="false" MaxLength="10" sap:label="Bestellung"
   sap:quickinfo="Nummer" sap:heading="Best." sap:display-format="UpperCase"/>
 <Property Name="Amount" Type="Edm.Decimal" Precision="13" Scale="3" sap:unit="Currency" sap:creatable="false"
   sap:updatable="false"><Documentation><Summary>What it
   costs.</Summary><LongDescription>Without tax.</LongDescription></Documentation></Property>
 <Property Name="Currency" Type="Edm.String" MaxLength="5" sap:semantics="currency-code" sap:text="CurrencyName"
   sap:value-list="standard"/>
 <Property Name="CurrencyName" Type="Edm.String" MaxLength="max" sap:field-control="Control"/>
 <Property Name="Status" Type="Edm.String" sap:value-list="fixed-values"/>
 <NavigationProperty Name="to_Item" Relationship="ORDERS.OrderToItem" FromRole="Head" ToRole="Item"/>
 <NavigationProperty Name="to_Nothing" Relationship="ORDERS.Missing" FromRole="A" ToRole="B"/>
</EntityType>
<EntityType Name="ItemType"><Key><PropertyRef Name="Item"/></Key>
 <Property Name="Item" Type="Edm.String"/><Property Name="OfOrder" Type="Edm.String"/></EntityType>
<Association Name="OrderToItem"><End Type="ORDERS.OrderType" Multiplicity="1" Role="Head"/>
 <End Type="ORDERS.ItemType" Multiplicity="*" Role="Item"/>
 <ReferentialConstraint><Principal Role="Head"><PropertyRef Name="Order"/></Principal>
  <Dependent Role="Item"><PropertyRef Name="OfOrder"/></Dependent></ReferentialConstraint></Association>
<EntityContainer Name="C"><EntitySet Name="Orders" EntityType="ORDERS.OrderType" sap:label="Bestellungen"/>
</EntityContainer>
<Annotations Target="ORDERS.OrderType/Order" xmlns="http://docs.oasis-open.org/odata/ns/edm">
 <Annotation Term="Common.FieldControl" EnumMember="Common.FieldControlType/Mandatory"/></Annotations>
</Schema></edmx:DataServices></edmx:Edmx>"""

V4 = """<edmx:Edmx Version="4.0" xmlns:edmx="http://docs.oasis-open.org/odata/ns/edmx">
<edmx:Reference Uri="x"><edmx:Include Namespace="com.sap.vocabularies.Common.v1" Alias="C"/>
 <edmx:Include Namespace="Org.OData.Core.V1" Alias="Core"/>
 <edmx:Include Namespace="Org.OData.Measures.V1" Alias="M"/></edmx:Reference>
<edmx:DataServices><Schema Namespace="a.b.orders" Alias="Self" xmlns="http://docs.oasis-open.org/odata/ns/edm">
<EntityType Name="Base" Abstract="true"><Key><PropertyRef Name="Id"/></Key>
 <Property Name="Id" Type="Edm.Guid" Nullable="false"/></EntityType>
<EntityType Name="Order" BaseType="Self.Base">
 <Property Name="Amount" Type="Edm.Decimal" Scale="variable"><Annotation Term="M.ISOCurrency" Path="Currency"/>
  <Annotation Term="Core.Computed"/></Property>
 <Property Name="Weight" Type="Edm.Decimal"><Annotation Term="M.Unit" String="KGM"/></Property>
 <Property Name="Currency" Type="Edm.String"/><Property Name="Plant" Type="Edm.String"/>
 <Property Name="Supplier" Type="Edm.String"/><Property Name="Status" Type="Edm.String"/>
 <NavigationProperty Name="_Items" Type="Collection(Self.Item)"/>
 <NavigationProperty Name="_Parent" Type="Self.Order" Nullable="false">
  <ReferentialConstraint Property="Plant" ReferencedProperty="Id"/></NavigationProperty>
 <NavigationProperty Name="_Perhaps" Type="a.b.orders.Item"/></EntityType>
<EntityType Name="Item"/>
<EntityContainer Name="Box"><EntitySet Name="Orders" EntityType="Self.Order"/></EntityContainer>
<Annotations Target="Self.Order"><Annotation Term="C.Label"><String>Purchase
  Order</String></Annotation></Annotations>
<Annotations Target="Self.Order/Plant"><Annotation Term="C.Label" String="Plant"/>
 <Annotation Term="C.QuickInfo" String="Where it goes"/><Annotation Term="C.Heading" String="Plnt"/>
 <Annotation Term="C.Text" Path="PlantName"/><Annotation Term="Core.Description" String="A site."/>
 <Annotation Term="Core.LongDescription" String="With stock."/>
 <Annotation Term="C.DocumentationRef" String="urn:sap-com:documentation:key?=type=DE&amp;id=WERKS_D"/>
 <Annotation Term="C.FieldControl" EnumMember="C.FieldControlType/ReadOnly"/>
 <Annotation Term="C.ValueList"><Record><PropertyValue Property="CollectionPath" String="Plants"/>
  <PropertyValue Property="Label" String="All plants"/><PropertyValue Property="Parameters"><Collection>
   <Record Type="C.ValueListParameterInOut"><PropertyValue Property="LocalDataProperty" PropertyPath="Plant"/>
    <PropertyValue Property="ValueListProperty" String="Id"/></Record>
   <Record Type="C.ValueListParameterDisplayOnly"><PropertyValue Property="ValueListProperty" String="Name"/></Record>
  </Collection></PropertyValue></Record></Annotation></Annotations>
<Annotations Target="a.b.orders.Order/Supplier">
 <Annotation Term="com.sap.vocabularies.Common.v1.Label" String="Vendor"/>
 <Annotation Term="C.FieldControl" Path="Control"/>
 <Annotation Term="C.ValueListReferences"><Collection><String>../f4/$metadata</String></Collection></Annotation>
</Annotations>
<Annotations Target="Self.Order/Status"><Annotation Term="C.ValueListWithFixedValues"/></Annotations>
</Schema></edmx:DataServices></edmx:Edmx>"""

# Version, entity types, properties, navigation, labels, quickinfo; counted with regular expressions over the files'
# EntityType elements, plus 10 inherited properties in API_TEST_SRV.v4 and the annotations of CE_PURCHASINGORGANIZATION.
REAL = {
    "sap-odata-metadata/API_BUSINESS_PARTNER.cloud.edmx": ("V2", 43, 710, 49, 707, 497),
    "sap-odata-metadata/API_BUSINESS_PARTNER.ecc-subset.edmx": ("V2", 28, 505, 33, 502, 0),
    "sap-odata-metadata/API_CUSTOMER_MATERIAL_SRV.edmx": ("V2", 1, 20, 0, 20, 13),
    "sap-odata-metadata/API_PRODUCT_SRV.edmx": ("V2", 32, 493, 32, 485, 316),
    "sap-odata-metadata/API_PURCHASEREQ_PROCESS_SRV.edmx": ("V2", 5, 218, 5, 216, 145),
    "sap-odata-metadata/API_SALES_ORDER_SRV.edmx": ("V2", 11, 319, 21, 318, 226),
    "sap-odata-metadata/API_SLSPRICINGCONDITIONRECORD_SRV.edmx": ("V2", 6, 298, 14, 292, 193),
    "sap-odata-metadata/API_TEST_SRV.v2.edmx": ("V2", 12, 46, 9, 0, 0),
    "sap-odata-metadata/API_TEST_SRV.v4.edmx": ("V4", 15, 59, 11, 0, 0),
    "sap-odata-metadata/OP_API_BUSINESS_PARTNER_SRV.edmx": ("V2", 36, 622, 42, 617, 427),
    "sap-odata-metadata-unlicensed/API_COMPANYCODE_SRV.edmx": ("V2", 1, 21, 0, 21, 10),
    "sap-odata-metadata-unlicensed/API_INFORECORD_PROCESS_SRV.edmx": ("V2", 9, 221, 16, 220, 166),
    "sap-odata-metadata-unlicensed/API_MATERIAL_DOCUMENT_SRV.edmx": ("V2", 3, 103, 3, 103, 60),
    "sap-odata-metadata-unlicensed/API_PURCHASEORDER_PROCESS_SRV.edmx": ("V2", 8, 282, 8, 280, 187),
    "sap-odata-metadata-unlicensed/API_SUPPLIERINVOICE_PROCESS_SRV.edmx": ("V2", 12, 329, 11, 329, 215),
    "sap-odata-metadata-unlicensed/CE_PURCHASINGORGANIZATION_0001.edmx": ("V4", 1, 3, 0, 3, 1),
}


def _properties(service: Service, entity_type: str) -> dict[str, Property]:
    (entity,) = (item for item in service.entity_types if item.name == entity_type)
    return {item.name: item for item in entity.properties}


@pytest.mark.parametrize("name", REAL)
def test_every_real_document_is_read_whole(shared_data: Path, name: str) -> None:
    if not (shared_data / name).is_file():
        pytest.skip(f"no {name} at {shared_data}")
    service = parse_edmx((shared_data / name).read_bytes())
    properties = [item for entity in service.entity_types for item in entity.properties]
    navigations = [item for entity in service.entity_types for item in entity.navigations]
    assert (
        service.odata_version,
        len(service.entity_types),
        len(properties),
        len(navigations),
        sum(bool(item.label) for item in properties),
        sum(bool(item.quickinfo) for item in properties),
    ) == REAL[name]
    names = {entity.name for entity in service.entity_types}
    astray = {item.target for item in navigations} - names
    assert astray <= {"A_TestEntityCircularLinkChild"}  # the file's own slip: its association names no type of it
    assert all(item.multiplicity for item in navigations)
    assert {entity.name for entity in service.entity_types if not entity.keys} <= {"A_TestEntityWithNoKeysType"}


def test_what_is_known_about_a_real_order_item(shared_data: Path) -> None:
    path = shared_data / "sap-odata-metadata-unlicensed/API_PURCHASEORDER_PROCESS_SRV.edmx"
    if not path.is_file():
        pytest.skip(f"no {path}")
    item = _properties(parse_edmx(path.read_bytes()), "A_PurchaseOrderItemType")
    assert item["PurchaseOrder"].is_key
    assert item["PurchaseOrder"].max_length == 10
    assert item["NetPriceAmount"].unit == "DocumentCurrency"
    assert item["NetPriceAmount"].label == "Net Order Price"
    assert item["Plant"].field_control == "mandatory"


def test_v2_attributes_documentation_and_annotations() -> None:
    service = parse_edmx(V2.encode())
    assert (service.namespace, service.odata_version, service.language) == ("ORDERS", "V2", "de")
    order = service.entity_types[0]
    assert (order.name, order.label, order.description) == ("OrderType", "Bestellungen", "Ordered goods.")
    assert (order.entity_sets, order.keys) == (("Orders",), ("Order",))
    assert order.properties == (
        Property(
            name="Order",
            type="Edm.String",
            is_key=True,
            is_nullable=False,
            max_length=10,
            label="Bestellung",
            quickinfo="Nummer",
            heading="Best.",
            display_format="UpperCase",
            field_control="mandatory",
        ),
        Property(
            name="Amount",
            type="Edm.Decimal",
            precision=13,
            scale=3,
            unit="Currency",
            field_control="read_only",
            description="What it costs. Without tax.",
        ),
        Property(
            name="Currency",
            type="Edm.String",
            max_length=5,
            semantics="currency-code",
            text="CurrencyName",
            value_list="standard",
        ),
        Property(name="CurrencyName", type="Edm.String", field_control="path:Control"),
        Property(name="Status", type="Edm.String", value_list="fixed"),
    )
    assert order.navigations == (
        Navigation(name="to_Item", target="ItemType", multiplicity="*", constraints=(("Order", "OfOrder"),)),
        Navigation(name="to_Nothing", target=""),
    )


def test_v4_annotations_inside_and_outside_with_aliases_and_inheritance() -> None:
    service = parse_edmx(V4.encode())
    assert (service.namespace, service.odata_version, service.language) == ("a.b.orders", "V4", "en")
    order = service.entity_types[1]
    assert (order.label, order.entity_sets, order.keys) == ("Purchase Order", ("Orders",), ("Id",))
    found = _properties(service, "Order")
    assert list(found) == ["Id", "Amount", "Weight", "Currency", "Plant", "Supplier", "Status"]
    assert (found["Amount"].unit, found["Amount"].field_control, found["Amount"].scale) == (
        "Currency",
        "read_only",
        None,
    )
    assert found["Weight"].unit == "'KGM'"
    assert found["Plant"] == Property(
        name="Plant",
        type="Edm.String",
        label="Plant",
        quickinfo="Where it goes",
        heading="Plnt",
        text="PlantName",
        description="A site. With stock.",
        data_element="WERKS_D",
        field_control="read_only",
        value_list="standard",
    )
    assert (found["Supplier"].label, found["Supplier"].field_control) == ("Vendor", "path:Control")
    assert (found["Supplier"].value_list, found["Status"].value_list) == ("standard", "fixed")
    assert order.value_lists == (
        ValueList(
            property="Plant",
            collection="Plants",
            label="All plants",
            parameters=(("InOut", "Plant", "Id"), ("DisplayOnly", "", "Name")),
        ),
        ValueList(property="Supplier", collection="../f4/$metadata"),
    )
    assert order.navigations == (
        Navigation(name="_Items", target="Item", multiplicity="*"),
        Navigation(name="_Parent", target="Order", multiplicity="1", constraints=(("Plant", "Id"),)),
        Navigation(name="_Perhaps", target="Item", multiplicity="0..1"),
    )


def test_base_types_in_a_circle_end() -> None:
    text = V4.replace('<EntityType Name="Base" Abstract="true">', '<EntityType Name="Base" BaseType="Self.Order">')
    assert "Amount" in _properties(parse_edmx(text.encode()), "Base")


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "iso-8859-1"])
def test_encodings_of_xml_are_read(encoding: str) -> None:
    text = V2.replace("utf-8", encoding.removesuffix("-sig"), 1).replace("Bestellung", "Überweisung", 1)
    order = _properties(parse_edmx(text.encode(encoding)), "OrderType")["Order"]
    assert order.label == "Überweisung"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "bad_xml"),
        (b"not xml", "bad_xml"),
        (V2[:900].encode(), "bad_xml"),
        (b'{"openapi": "3.0.0"}', "bad_xml"),
        (b"<html><body>Log on</body></html>", "not_edmx"),
        (b'<edmx:Edmx xmlns:edmx="x"><edmx:DataServices/></edmx:Edmx>', "not_edmx"),
        (b'<Schema Namespace="x"/>', "not_edmx"),
    ],
)
def test_what_is_no_metadata_says_why(content: bytes, reason: str) -> None:
    with pytest.raises(EdmxError) as caught:
        parse_edmx(content)
    assert caught.value.reason == reason
    assert caught.value.remedy


def _with_doctype(subset: str, label: str) -> bytes:
    text = V2.split("?>", 1)[1].replace("Bestellung", label, 1)
    return f"<!DOCTYPE Edmx [{subset}]>{text}".encode()


def test_entities_are_neither_multiplied_nor_loaded(tmp_path: Path) -> None:
    secret = tmp_path / "secret.txt"
    secret.write_text("SECRET")
    laughs = '<!ENTITY a0 "ha">' + "".join(f'<!ENTITY a{n} "{f"&a{n - 1};" * 10}">' for n in range(1, 12))
    hostile = [
        _with_doctype(laughs, "&a11;"),  # in an attribute, where a parser expands them whatever it was told
        _with_doctype(laughs, "x").replace(b"Ordered goods.", b"&a11;"),
        _with_doctype(f'<!ENTITY file SYSTEM "{secret.as_uri()}">', "x").replace(b"Ordered goods.", b"&file;"),
        _with_doctype('<!ENTITY % remote SYSTEM "http://127.0.0.1:9/x.dtd"> %remote;', "x"),
        _with_doctype("", "x"),
    ]
    for content in hostile:
        with pytest.raises(EdmxError) as caught:
            parse_edmx(content)
        assert caught.value.reason in {"doctype", "bad_xml"}
        assert "SECRET" not in str(caught.value)


def test_too_long_documents_are_refused_before_they_are_parsed() -> None:
    with pytest.raises(EdmxError) as caught:
        parse_edmx(b" " * (50 * 2**20 + 1))
    assert caught.value.reason == "too_large"
    assert parse_edmx(V2.encode(), max_bytes=len(V2.encode()))


@pytest.mark.parametrize("text", [V2, V4], ids=["v2", "v4"])
def test_a_document_that_lacks_any_one_attribute_is_read_or_refused_never_more(text: str) -> None:
    index = TaxonomyIndex(load_taxonomy().fields)
    attributes = list(re.finditer(r' [\w:-]+="[^"]*"', text))
    assert len(attributes) > 70
    for found in attributes:
        for replacement in ("", f' {found.group().split("=")[0].strip()}="{"9" * 5000}"'):
            changed = text[: found.start()] + replacement + text[found.end() :]
            try:
                service = parse_edmx(changed.encode())
            except EdmxError:
                continue
            assert set(service_tables("x", "0", service, index)) == set(SERVICE_TABLES)


def test_types_of_the_same_name_in_two_namespaces_stay_apart() -> None:
    other = (
        '<Schema Namespace="c.d" xmlns="http://docs.oasis-open.org/odata/ns/edm"><EntityType Name="Item">'
        '<NavigationProperty Name="_Twin" Type="a.b.orders.Item"/></EntityType></Schema></edmx:DataServices>'
    )
    service = parse_edmx(V4.replace("</edmx:DataServices>", other).encode())
    assert [entity.name for entity in service.entity_types] == ["Base", "Order", "a.b.orders.Item", "c.d.Item"]
    assert service.entity_types[-1].navigations[0].target == "a.b.orders.Item"
    assert service.entity_types[1].navigations[1].target == "Order"
