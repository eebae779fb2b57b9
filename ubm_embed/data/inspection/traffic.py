"""The heaviest sessions and users: robots, tests, shared machines."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from ubm_embed.data.inspection.numbered_corpus import NumberedCorpus

MAX_INTERACTIONS, MAX_PRODUCTS, MAX_PER_MINUTE = 200, 100, 30.0
MAX_OF_USER, MAX_USER_SHARE = 1_000, 0.01
_MIN_FOR_RATE = 20  # interactions: a double click is no robot
_NAMED = 5
_MINUTE = 60_000_000


@dataclass(frozen=True)
class Visitor:
    """A session or a user.

    Attributes:
        name: its id.
        interactions: how many.
        products: different ones.
        per_minute: interactions per minute; None if there are fewer than 20, no timestamps, or one for all, and
            of users.
    """

    name: str
    interactions: int
    products: int
    per_minute: float | None


@dataclass(frozen=True)
class TrafficStatistics:
    """Who is behind most interactions.

    Attributes:
        heavy_sessions: sessions of more than 200 interactions or 100 different products, or, from 20 interactions on,
            more than 30 a minute.
        heavy_sessions_share: of the interactions, those in such sessions.
        sessions: the five heaviest, by interactions; then the fastest, if it is not among them.
        users: distinct user ids; None if the log names none.
        heavy_users: users of more than 1,000 interactions that are more than 1% of all.
        heavy_users_share: of the interactions, those of such users.
        heaviest_users: the five heaviest, by interactions.
    """

    heavy_sessions: int
    heavy_sessions_share: float
    sessions: tuple[Visitor, ...]
    users: int | None
    heavy_users: int
    heavy_users_share: float
    heaviest_users: tuple[Visitor, ...]

    @classmethod
    def measure(cls, corpus: NumberedCorpus, user_ids: pl.Series | None) -> TrafficStatistics:
        """Rank sessions and users.

        Args:
            user_ids: of each interaction; None if the log has none.
        """
        sessions = _sessions(corpus)
        limits = (pl.col("interactions") > MAX_INTERACTIONS) | (pl.col("products") > MAX_PRODUCTS)
        heavy = sessions.filter(limits | (pl.col("per_minute") > MAX_PER_MINUTE).fill_null(False))
        heaviest = sessions.top_k(_NAMED, by=["interactions", "products"])
        fastest = sessions.drop_nulls("per_minute").top_k(1, by="per_minute")
        named = pl.concat([heaviest, fastest]).unique(maintain_order=True)
        users = _users(corpus, user_ids)
        total = corpus.sessions.rows.size
        heavy_users = users.filter(pl.col("interactions") > max(MAX_OF_USER, MAX_USER_SHARE * total))
        return cls(
            heavy_sessions=heavy.height,
            heavy_sessions_share=float(heavy["interactions"].sum() / max(1, total)),
            sessions=tuple(Visitor(str(corpus.session_ids[index]), *values) for index, *values in named.rows()),
            users=users.height if user_ids is not None and users.height else None,
            heavy_users=heavy_users.height,
            heavy_users_share=float(heavy_users["interactions"].sum() / max(1, total)),
            heaviest_users=tuple(Visitor(*row) for row in users.top_k(_NAMED, by=["interactions", "products"]).rows()),
        )


def _sessions(corpus: NumberedCorpus) -> pl.DataFrame:
    """`session` (index), `interactions`, `products` and `per_minute` of each session."""
    frame = _frame(corpus, pl.Series("session", corpus.sessions.session_of()))
    time = pl.when(pl.col("timed")).then("time")
    span = (time.max() - time.min()).alias("span")
    counted = frame.group_by("session", maintain_order=True).agg(*_counts(), span, pl.col("timed").all())
    rated = (pl.col("interactions") >= _MIN_FOR_RATE) & pl.col("timed") & (pl.col("span") > 0)
    rate = pl.when(rated).then((pl.col("interactions") - 1) * _MINUTE / pl.col("span"))
    return counted.select("session", "interactions", "products", rate.alias("per_minute"))


def _users(corpus: NumberedCorpus, user_ids: pl.Series | None) -> pl.DataFrame:
    if user_ids is None:
        user_ids = pl.Series([None] * corpus.sessions.rows.size, dtype=pl.String)
    frame = _frame(corpus, user_ids.alias("user")).drop_nulls("user")
    counted = frame.group_by("user", maintain_order=True).agg(*_counts())
    return counted.with_columns(pl.lit(None, pl.Float64).alias("per_minute"))


def _frame(corpus: NumberedCorpus, of: pl.Series) -> pl.DataFrame:
    columns = {"row": corpus.sessions.rows, "product": corpus.is_product, "time": corpus.times, "timed": corpus.timed}
    return pl.DataFrame({of.name: of, **columns})


def _counts() -> list[pl.Expr]:
    products = pl.col("row").filter(pl.col("product")).n_unique()
    return [pl.len().cast(pl.Int64).alias("interactions"), products.cast(pl.Int64).alias("products")]
