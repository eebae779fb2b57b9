"""Bodies of requests, and what they ask for.

Sessions, interactions and products are left as they are written: one parser reads them in files and here.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias

import msgspec
from msgspec import UNSET, Meta, UnsetType

from indexer.search.limits import Limits
from indexer.search.ranking import MAX_BOOST, Rules
from indexer.service.http.requests.decoding import Decoder
from ubm_embed.data.session import MAX_CHARACTERS, Action, Interaction, Product, Session, parse_product, parse_session
from ubm_embed.errors import InvalidData

_LIMITS = Limits()
_NO_RULES = Rules()


def _ref(name: str) -> dict[str, Any]:
    return {"$ref": f"#/components/schemas/{name}"}


Id: TypeAlias = Annotated[str, Meta(min_length=1, max_length=256)] | int
SessionId: TypeAlias = Annotated[Id, Meta(description="The shop's own id of the session.", examples=["s-1017"])]
ProductId: TypeAlias = Annotated[Id, Meta(description="The shop's own id of a product.", examples=["p1"])]
OnlySessionId: TypeAlias = Annotated[
    Id, Meta(description="Whose answer it is, so that later events of the session count for it.", examples=["s-1017"])
]
SessionObject: TypeAlias = Annotated[dict[str, Any], Meta(extra_json_schema=_ref("Session"))]
Interactions: TypeAlias = Annotated[
    list[Any],
    Meta(
        description="A whole session, oldest interaction first. It takes the place of what is kept of the session.",
        extra_json_schema={"items": _ref("Interaction")},
    ),
]
Sessions: TypeAlias = Annotated[
    list[Any], Meta(min_length=1, description="Several sessions.", extra_json_schema={"items": _ref("Session")})
]
Phrase: TypeAlias = Annotated[
    str,
    Meta(
        max_length=MAX_CHARACTERS,
        pattern=r"\S",
        description="What a shopper searches for.",
        examples=["red running shoes"],
    ),
]
ProductObject: TypeAlias = Annotated[dict[str, Any], Meta(extra_json_schema=_ref("Product"))]


K: TypeAlias = Annotated[int, Meta(ge=1, description="Matches of an answer.", examples=[10])]
Where: TypeAlias = Annotated[
    str,
    Meta(
        max_length=_LIMITS.condition_characters,
        description="A condition in SQL that every match satisfies.",
        examples=["price < 50"],
    ),
]
Diversity: TypeAlias = Annotated[
    float,
    Meta(
        ge=0,
        le=1,
        description="0 takes the best matches; the nearer to 1, the less similar they are.",
        examples=[0.3],
    ),
]
MaxPer: TypeAlias = Annotated[
    dict[str, Annotated[int, Meta(ge=1)]],
    Meta(
        max_length=_LIMITS.capped_columns,
        description="How many matches may share a value of a column, by the column's name.",
        examples=[{"category": 2}],
    ),
]
Excluded: TypeAlias = Annotated[
    list[ProductId], Meta(max_length=_LIMITS.excluded, description="Products that never match.")
]
Boost: TypeAlias = Annotated[
    dict[str, Annotated[float, Meta(ge=-MAX_BOOST, le=MAX_BOOST)]],
    Meta(
        max_length=_LIMITS.boosted,
        description="What is added to a product's score, by its id. Scores are cosines, so 0.1 is a lot.",
        examples=[{"p1": 0.1}],
    ),
]
Counts: TypeAlias = Annotated[
    bool, Meta(description="Whether what shoppers did next adds to the scores, if the version has counts.")
]
Words: TypeAlias = Annotated[
    bool,
    Meta(description="Whether words shared with a last search, or a product in full, add to the scores."),
]
IncludeSeen: TypeAlias = Annotated[bool, Meta(description="Whether products that the session holds may match.")]


class RulesBody(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """How many matches, and under which rules of the shop."""

    k: K = 10
    where: Where | UnsetType | None = UNSET
    diversity: Diversity | UnsetType = UNSET
    max_per: MaxPer | UnsetType = UNSET
    exclude: Excluded | UnsetType = UNSET
    boost: Boost | UnsetType = UNSET
    include_seen: IncludeSeen | UnsetType = UNSET
    words: Words | UnsetType = UNSET

    def rules(self) -> Rules:
        """The rules, made with those fields only that the request has."""
        return _rules(self)


class RecommendBody(RulesBody, kw_only=True, forbid_unknown_fields=True):
    """What comes next in one session or in each of several: by its id, if the service keeps it, or whole."""

    session_id: SessionId | None = None
    session: SessionObject | None = None
    interactions: Interactions | None = None
    sessions: Sessions | None = None
    negatives: Annotated[
        list[Any],
        Meta(
            max_length=_LIMITS.negatives,
            description="Products that the answer moves away from: ids, or products in full.",
            extra_json_schema={"items": {"anyOf": [{"type": ["string", "integer"]}, _ref("Product")]}},
        ),
    ] = []
    counts: Counts | UnsetType = UNSET
    explain: Annotated[bool, Meta(description="Whether each match says which interactions pulled it up.")] = False

    def negative_interactions(self) -> tuple[Interaction, ...]:
        """The negatives as views.

        Raises:
            InvalidData: one is neither an id nor a product; names the field.
        """
        return tuple(_negative(entry, f"negatives[{row}]") for row, entry in enumerate(self.negatives))


class LookupBody(RulesBody, kw_only=True, forbid_unknown_fields=True):
    """Products like one: of the store by its id, or any by its text; or those of a search."""

    product: ProductObject | None = None
    product_id: ProductId | None = None
    query: Phrase | None = None
    session_id: OnlySessionId | None = None

    def parsed(self) -> Product | Session | str:
        """The product, its id, or a session that is one search.

        Raises:
            InvalidData: not exactly one is given, or it is not as expected; names the field.
        """
        if [self.product, self.product_id, self.query].count(None) != 2:
            raise InvalidData("expected one of product, product_id and query")
        if self.query is not None:
            return parse_session({"interactions": [{"action": "search", "query": self.query}]})
        return str(self.product_id) if self.product is None else parse_product(self.product, "product")


class SimilarQuery(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """The query of a URL that asks for products like one."""

    k: K = 10
    where: Where | UnsetType = UNSET
    diversity: Diversity | UnsetType = UNSET
    exclude: Annotated[list[str], Meta(max_length=1_000)] | UnsetType = UNSET
    session_id: Annotated[str, Meta(min_length=1, max_length=256)] | None = None

    def rules(self) -> Rules:
        """The rules, made with those fields only that the request has."""
        return _rules(self)


class PredictBody(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """How one session will go on, or each of several."""

    session_id: SessionId | None = None
    session: SessionObject | None = None
    interactions: Interactions | None = None
    sessions: Sessions | None = None


class EmbeddingsBody(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Vectors, in the form of OpenAI's API."""

    input: Annotated[
        str | list[Any] | dict[str, Any],
        Meta(
            description="A text, a product, a session, or a list of them.",
            examples=["red running shoes"],
            extra_json_schema={
                "anyOf": [
                    _ref("EmbeddingInput"),
                    {"type": "array", "minItems": 1, "items": _ref("EmbeddingInput")},
                ]
            },
        ),
    ]
    model: Annotated[
        str,
        Meta(description="`ubm-embed` is the live version's model; the id of a model is refused when another is live."),
    ] = "ubm-embed"
    encoding_format: Literal["float", "base64"] = "float"
    dimensions: (
        Annotated[int, Meta(ge=1, description="The model's width; vectors of another width are not made.")] | None
    ) = None
    user: str | None = None
    input_type: Annotated[
        Literal["product", "query"],
        Meta(
            description="What a text is: a product's title, whose vector is comparable with those of the store, or what"
            " a shopper searched for."
        ),
    ] = "product"


recommend_body = Decoder(RecommendBody)
lookup_body = Decoder(LookupBody)
predict_body = Decoder(PredictBody)
embeddings_body = Decoder(EmbeddingsBody)


def _rules(body: RulesBody | SimilarQuery) -> Rules:
    fields = {
        name: getattr(body, name, UNSET) for name in ("where", "diversity", "max_per", "boost", "counts", "words")
    }
    if body.exclude is not UNSET:
        fields["exclude"] = frozenset(map(str, body.exclude))
    if (include_seen := getattr(body, "include_seen", UNSET)) is not UNSET:
        fields["exclude_seen"] = not include_seen
    given = {name: value for name, value in fields.items() if value is not UNSET}
    return Rules(**given) if given else _NO_RULES


def _negative(entry: Any, field: str) -> Interaction:
    if isinstance(entry, str | int) and not isinstance(entry, bool):
        return Interaction(Action.VIEW, product_id=str(entry))
    return Interaction(Action.VIEW, product=parse_product(entry, field))
