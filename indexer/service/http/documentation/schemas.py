"""JSON schemas of what no type of msgspec describes: sessions and products as in files, a shop's columns in answers."""

from __future__ import annotations

import copy
from typing import Any

import msgspec

from indexer.service.sessions.parsed_events import MAX_EVENTS
from indexer.service.updates.product_writer import MAX_PRODUCTS
from ubm_embed.data.session import ACTIONS

Schema = dict[str, Any]

VIEW = {"action": "view", "product_id": "p1"}


def ref(name: str) -> Schema:
    """A schema of the document by its name."""
    return {"$ref": f"#/components/schemas/{name}"}


def one_or_many(name: str, plural: str) -> Schema:
    """An object, or an object with a list of them."""
    listed = {"type": "object", "required": [plural], "properties": {plural: {"type": "array", "items": ref(name)}}}
    return {"anyOf": [ref(name), listed]}


def parameters_of(kind: type[msgspec.Struct]) -> dict[str, Schema]:
    """The schemas of a struct's fields, by name."""
    (schema,) = msgspec.json.schema_components([kind])[1].values()
    properties: dict[str, Schema] = copy.deepcopy(schema["properties"])
    return properties


def _nullable(schema: Schema) -> Schema:
    return {"anyOf": [schema, {"type": "null"}]}


_TEXT: Schema = {"type": "string"}
_NUMBER: Schema = {"type": "number"}
_COUNT: Schema = {"type": "integer", "minimum": 0}
_ID: Schema = {"anyOf": [{"type": "string"}, {"type": "integer"}]}
_PRODUCT_ACTIONS = [str(action) for action in ACTIONS if action != "search"]

