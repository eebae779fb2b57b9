"""How the sample shop's shoppers behave: the model behind its sessions. It was not fitted to real people.

A shopper comes with an intent: a type of product, a favourite brand, style (mostly a colour) and detail, and a budget.

1. Most search first, by the type's name or a synonym, some with the brand, style or detail.
2. They view products one after another: from a page that fits (see `Shelf.page`) they take the one they like best, by
   `liking` plus luck, preferably one they have not seen yet. Some glance at a bestseller in between.
3. A product may win them over: its brand and style become their favourites for the next view.
4. They stop when they tire, sooner after seeing something they like, and go back to the best if it was not the last.
5. They add it to the cart, more likely the more they like it and the keener they are.
6. With something in the cart, some look for a complement of the same brand and style, if there is one. With an empty
   cart, some try another intent.
7. They buy what is in the cart, or leave it. Buying is more likely with a product they like, three or four
   alternatives seen, a complement and a keen shopper; less likely with a price above the budget or too many views.

So the rest of a session can be predicted from text and prices, up to luck and a product's own popularity.

Letters: B visits, N of them that do something, C products on a page, S interactions at most.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ubm_embed.data.arrays import IntArray
from ubm_embed.data.sample_shop.catalogue import (
    BRAND_TIERS,
    BRANDS_OF_TYPE,
    NOTHING,
    TYPE_NAMES,
    TYPE_PRICES,
    SampleCatalogue,
    draw_words,
)
from ubm_embed.data.sample_shop.intent import Intent, liking, phrases
from ubm_embed.data.sample_shop.product_types import TYPES
from ubm_embed.data.sample_shop.sampling import ListSampler
from ubm_embed.data.sample_shop.shelf import Shelf
from ubm_embed.data.sample_shop.visits import MAX_LENGTH, Visits
from ubm_embed.data.sample_shop.vocabulary import BRANDS
from ubm_embed.data.session import Action

GOOD = 2.0  # liking that makes a shopper content
SEEN = -6.0  # added to the liking of a product seen before

# Probabilities.
SEARCHES, GLANCES, IS_WON_OVER, TIRES, IS_CONTENT = 0.75, 0.22, 0.25, 0.28, 0.3
WANTS_COMPLEMENT, TRIES_AGAIN, STAYS_IN_DEPARTMENT = 0.5, 0.75, 0.3

# Log-odds; keenness, a standard normal variable, is added to the first two.
ADDS, BUYS = -2.6, -2.6
PER_LIKING, PER_EXCESS, PER_COMPLEMENT = 0.6, -3.0, 0.8
PER_ALTERNATIVE, ENOUGH, PER_MORE, TOO_MANY = 0.4, 4, -0.3, 6

PAGE, LOOKS, COMPLEMENT_LOOKS = 10, 8, 3
VISITS_OF_A_USER = 3

_NAMES = {kind.name: number for number, kind in enumerate(TYPES)}
_COMPLEMENTS = ListSampler.from_lists([[_NAMES[name] for name in kind.complements] for kind in TYPES])
_DEPARTMENTS = ListSampler.from_lists(
    [[n for n, other in enumerate(TYPES) if other.department == kind.department] for kind in TYPES]
)
_HAS_COMPLEMENT = np.array([bool(kind.complements) for kind in TYPES])
_SELLS = np.array([[kind.department in brand.departments for brand in BRANDS] for kind in TYPES])


def visits(catalogue: SampleCatalogue, shelf: Shelf, rng: np.random.Generator, count: int) -> Visits:
    """This many complete visits to the shop."""
    floor = _ShopFloor(catalogue, shelf, rng, count)
    everyone = np.arange(count)
    intent = floor.intent(everyone, floor.wanted_types(count))
    cart = floor.shop(everyone, intent, LOOKS)

    (empty,) = np.nonzero(cart == NOTHING)
    again = empty[rng.random(empty.size) < TRIES_AGAIN]
    types = floor.other_types(intent.types[again])
    cart[again] = floor.shop(again, floor.intent(again, types), LOOKS)

    buying = np.flatnonzero(cart != NOTHING)
    buying = buying[rng.random(buying.size) < WANTS_COMPLEMENT]
    floor.shop_complements(buying, cart[buying])
    floor.check_out()
    return floor.visits


class _ShopFloor:
    """B shoppers in the shop and the steps they take; a method moves the shoppers `who` [N]."""

    def __init__(self, catalogue: SampleCatalogue, shelf: Shelf, rng: np.random.Generator, count: int) -> None:
        self.catalogue, self.shelf, self.rng = catalogue, shelf, rng
        users = max(1, count // VISITS_OF_A_USER)
        self.visits = Visits.empty(rng.integers(users, size=count))
        self.purses = np.exp(rng.normal(0.0, 0.25, size=users))[self.visits.users]
        self.keenness = rng.normal(size=count)
        self.urge = np.full(count, BUYS) + self.keenness  # log-odds of buying

    def wanted_types(self, count: int) -> IntArray:
        """Random types by demand: [count]."""
        demand = np.where(self.shelf.has(np.arange(len(TYPES))), self.catalogue.demand, 0.0)
        return self.rng.choice(len(TYPES), size=count, p=demand / demand.sum())

    def other_types(self, types: IntArray) -> IntArray:
        """The next type of shoppers who found nothing in these: one of the same department, or any."""
        near = _DEPARTMENTS.draw(self.rng, types)
        stays = (self.rng.random(types.size) < STAYS_IN_DEPARTMENT) & self.shelf.has(near)
        return np.where(stays, near, self.wanted_types(types.size))

    def intent(self, who: IntArray, types: IntArray) -> Intent:
        """A fresh intent for these types."""
        brands = BRANDS_OF_TYPE.draw(self.rng, types)
        styles, details = (draw_words(self.rng, types, attribute) for attribute in (0, 1))
        return Intent(types, brands, styles, details, self._budgets(who, types, brands))

    def shop(self, who: IntArray, intent: Intent, looks: int) -> IntArray:
        """Search, look around, decide: [N] the product in the cart, or `NOTHING`."""
        searching = np.flatnonzero(self.rng.random(who.size) < SEARCHES)
        self.visits.search(who[searching], phrases(self.rng, intent.take(searching)))
        best = self._look_around(who, intent, looks)
        return self._decide(who, best, intent)

    def shop_complements(self, who: IntArray, products: IntArray) -> None:
        """Shop for complements of `products` [N], of the same brand and style where possible."""
        kinds = self.catalogue.types[products]
        some = np.flatnonzero(_HAS_COMPLEMENT[kinds])
        types = _COMPLEMENTS.draw(self.rng, kinds[some])
        some, types = some[self.shelf.has(types)], types[self.shelf.has(types)]
        who, products = who[some], products[some]
        fresh = self.intent(who, types)
        brands, styles = self.catalogue.brands[products], self.catalogue.values[products, 0]
        same_names = TYPE_NAMES[self.catalogue.types[products], 0] == TYPE_NAMES[types, 0]
        brands = np.where(_SELLS[types, brands], brands, fresh.brands)
        styles = np.where(same_names, styles, fresh.styles)
        intent = Intent(types, brands, styles, fresh.details, self._budgets(who, types, brands))
        added = self.shop(who, intent, COMPLEMENT_LOOKS)
        self.urge[who[added != NOTHING]] += PER_COMPLEMENT

    def check_out(self) -> None:
        """Some of those with a cart buy its contents."""
        viewed = self.visits.did(Action.VIEW).sum(axis=1)
        urge = self.urge + PER_ALTERNATIVE * np.minimum(viewed, ENOUGH) + PER_MORE * np.maximum(viewed - TOO_MANY, 0)
        buys = self.rng.random(urge.size) < _chance(urge)
        added = self.visits.did(Action.ADD) & buys[:, None]
        for position in range(MAX_LENGTH):
            who = np.flatnonzero(added[:, position])
            self.visits.do(who, Action.BUY, self.visits.products[who, position])

    def _look_around(self, who: IntArray, intent: Intent, looks: int) -> IntArray:
        """View products until tired or content: [N] the best of them."""
        best, best_liking = np.full(who.size, NOTHING), np.full(who.size, -np.inf)
        looking = np.arange(who.size)
        for _ in range(looks):
            rows, likes = self._pick(who[looking], intent.take(looking))
            self.visits.do(who[looking], Action.VIEW, rows)
            better = likes > best_liking[looking]
            best[looking[better]], best_liking[looking[better]] = rows[better], likes[better]
            self._win_over(intent, looking, rows)
            self._glance(who[looking])
            content = best_liking[looking] > GOOD
            looking = looking[self.rng.random(looking.size) >= TIRES + IS_CONTENT * content]
        return best

    def _pick(self, who: IntArray, intent: Intent) -> tuple[IntArray, NDArray[np.float64]]:
        """The product of a page that each likes best, and the liking without luck: [N], [N]."""
        page = self.shelf.page(self.rng, intent.types, intent.brands, intent.styles, PAGE)
        likings = liking(self.catalogue, page, intent)
        seen = (page[:, :, None] == self.visits.products[who, None, :]).any(axis=2)
        at = np.argmax(likings + SEEN * seen + self.rng.gumbel(size=page.shape), axis=1)[:, None]
        return np.take_along_axis(page, at, axis=1)[:, 0], np.take_along_axis(likings, at, axis=1)[:, 0]

    def _win_over(self, intent: Intent, looking: IntArray, rows: IntArray) -> None:
        """Make the brand and style just viewed the favourites of some of those `looking`."""
        won = self.rng.random(looking.size) < IS_WON_OVER
        intent.brands[looking[won]] = self.catalogue.brands[rows[won]]
        intent.styles[looking[won]] = self.catalogue.values[rows[won], 0]

    def _glance(self, who: IntArray) -> None:
        """Some view a bestseller in passing."""
        who = who[self.rng.random(who.size) < GLANCES]
        self.visits.do(who, Action.VIEW, self.shelf.bestsellers(self.rng, who.size))

    def _decide(self, who: IntArray, best: IntArray, intent: Intent) -> IntArray:
        """Go back to the best one and add it, or not: [N] the product added, or `NOTHING`."""
        last = self.visits.products[who, self.visits.lengths[who] - 1]
        joy = liking(self.catalogue, best[:, None], intent)[:, 0]
        adds = self.rng.random(who.size) < _chance(joy + ADDS + self.keenness[who])
        back = adds & (last != best)
        self.visits.do(who[back], Action.VIEW, best[back])
        self.visits.do(who[adds], Action.ADD, best[adds])
        excess = np.maximum(np.log(self.catalogue.prices[best] / intent.budgets), 0.0)
        self.urge[who[adds]] += (PER_LIKING * joy + PER_EXCESS * excess)[adds]
        return np.where(adds, best, NOTHING)

    def _budgets(self, who: IntArray, types: IntArray, brands: IntArray) -> NDArray[np.float64]:
        """[N]: a shopper who likes an expensive brand expects its prices."""
        return TYPE_PRICES[types] * BRAND_TIERS[brands] * self.purses[who]


def _chance(log_odds: NDArray[np.float64]) -> NDArray[np.float64]:
    return 1.0 / (1.0 + np.exp(-log_odds))
