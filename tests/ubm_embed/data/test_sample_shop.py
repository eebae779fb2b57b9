import os
import subprocess
import sys
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from ubm_embed.data.corpus import INTERACTIONS_FILE, PRODUCTS_FILE, Corpus
from ubm_embed.data.sample_shop import write_sample_shop
from ubm_embed.data.sample_shop.visits import MAX_LENGTH
from ubm_embed.errors import Conflict, InvalidData

FILES = (PRODUCTS_FILE, INTERACTIONS_FILE)
PRODUCTS, SESSIONS = 500, 5000


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sample") / "shop"
    write_sample_shop(folder, products=PRODUCTS, sessions=SESSIONS, seed=3)
    return folder


@pytest.fixture(scope="module")
def products(shop: Path) -> pl.DataFrame:
    return pl.read_parquet(shop / PRODUCTS_FILE)


@pytest.fixture(scope="module")
def interactions(shop: Path) -> pl.DataFrame:
    return pl.read_parquet(shop / INTERACTIONS_FILE)


def test_the_same_seed_gives_the_same_files_whatever_the_hash_seed(tmp_path: Path) -> None:
    write_sample_shop(tmp_path / "here", products=100, sessions=50, seed=5)
    code = (
        "import sys; from ubm_embed.data.sample_shop import write_sample_shop;"
        "write_sample_shop(sys.argv[1], products=100, sessions=50, seed=5)"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "PYTHONHASHSEED": "12345"}
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "there")], check=True, env=environment)
    for file in FILES:
        assert (tmp_path / "here" / file).read_bytes() == (tmp_path / "there" / file).read_bytes()


def test_another_seed_gives_another_shop(tmp_path: Path) -> None:
    for seed in (0, 1):
        write_sample_shop(tmp_path / str(seed), products=100, sessions=50, seed=seed)
    for file in FILES:
        assert not pl.read_parquet(tmp_path / "0" / file).equals(pl.read_parquet(tmp_path / "1" / file))


def test_it_opens_as_a_corpus(shop: Path) -> None:
    corpus = Corpus.open(shop)
    assert corpus.sessions == SESSIONS
    assert corpus.products.height == PRODUCTS


def test_one_product_and_one_session_are_a_shop(tmp_path: Path) -> None:
    write_sample_shop(tmp_path / "shop", products=1, sessions=1)
    assert Corpus.open(tmp_path / "shop").sessions == 1


def test_products_read_as_products(products: pl.DataFrame) -> None:
    assert products["title"].n_unique() > 0.99 * PRODUCTS
    names = products["attributes"].list.eval(pl.element().struct.field("name"))
    assert names.list.len().is_between(3, 4).all()
    assert (names.list.first() == "brand").all()
    brands = products["attributes"].list.first().struct.field("value")
    assert products.select(pl.col("title").str.starts_with(brands).all()).item()
    assert products["category"].str.contains("^[A-Z][a-z]+ > [A-Z][a-z]+$").all()
    assert (products["price"] > 0).all()
    assert 0 < products["in_stock"].sum() < PRODUCTS


def test_sessions_are_numbered_through_and_move_on_in_time(interactions: pl.DataFrame) -> None:
    frame = interactions.with_columns(
        place=pl.int_range(pl.len()).over("session_id"), gap=pl.col("timestamp").diff().over("session_id")
    )
    assert (frame["place"] == frame["position"]).all()
    assert (frame["gap"].drop_nulls().dt.total_seconds() >= 0).all()
    assert frame["position"].max() < MAX_LENGTH
    assert (frame.group_by("session_id").agg(pl.col("user_id").n_unique())["user_id"] == 1).all()
    assert interactions["user_id"].n_unique() < SESSIONS


def test_all_four_actions_occur_and_name_a_product_or_a_phrase(interactions: pl.DataFrame) -> None:
    shares = dict(interactions["action"].value_counts(normalize=True).iter_rows())
    assert set(shares) == {"search", "view", "add", "buy"}
    assert min(shares.values()) > 0.03
    searches = interactions["action"] == "search"
    assert (searches == interactions["query"].is_not_null()).all()
    assert (searches == interactions["product_id"].is_null()).all()


def test_only_products_viewed_and_added_before_are_bought(interactions: pl.DataFrame) -> None:
    def first(action: str) -> pl.DataFrame:
        done = interactions.filter(pl.col("action") == action)
        return done.group_by("session_id", "product_id").agg(pl.col("position").min().alias(action))

    bought = interactions.filter(pl.col("action") == "buy")
    for action in ("view", "add"):
        before = bought.join(first(action), on=["session_id", "product_id"], how="left")
        assert (before[action] < before["position"]).fill_null(False).all()


def test_buying_depends_on_what_happened(interactions: pl.DataFrame) -> None:
    sessions = interactions.group_by("session_id").agg(
        buys=(pl.col("action") == "buy").any(),
        adds=(pl.col("action") == "add").sum(),
        views=(pl.col("action") == "view").sum(),
    )
    assert 0.2 < sessions["buys"].mean() < 0.4
    adding = sessions.filter(pl.col("adds") > 0)
    assert adding["buys"].mean() > 1.5 * sessions["buys"].mean()
    assert adding["buys"].mean() < 0.75
    one = adding.filter(pl.col("adds") == 1)
    compared, hasty = one.filter(pl.col("views").is_between(4, 6)), one.filter(pl.col("views") <= 1)
    assert compared["buys"].mean() > hasty["buys"].mean() + 0.05
    assert adding.filter(pl.col("adds") > 1)["buys"].mean() > one["buys"].mean() + 0.1


