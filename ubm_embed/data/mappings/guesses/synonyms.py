"""What shops and their tools call the columns and actions that a corpus has."""

from __future__ import annotations

import re
from typing import Final


def _names(names: dict[str, str]) -> dict[str, tuple[str, ...]]:
    return {role: tuple(text.split()) for role, text in names.items()}


# In lower case, of letters and digits alone, the surest first.
NAMES: Final = _names(
    {
        "action": (
            "action eventtype eventname event actiontype productaction eventaction behaviortype behaviourtype "
            "behavior behaviour interactiontype interaction feedbacktype activitytype activity operation verb "
            "kind type"
        ),
        "timestamp": (
            "timestamp eventtimestamp eventtime datetime time ts servertimestamp servertime "
            "servertimestampepochms timestampms derivedtstamp collectortstamp clienttimestamp occurredat "
            "createdat eventdatetime originaltimestamp sentat receivedat unixtime epoch unixreviewtime "
            "invoicedate orderdate purchasedate tdat eventdate date zeitstempel zeitpunkt zeit datum"
        ),
        "session_id": (
            "sessionid session usersession sessionidhash visitid visit gasessionid contextsessionid "
            "domainsessionid sessid sid sessionkey sessiontoken sessionuuid sessionnumber sess sitzung basketid"
        ),
        "user_id": (
            "userid user customerid customer uid visitorid clientid userpseudoid distinctid memberid accountid "
            "shopperid buyerid profileid reviewerid personid idvisitor fullvisitorid kundennummer kundenid "
            "kunde"
        ),
        "anonymous_id": "anonymousid anonymous anonid deviceid cookieid cookie visitorid clientid domainuserid",
        "product_id": (
            "productid itemid sku productsku skuid parentasin asin articleid articleno stockcode productcode "
            "productskuhash contentid goodsid objectid offerid listingid variantid gtin ean pid aid itemno "
            "itemcode product item article id produktid artikelid artikelnummer artikelnr artikel handle "
            "movieid bookid songid trackid courseid"
        ),
        "query": (
            "query searchquery searchterm searchphrase searchtext searchstring searchkeyword searchkeywords "
            "keyword keywords phrase term q suchbegriff suche search"
        ),
        "title": (
            "title producttitle itemtitle productname itemname name prodname lineitemname displayname "
            "productdisplayname label bezeichnung titel produktname description"
        ),
        "category": (
            "category categorypath categoryname productcategory categorycode itemcategory producttype "
            "productgroup maincategory googleproductcategory categories department breadcrumb breadcrumbs "
            "producttypename kategorie warengruppe genre type"
        ),
        "price": "price unitprice itemprice productprice saleprice currentprice lineitemprice finalprice cost preis",
        "message_id": "messageid eventid insertid eventuuid uuid hitid",
        "order_id": "orderid transactionid invoiceno invoice ordernumber orderno bestellnummer purchaseid",
        "position": "position sequence seq eventindex eventsequence eventorder hitnumber eventnumber step",
    }
)
ATTRIBUTES: Final = _names(
    {
        "brand": "brand brandname itembrand manufacturer vendor marke hersteller",
        "colour": "colour color colourname colorname colourgroupname farbe",
        "size": "size groesse größe",
        "variant": "variant itemvariant",
        "material": "material",
        "gender": "gender",
    }
)

# What the words of an action say, in this order: `remove_from_cart` is no `cart`, and a started checkout no purchase.
_ACTIONS: Final = (
    ("buy", r"(checkout|order).*(complet|success|finish)|\bpaid\b"),
    (
        "drop",
        r"wish|fav|impression|begin|start|checkout|page ?view|view ?(item ?list|cart)|login|sign|payment|shipping",
    ),
    ("remove", r"remov|delet|refund|from (cart|basket)"),
    ("add", r"\badd|to ?(cart|basket|bag)|\bcarts?\b|basket|\batc\b|warenkorb"),
    ("buy", r"purchas|\bbuy|bought|order|transaction|conversion|\bsale\b|kauf|bestell"),
    ("search", r"search|query|such"),
    ("view", r"view|detail|click|\bpdp\b|\bpv\b|visit|\bread\b|ansicht|seen"),
)


def plain_name(name: str) -> str:
    """A name without regard to case, blanks and signs: `Product ID`, `product_id` and `productId` are the same."""
    return re.sub(r"[\W_]", "", name.lower())


def action_of(text: str) -> str | None:
    """The action of ours, or `drop`, that a name of theirs stands for, or None."""
    words = re.sub(r"[\W_]+", " ", re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", text)).lower()
    return next((action for action, pattern in _ACTIONS if re.search(pattern, words)), None)