_PRODUCT: Schema = {
    "type": "object",
    "description": "A product by its text; it needs a title, a category or an attribute.",
    "properties": {
        "product_id": _nullable(_ID),
        "title": _nullable(_TEXT),
        "category": _nullable(_TEXT),
        "attributes": _nullable(
            {
                "anyOf": [
                    {"type": "object", "additionalProperties": {"type": ["string", "number", "boolean"]}},
                    {
                        "type": "array",
                        "items": {
                            "type": "object",
                            "required": ["name", "value"],
                            "properties": {"name": _TEXT, "value": {"type": ["string", "number", "boolean"]}},
                        },
                    },
                ]
            }
        ),
    },
    "examples": [{"title": "red running shoes", "category": "shoes", "attributes": {"colour": "red", "size": "42"}}],
}
_INTERACTION: Schema = {
    "description": "What the shopper did, with a product by its id, a product in full, or a search phrase.",
    "anyOf": [
        {
            "type": "object",
            "required": ["action", "query"],
            "properties": {"action": {"const": "search"}, "query": _TEXT},
        },
        {
            "type": "object",
            "required": ["action", "product_id"],
            "properties": {"action": {"enum": _PRODUCT_ACTIONS}, "product_id": _ID},
        },
        {
            "type": "object",
            "required": ["action", "product"],
            "properties": {"action": {"enum": _PRODUCT_ACTIONS}, "product": ref("Product")},
        },
    ],
    "examples": [VIEW, {"action": "search", "query": "red running shoes"}],
}
_SESSION: Schema = {
    "type": "object",
    "description": "A session: whole, or by the id under which the service keeps it.",
    "additionalProperties": False,
    "properties": {
        "session_id": _nullable({"anyOf": [{"type": "string", "minLength": 1, "maxLength": 256}, {"type": "integer"}]}),
        "interactions": {"type": "array", "items": ref("Interaction")},
    },
    "anyOf": [{"required": ["session_id"]}, {"required": ["interactions"]}],
    "examples": [{"session_id": "s1", "interactions": [{"action": "search", "query": "red running shoes"}, VIEW]}],
}
_REASON: Schema = {
    "type": "object",
    "description": "How one interaction pulled up the match.",
    "required": ["interaction", "action", "effect", "counts", "words"],
    "properties": {
        "interaction": {**_COUNT, "description": "Its number in the session, from 1, among those that were read."},
        "action": _TEXT,
        "product_id": _nullable(_TEXT),
        "query": _TEXT,
        "effect": {**_NUMBER, "description": "How much lower the match would score without it."},
        "counts": {**_NUMBER, "description": "The part of it that is due to shoppers who went on from its product."},
        "words": {"type": "array", "items": _TEXT},
    },
}
_MATCH: Schema = {
    "type": "object",
    "description": "A product, with the shop's further columns, such as its price.",
    "required": ["rank", "product_id", "score", "title", "category"],
    "properties": {
        "rank": {**_COUNT, "description": "From 1."},
        "product_id": _TEXT,
        "score": {
            **_nullable(_NUMBER),
            "description": "A cosine plus what counts and a boost add; null if popularity chose.",
        },
        "title": _nullable(_TEXT),
        "category": _nullable(_TEXT),
        "reasons": {"type": "array", "items": ref("Reason")},
    },
    "additionalProperties": True,
}
_ANSWER: Schema = {
    "type": "object",
    "required": [
        "answer_id",
        "session_id",
        "version",
        "revision",
        "model_id",
        "fallback",
        "unknown",
        "took_ms",
        "matches",
    ],
    "properties": {
        "answer_id": {**_TEXT, "description": "Give it back with events that follow from this answer."},
        "arm": {**_TEXT, "description": "Of the experiment; left out without one."},
        "session_id": _nullable(_TEXT),
        "version": {**_COUNT, "description": "Of the store."},
        "revision": {**_COUNT, "description": "Of the version; 0 if nothing changed since it was published."},
        "model_id": _TEXT,
        "fallback": {**_nullable(_TEXT), "description": "Why the popular products answer; null if the model does."},
        "unknown": {"type": "array", "items": _TEXT, "description": "Ids that the version does not know."},
        "purchase_intention": {**_NUMBER, "description": "Probability of a purchase in this session."},
        "remaining_length": {**_NUMBER, "description": "Interactions still to come."},
        "sessions": {"const": "unavailable", "description": "Kept sessions could not be reached."},
        "took_ms": _NUMBER,
        "matches": {"type": "array", "items": ref("Match")},
    },
    "additionalProperties": False,
}
# An answer without its matches.
PREDICTION_FIELDS = (
    "session_id",
    "version",
    "revision",
    "model_id",
    "fallback",
    "unknown",
    "purchase_intention",
    "remaining_length",
    "sessions",
)
_PREDICTION: Schema = {
    "type": "object",
    "required": ["session_id", "version", "revision", "model_id", "fallback", "unknown"],
    "properties": {name: _ANSWER["properties"][name] for name in PREDICTION_FIELDS},
    "additionalProperties": False,
}
_EMBEDDING_INPUT: Schema = {
    "anyOf": [{"type": "string", "minLength": 1}, {"$ref": "#/components/schemas/Product"}, ref("Session")],
    "description": "A text, a product (one with only a `product_id` is its stored vector), or a whole session.",
}
_OWN_EVENT: Schema = {
    "type": "object",
    "required": ["session_id", "action"],
    "properties": {
        "session_id": {"anyOf": [{"type": "string", "minLength": 1, "maxLength": 256}, {"type": "integer"}]},
        "action": {"enum": [str(action) for action in ACTIONS]},
        "product_id": _ID,
        "product": ref("Product"),
        "query": _TEXT,
        "event_id": {**_nullable(_ID), "description": "Events of a session that share it are one event."},
        "timestamp": {
            "anyOf": [_TEXT, _NUMBER, {"type": "null"}],
            "description": "ISO 8601, or seconds or milliseconds since 1970; the time of arrival without it.",
        },
        "answer_id": {**_nullable(_TEXT), "description": "The answer that the shopper acted on."},
    },
    "examples": [{"session_id": "s1", **VIEW, "event_id": "e-1"}],
}
_EVENTS: Schema = {
    "description": "Events of ours; of GA4's Measurement Protocol; or of Segment, as `track` sends them or as a batch.",
    "anyOf": [
        ref("Event"),
        {"type": "array", "maxItems": MAX_EVENTS, "items": ref("Event")},
        {
            "type": "object",
            "required": ["events"],
            "properties": {"events": {"type": "array", "maxItems": MAX_EVENTS, "items": {"type": "object"}}},
        },
        {
            "type": "object",
            "required": ["session_id", "interactions"],
            "properties": {"session_id": _ID, "interactions": {"type": "array", "items": ref("Interaction")}},
        },
        {"type": "object", "required": ["batch"], "properties": {"batch": {"type": "array"}}},
        {"type": "object", "required": ["event"], "properties": {"event": _TEXT}},
    ],
}
_PRODUCT_CHANGE: Schema = {
    "type": "object",
    "description": "A product as a catalogue has it, with the columns of the version, such as its price. What is left"
    " out stays as it is; null clears it. A new product needs a title, a category or an attribute.",
    "required": ["product_id"],
    "properties": {
        **_PRODUCT["properties"],
        "product_id": {"anyOf": [{"type": "string", "minLength": 1, "maxLength": 256}, {"type": "integer"}]},
    },
    "additionalProperties": True,
    "examples": [{"product_id": "p1", "price": 49.9}],
}
_PRODUCTS: Schema = {
    "anyOf": [
        ref("ProductChange"),
        {
            "type": "object",
            "required": ["products"],
            "properties": {
                "products": {
                    "type": "array",
                    "minItems": 1,
                    "maxItems": MAX_PRODUCTS,
                    "description": "Products with different ids.",
                    "items": ref("ProductChange"),
                }
            },
            "additionalProperties": False,
        },
    ],
}
_ERROR: Schema = {
    "type": "object",
    "required": ["error", "error_type", "request_id"],
    "properties": {
        "error": {**_TEXT, "description": "For people; of an invalid request it names the field."},
        "error_type": {**_TEXT, "description": "For programs.", "examples": ["invalid_request"]},
        "request_id": {**_TEXT, "description": "As in the log and in the header X-Request-ID."},
    },
}

# What a type of msgspec cannot say: one of several members must be there.
_NAMES_SESSIONS: Schema = {
    "anyOf": [{"required": [name]} for name in ("session_id", "session", "interactions", "sessions")]
}
REQUIRED_MEMBERS: dict[str, Schema] = {
    "RecommendBody": _NAMES_SESSIONS,
    "PredictBody": _NAMES_SESSIONS,
    "LookupBody": {"oneOf": [{"required": ["product"]}, {"required": ["product_id"]}]},
}

SCHEMAS: dict[str, Schema] = {
    "Answer": _ANSWER,
    "EmbeddingInput": _EMBEDDING_INPUT,
    "Error": _ERROR,
    "Event": _OWN_EVENT,
    "Events": _EVENTS,
    "Interaction": _INTERACTION,
    "Match": _MATCH,
    "Prediction": _PREDICTION,
    "Product": _PRODUCT,
    "ProductChange": _PRODUCT_CHANGE,
    "Products": _PRODUCTS,
    "Reason": _REASON,
    "Session": _SESSION,
}
