"""Why an event is no use here, in the words of `ubm_embed.data.logs.event_table`, which needs polars."""

from __future__ import annotations

OTHER_EVENT = "other event"
NO_PRODUCT = "no product id"
NO_PHRASE = "no search phrase"
NO_SESSION = "no session or user"
