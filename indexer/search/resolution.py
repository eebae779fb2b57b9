"""Sessions as the model can read them: products named by id are looked up, and unreadable interactions left out.

An interaction is unreadable if it names a product that the version does not know, or if the model knows no word of its
text: Chinese titles, or emoji, in a model that learned from English ones. Removals from the cart are read by models
that have a token for them; for others they take the adds back.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from indexer.catalogue.catalogue import Catalogue, find_products
from ubm_embed.data.removals import positions_left
from ubm_embed.data.session import Action, Interaction, Product, Session
from ubm_embed.inference.embedder import Embedder
from ubm_embed.inference.shared_cache import SharedCache
from ubm_embed.inference.token_sequences import TokenSequence

EMPTY = "empty session"
NOTHING_KNOWN = "no known product or search in the session"
ALL_TAKEN_BACK = "nothing in the session but products that were removed from the cart"
UNREADABLE = "text that the model cannot read"

# What the tokens of a step take, which are kept with it once they were read.
_TOKENS_BYTES = 400


class Step:
    """An interaction of a session, with its product in full.

    A step with a product of the version is shared by all sessions that hold it, so that it is tokenised once.

    Attributes:
        interaction: what the shopper did.
        position: of the product in the catalogue; None for another one, or a search.
        sequence: its tokens; None until somebody needs them.
    """

    __slots__ = ("interaction", "position", "sequence")

    def __init__(self, interaction: Interaction, position: int | None = None) -> None:
        self.interaction, self.position = interaction, position
        self.sequence: TokenSequence | None = None

    def __sizeof__(self) -> int:
        return object.__sizeof__(self) + _TOKENS_BYTES


@dataclass(frozen=True, slots=True)
class ResolvedSession:
    """A session as a version reads it.

    Attributes:
        steps: its interactions that have a text.
        unknown: ids that the version does not know, each once, as they were written.
        seen: positions of the session's products in the catalogue, those that were removed from the cart included.
        phrase: the search that is the last thing known of it, whether the model can read it or not; None if that is a
            product.
        fallback: why nothing can be read, or None if something can.
    """

    session_id: str | None = None
    steps: tuple[Step, ...] = ()
    unknown: tuple[str, ...] = ()
    seen: frozenset[int] = frozenset()
    phrase: str | None = None
    fallback: str | None = None

    @property
    def session(self) -> Session:
        """Its steps as a session with products in full."""
        return Session(tuple(step.interaction for step in self.steps), self.session_id)

    def last_tokens(self, limit: int) -> list[bytes]:
        """The tokens of its last steps, which `as_read` has read."""
        return [step.sequence.tokens for step in self.steps[-limit:] if step.sequence is not None]


class _Known(NamedTuple):
    """A step with a product of the version, and the product's texts, so that their size is counted in the cache."""

    step: Step
    texts: tuple[Any, ...]


_Named = tuple[Action, str]
# An action, an id, and what a revision made of its product: so that the snapshots of a version's products share what is
# remembered, and none of them reads another's text.
_Key = tuple[Action, str, Hashable]


