"""POST /v1/recommend and /v1/predict: what comes next in sessions."""

from __future__ import annotations

from indexer.search.limits import Limits
from indexer.search.ranking import Rules
from indexer.service.http.answers.answer_document import answer_document
from indexer.service.http.answers.known_sessions import KnownSession, known_sessions
from indexer.service.http.answers.session_answers import QueryOptions, answer_sessions
from indexer.service.http.answers.shown_answers import GivenAnswer, ShownAnswers
from indexer.service.http.documentation import schemas
from indexer.service.http.endpoint import Call, Reply
from indexer.service.http.operation import Operation
from indexer.service.http.requests.bodies import PredictBody, RecommendBody, predict_body, recommend_body
from indexer.service.http.requests.requested_sessions import NamesSessions, requested_sessions
from indexer.service.service import Service
from ubm_embed.errors import NotFound

_NO_RULES = Rules()


class RecommendationRoutes:
    """What comes next in one session, or in several."""

    def __init__(self, service: Service, limits: Limits, shown: ShownAnswers) -> None:
        self._service, self._limits, self._shown = service, limits, shown

    async def recommend(self, call: Call) -> Reply:
        """The next products of each session."""
        body = recommend_body.decode(call.body)
        options = QueryOptions(body.k, body.rules(), body.negative_interactions(), body.explain)
        known, given = await self._answer(call, body, options)
        for one in given:
            self._shown.add(one, body.k)
        documents = [answer_document(one, session) for one, session in zip(given, known, strict=True)]
        return Reply.json(documents[0] if body.sessions is None else {"answers": documents})

    async def predict(self, call: Call) -> Reply:
        """How each session will go on."""
        settings = self._service.settings
        if settings.purchase_intention is None and settings.remaining_length is None:
            raise NotFound(
                "the service has no model that predicts; it takes --purchase-intention and --remaining-length"
            )
        body = predict_body.decode(call.body)
        known, given = await self._answer(call, body, QueryOptions(1, _NO_RULES), in_experiment=False)
        predictions = []
        for one, session in zip(given, known, strict=True):
            document = answer_document(one, session)
            predictions.append({name: document[name] for name in schemas.PREDICTION_FIELDS if name in document})
        return Reply.json(predictions[0] if body.sessions is None else {"predictions": predictions})

    async def _answer(
        self, call: Call, body: NamesSessions, options: QueryOptions, *, in_experiment: bool = True
    ) -> tuple[list[KnownSession], list[GivenAnswer]]:
        requested = requested_sessions(body, self._limits.sessions)
        self._limits.check(options.k, options.rules, sessions=len(requested))
        call.state.sessions = len(requested)
        known = await known_sessions(requested, self._service.sessions)
        experiment = self._service.experiment if in_experiment else None
        sessions = [one.session for one in known]
        answered = await answer_sessions(self._service.engine, experiment, sessions, options, call.arrival)
        call.state.timings, call.state.version = answered.timings, answered.answers[0].answer.version
        given = [
            answer if session.missing is None else answer.without_session(session.missing)
            for answer, session in zip(answered.answers, known, strict=True)
        ]
        return known, given

    def operations(self) -> list[Operation]:
        """Its routes."""
        return [
            Operation(
                "POST",
                "/v1/recommend",
                self.recommend,
                tag="Answers",
                summary="The next products of a session, or of several.",
                description=_RECOMMEND,
                body=RecommendBody,
                examples=_RECOMMENDS,
                reply=schemas.one_or_many("Answer", "answers"),
                errors=(503,),
            ),
            Operation(
                "POST",
                "/v1/predict",
                self.predict,
                tag="Answers",
                summary="The purchase intention and the remaining length of a session, or of several.",
                description="As far as the service was given models that predict them; without any, 404.",
                body=PredictBody,
                examples={"kept": {"session_id": "s1"}, "whole": {"interactions": [schemas.VIEW]}},
                reply=schemas.one_or_many("Prediction", "predictions"),
                errors=(404, 503),
            ),
        ]


_RECOMMEND = """A session is named by `session_id`, if the service keeps it (`POST /v1/events`), or given whole as
`session` or as `interactions`; then its id only says whose answer it is. `sessions` holds several of them, and the
answer is `{"answers": [...]}` in their order.

A session that is not kept, or of which the version can read nothing, is answered with the most popular products under
the same rules, and `fallback` says why. Ids that the version does not know are in `unknown`.

In an experiment, a session with an id has an `arm`. Give `answer_id` back with events, so that they count for the
answer."""
_RECOMMENDS = {
    "kept": {"session_id": "s1", "k": 10},
    "whole": {
        "interactions": [{"action": "search", "query": "red running shoes"}, schemas.VIEW],
        "k": 5,
        "where": "price < 50",
        "diversity": 0.2,
        "max_per": {"category": 2},
    },
    "several": {"sessions": [{"session_id": "s1"}, {"interactions": [schemas.VIEW]}]},
}