def test_nobody_has_come_across_the_newest_products(products: pl.DataFrame, interactions: pl.DataFrame) -> None:
    newest = products["product_id"].tail(PRODUCTS // 50)
    assert len(newest) == 10
    assert not interactions["product_id"].is_in(newest.implode()).any()
    older = products["product_id"].head(PRODUCTS - len(newest))
    assert older.is_in(interactions["product_id"].drop_nulls().unique().implode()).mean() > 0.95


def test_more_sessions_leave_the_first_ones_as_they_were(
    shop: Path, tmp_path: Path, interactions: pl.DataFrame
) -> None:
    write_sample_shop(tmp_path / "shop", products=PRODUCTS, sessions=300, seed=3)
    fewer = pl.read_parquet(tmp_path / "shop" / INTERACTIONS_FILE)
    assert (tmp_path / "shop" / PRODUCTS_FILE).read_bytes() == (shop / PRODUCTS_FILE).read_bytes()
    assert fewer["session_id"].n_unique() == 300
    assert interactions.head(fewer.height).equals(fewer)


def test_progress_reaches_the_totals(tmp_path: Path) -> None:
    steps: dict[str, tuple[int, int]] = {}

    def progress(what: str, done: int, total: int, note: str = "") -> None:
        steps[what] = done, total

    write_sample_shop(tmp_path / "shop", products=30, sessions=20, progress=progress)
    assert steps == {"products": (30, 30), "sessions": (20, 20)}


def test_a_taken_folder_is_left_alone_unless_overwritten(tmp_path: Path) -> None:
    write_sample_shop(tmp_path / "shop", products=30, sessions=20)
    with pytest.raises(Conflict):
        write_sample_shop(tmp_path / "shop", products=31, sessions=20)
    assert pl.read_parquet(tmp_path / "shop" / PRODUCTS_FILE).height == 30
    write_sample_shop(tmp_path / "shop", products=31, sessions=20, overwrite=True)
    assert pl.read_parquet(tmp_path / "shop" / PRODUCTS_FILE).height == 31


@pytest.mark.parametrize("wrong", [{"products": 0}, {"sessions": 0}, {"seed": -1}])
def test_a_shop_of_nothing_is_refused(tmp_path: Path, wrong: dict[str, int]) -> None:
    with pytest.raises(InvalidData, match=next(iter(wrong))):
        write_sample_shop(tmp_path / "shop", **wrong)
    assert not list(tmp_path.iterdir())


# Whether there is anything to learn: each session is cut at its first new product after the first one, and ten
# products are named for what comes next.


@pytest.fixture(scope="module")
def pasts(interactions: pl.DataFrame) -> list[list[str]]:
    """Of each session with two or more, the different products in order."""
    sessions = interactions.drop_nulls("product_id").group_by("session_id", maintain_order=True).agg("product_id")
    lists = (list(dict.fromkeys(products)) for products in sessions["product_id"].to_list())
    return [products for products in lists if len(products) > 1]


def test_popularity_is_skewed(interactions: pl.DataFrame) -> None:
    views = interactions.filter(pl.col("action") == "view")["product_id"].value_counts(sort=True)["count"]
    assert views.head(PRODUCTS // 10).sum() > 2 * 0.1 * views.sum()
    assert views.max() > 4 * views.median()


def test_co_occurrence_predicts_the_next_product_far_better_than_popularity(pasts: list[list[str]]) -> None:
    training, held_out = pasts[: len(pasts) * 4 // 5], pasts[len(pasts) * 4 // 5 :]
    popular: Counter[str] = Counter()
    together: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for products in training:
        popular.update(products)
        for product in products:
            together[product].update(other for other in products if other != product)

    def hit_at_10(ranking: dict[str, list[str]]) -> float:
        return float(np.mean([products[1] in ranking[products[0]] for products in held_out]))

    firsts = {products[0] for products in held_out}
    by_popularity = {one: [other for other, _ in popular.most_common(11) if other != one][:10] for one in firsts}
    by_company = {one: [other for other, _ in together[one].most_common(10)] for one in firsts}
    assert hit_at_10(by_company) > 3 * hit_at_10(by_popularity)
    assert hit_at_10(by_company) < 0.8


def test_what_follows_resembles_what_was_seen_in_text_and_price(pasts: list[list[str]], products: pl.DataFrame) -> None:
    rows = {product: row for row, product in enumerate(products["product_id"])}
    kinds = products["title"].str.extract(r"\d+ (.*),").rank("dense").to_numpy()
    pairs = np.array([[rows[first], rows[second]] for first, second, *_ in pasts])
    pairs = pairs[kinds[pairs[:, 0]] == kinds[pairs[:, 1]]]
    pairs = pairs[np.argsort(kinds[pairs[:, 0]], kind="stable")]
    assert len(pairs) > 0.3 * len(pasts)

    # Chance: what followed, dealt out anew among the pairs of the same type of product.
    dealt = np.lexsort([np.random.default_rng(0).random(len(pairs)), kinds[pairs[:, 0]]])
    chance = np.column_stack([pairs[:, 0], pairs[dealt, 1]])
    chance = chance[chance[:, 0] != chance[:, 1]]

    def same(words: np.ndarray, of: np.ndarray) -> float:
        return float(np.mean(words[of[:, 0]] == words[of[:, 1]]))

    values = products["attributes"].list.eval(pl.element().struct.field("value"))
    brands, styles = values.list.get(0).to_numpy(), values.list.get(1).to_numpy()
    prices = np.log(products["price"].to_numpy())
    assert same(brands, pairs) > 1.5 * same(brands, chance)
    assert same(styles, pairs) > 1.15 * same(styles, chance)
    assert np.abs(np.diff(prices[pairs])).mean() < 0.9 * np.abs(np.diff(prices[chance])).mean()
