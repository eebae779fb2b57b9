"""What tools call the actions of shoppers, by the name of an event. Light, so that a service can read it."""

from __future__ import annotations

GA4_ACTIONS = {
    "view_item": "view",
    "select_item": "view",
    "add_to_cart": "add",
    "remove_from_cart": "remove",
    "purchase": "buy",
    "search": "search",
    "view_search_results": "search",
}
GA4_CATEGORIES = ("item_category", "item_category2", "item_category3", "item_category4", "item_category5")
# What an export has where the shop sent nothing or a value was removed.
GA4_PLACEHOLDERS = ("", "(not set)", "(data deleted)", "<Other>")

SEGMENT_ORDER = "Order Completed"
SEGMENT_ACTIONS = {
    "Products Searched": "search",
    "Product Viewed": "view",
    "Product Clicked": "view",
    "Product Added": "add",
    "Product Removed": "remove",
    SEGMENT_ORDER: "buy",
}
# When an event was: the first of these that says so.
SEGMENT_TIMES = ("timestamp", "originalTimestamp", "sentAt", "receivedAt")
SEGMENT_OTHER_CALLS = ("page", "screen", "identify", "group", "alias")  # these name no event