class SessionResolver:
    """Reads sessions as a version with this catalogue does. Several threads may ask.

    Args:
        reads_removals: whether all models that read the sessions have a token for removals from the cart.
        cache_bytes: limit of the interactions with known products that are remembered.
    """

    def __init__(self, catalogue: Catalogue, *, reads_removals: bool = False, cache_bytes: int = 64 << 20) -> None:
        self._catalogue = catalogue
        self._reads_removals = reads_removals
        self._known: SharedCache[_Key, _Known | None] = SharedCache(cache_bytes)

    def over(self, catalogue: Catalogue) -> SessionResolver:
        """The same over another revision of the version's products; they share what is remembered."""
        other = SessionResolver(catalogue, reads_removals=self._reads_removals, cache_bytes=0)
        other._known = self._known
        return other

    def resolve(self, sessions: Sequence[Session]) -> list[ResolvedSession]:
        """Each session as the version reads it."""
        interactions = [interaction for session in sessions for interaction in session.interactions]
        # All at once: picking rows one by one would cost more than the model.
        named = [(one.action, one.product_id) for one in interactions if one.product_id is not None]
        known = dict(zip(named, self._find(named), strict=True))
        given = [one.product.product_id for one in interactions if one.product is not None]
        positions = find_products(self._catalogue, filter(None, given)) if given else {}
        return [self._resolve(session, known, positions) for session in sessions]

    def num_unread(self, interactions: Sequence[Interaction], embedder: Embedder) -> int:
        """How many of some interactions will cost a pass of the model, since their vectors are not cached.

        Their products are looked up and tokenised for it, which is remembered.
        """
        if not self._reads_removals:
            interactions = [one for one in interactions if one.action is not Action.REMOVE]  # they have no tokens
        named = [(one.action, one.product_id) for one in interactions if one.product_id is not None]
        steps = [known.step for known in self._find(named) if known is not None]
        _tokenise(steps, embedder)
        others = [one for one in interactions if one.product_id is None]
        unread = sum(step.sequence is not None and not embedder.has_read(step.sequence.tokens) for step in steps)
        return unread + sum(not embedder.has_read_interaction(one) for one in others)

    def max_unread(self, interactions: Iterable[Interaction], embedder: Embedder) -> int:
        """As `num_unread`, but nothing is looked up for it: at most as many."""
        return sum(not self._is_read(interaction, embedder) for interaction in interactions)

    def _is_read(self, interaction: Interaction, embedder: Embedder) -> bool:
        if interaction.product_id is None:
            return embedder.has_read_interaction(interaction)
        known = self._known.peek(self._key(interaction.action, interaction.product_id))
        sequence = None if known is None else known.step.sequence
        return sequence is not None and embedder.has_read(sequence.tokens)

    def _key(self, action: Action, product_id: str) -> _Key:
        return action, product_id, self._catalogue.revised(product_id)

    def _find(self, named: Sequence[_Named]) -> list[_Known | None]:
        return self._known.get([self._key(*one) for one in named], self._look_up)

    def _look_up(self, keys: list[_Key]) -> list[_Known | None]:
        positions = find_products(self._catalogue, {name for _, name, _ in keys})
        products = self._catalogue.products(positions.values())
        return [
            _known(action, positions[name], products[positions[name]]) if name in positions else None
            for action, name, _ in keys
        ]

    def _resolve(
        self, session: Session, known: Mapping[_Named, _Known | None], positions: Mapping[str, int]
    ) -> ResolvedSession:
        steps, unknown, removes = list[Step](), list[str](), False
        seen = set[int | None]()
        for interaction in session.interactions:
            name, product = interaction.product_id, interaction.product
            removes = removes or interaction.action is Action.REMOVE
            if name is not None:
                found = known[interaction.action, name]
                if found is not None:
                    steps.append(found.step)
                    seen.add(found.step.position)
                    continue
                unknown.append(name)
                if interaction.action is Action.REMOVE and not self._reads_removals:
                    steps.append(Step(interaction))  # for its product may have been added in full
            elif product is None:
                if (interaction.query or "").strip():
                    steps.append(Step(interaction))
            else:
                position = positions.get(product.product_id or "")
                seen.add(position)
                if product.has_text:
                    steps.append(Step(interaction, position))
        left = steps if self._reads_removals or not removes else _taken_back(steps)
        return ResolvedSession(
            session.session_id,
            tuple(left),
            tuple(dict.fromkeys(unknown)),
            frozenset(position for position in seen if position is not None),
            left[-1].interaction.query if left else None,
            None if left else _nothing_left(session, steps),
        )


def as_read(sessions: Sequence[ResolvedSession], embedder: Embedder) -> list[ResolvedSession]:
    """The sessions without steps that the model cannot read; `fallback` says so if nothing is left.

    The last `max_interactions` steps of each are tokenised then. Those before them are left as they are.
    """
    limit = embedder.max_interactions
    _tokenise([step for session in sessions for step in session.steps[-limit:]], embedder)
    return [_as_read(session, embedder) for session in sessions]


def _tokenise(steps: Sequence[Step], embedder: Embedder) -> None:
    """Read the texts of those steps that were not read before, all at once."""
    unread = [step for step in steps if step.sequence is None]
    if unread:
        for step, sequence in zip(unread, embedder.tokenise([step.interaction for step in unread]), strict=True):
            step.sequence = sequence


def _as_read(session: ResolvedSession, embedder: Embedder) -> ResolvedSession:
    limit, steps = embedder.max_interactions, session.steps
    if all(map(_has_words, steps[-limit:])):
        return session
    kept: tuple[Step, ...] = ()
    end = len(steps)
    while end and len(kept) < limit:
        begin = max(0, end - limit)
        part = steps[begin:end]
        _tokenise(part, embedder)
        kept, end = (*filter(_has_words, part), *kept), begin
    left = (*steps[:end], *kept)
    return replace(session, steps=left, fallback=None if left else UNREADABLE)


def _has_words(step: Step) -> bool:
    return step.sequence is not None and step.sequence.has_words


def _taken_back(steps: Sequence[Step]) -> list[Step]:
    return [steps[index] for index in positions_left([step.interaction for step in steps])]


def _known(action: Action, position: int, product: Product) -> _Known:
    texts = (product.title, product.category, product.attributes, product.product_id)
    return _Known(Step(Interaction(action, product=product), position), texts)


def _nothing_left(session: Session, readable: Sequence[Step]) -> str:
    if readable:
        return ALL_TAKEN_BACK
    return NOTHING_KNOWN if session.interactions else EMPTY
