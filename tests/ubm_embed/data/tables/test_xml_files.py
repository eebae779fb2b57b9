"""Feeds in XML: Google Merchant's in RSS and Atom."""

from pathlib import Path

import polars as pl
import pytest

from ubm_embed.data.tables.xml_files import scan_xml
from ubm_embed.errors import InvalidData

RSS = """<?xml version="1.0" encoding="{encoding}"?>
<rss version="2.0" xmlns:g="http://base.google.com/ns/1.0"><channel>
<title>The shop</title><link>https://shop.example</link>
<item>
  <g:id>007</g:id><title>plain</title><g:title>Caf\u00e9 &amp; <![CDATA[<b>]]></g:title>
  <g:additional_image_link>a</g:additional_image_link><g:additional_image_link>b</g:additional_image_link>
  <g:shipping><g:country>DE</g:country><g:price>1.00 EUR</g:price></g:shipping><g:brand/>
</item>
<item id="8"><g:price>15.00 EUR</g:price></item>
</channel></rss>"""


def write(file: Path, text: str, encoding: str = "utf-8") -> Path:
    file.write_bytes(text.encode(encoding))
    return file


@pytest.mark.parametrize("encoding", ["utf-8", "windows-1252", "utf-16"])
@pytest.mark.parametrize("chunk_bytes", [1, 1 << 20])
def test_items_are_rows_and_their_elements_columns(tmp_path: Path, encoding: str, chunk_bytes: int) -> None:
    file = write(tmp_path / "feed.xml", RSS.format(encoding=encoding), encoding)
    frame = scan_xml(file, chunk_bytes=chunk_bytes).collect()
    assert frame.to_dicts() == [
        {
            "id": "007",
            "title": "Caf\u00e9 & <b>",
            "additional_image_link": '["a", "b"]',
            "shipping": '{"country": "DE", "price": "1.00 EUR"}',
            "price": None,
        },
        {"id": "8", "title": None, "additional_image_link": None, "shipping": None, "price": "15.00 EUR"},
    ]
    assert scan_xml(file).select("price", "id").filter(pl.col("id") == "8").collect().rows() == [("15.00 EUR", "8")]


def test_entries_of_atom_have_links(tmp_path: Path) -> None:
    text = '<feed xmlns="http://www.w3.org/2005/Atom"><entry><title>T</title><link href="https://x"/></entry></feed>'
    assert scan_xml(write(tmp_path / "t.xml", text)).collect().to_dicts() == [{"title": "T", "link": "https://x"}]


@pytest.mark.parametrize(
    ("text", "problem", "row"),
    [
        ("<rss><item><id>1</id></item>", "not XML: no element found at line 1, column 29$", None),
        ("<rss>\n<item><id>1</item></rss>", "not XML: mismatched tag at line 2, column", 1),
        (
            "<rss><item><id>1</id></item>\n<item>\n<id>&nbsp;</id></item></rss>",
            "not XML: undefined entity at line 3",
            2,
        ),
        ("<rss><channel/></rss>", "no rows; expected elements item or entry", None),
        ('<!DOCTYPE r [<!ENTITY a "b">]><r><item><id>&a;</id></item></r>', "declares the entity 'a'", None),
        ('<!DOCTYPE r [<!ENTITY a SYSTEM "file:///etc/passwd">]><r><item>&a;</item></r>', "declares the entity", None),
        ('<!DOCTYPE r [<!ENTITY % a "b"> %a;]><r><item/></r>', "declares the entity", None),
        ("<rss><item>" + "<a>" * 500 + "</a>" * 500 + "</item></rss>", "within each other", 1),
    ],
)
def test_a_malformed_feed_is_refused(tmp_path: Path, text: str, problem: str, row: int | None) -> None:
    with pytest.raises(InvalidData, match=problem) as caught:
        scan_xml(write(tmp_path / "t.xml", text))
    assert (caught.value.file, caught.value.row) == (tmp_path / "t.xml", row)


def test_an_item_has_a_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ubm_embed.data.tables.xml_files.MAX_RECORD_BYTES", 1000)
    for item in (f"<id>{'x' * 2000}</id>", "<a/>" * 2000):
        with pytest.raises(InvalidData, match="an element of more than"):
            scan_xml(write(tmp_path / "t.xml", f"<rss><item>{item}</item></rss>"))
    assert scan_xml(write(tmp_path / "t.xml", f"<rss>{'<item><id>1</id></item>' * 500}</rss>")).collect().height == 500
