import json
from pathlib import Path

from ubm_embed.data.corpus import Corpus
from ubm_embed.data.logs.ingestion import ingest

SESSIONS = [
    {
        "session": 7,
        "events": [
            {"aid": 1, "ts": 1661724000278, "type": "clicks"},
            {"aid": 2, "ts": 1661724001278, "type": "carts"},
            {"aid": 2, "ts": 1661724002278, "type": "orders"},
            {"aid": 2, "ts": 1661724003278, "type": "wishes"},
        ],
    },
    {"session": 8, "events": []},
    {"session": 9, "events": 3},
    {"session": 10, "events": [{"aid": 1, "ts": 1661724000000, "type": "clicks"}]},
]


def test_sessions_of_otto_become_interactions(tmp_path: Path) -> None:
    log = tmp_path / "train.jsonl"
    log.write_text("\n".join(map(json.dumps, SESSIONS)))
    (tmp_path / "products.csv").write_text("product_id,title\n1,Shoe\n2,Hat\n")
    report = ingest([log], kind="otto", out=tmp_path / "out", catalogue=tmp_path / "products.csv")
    assert Corpus.open(tmp_path / "out").interactions.select("session_id", "action", "product_id").rows() == [
        ("10", "view", "1"),
        ("7", "view", "1"),
        ("7", "add", "2"),
        ("7", "buy", "2"),
    ]
    assert report.rows == {str(log): 4}
    assert report.dropped == {"other event": 2, "odd record": 1}


def test_an_event_without_a_time_is_kept_and_counted(tmp_path: Path) -> None:
    session = {"session": 7, "events": [{"aid": 1, "ts": 1661724000278, "type": "clicks"}, {"aid": 2, "type": "carts"}]}
    (tmp_path / "train.jsonl").write_text(json.dumps(session))
    (tmp_path / "products.csv").write_text("product_id,title\n1,Shoe\n2,Hat\n")
    report = ingest([tmp_path / "train.jsonl"], kind="otto", out=tmp_path / "out", catalogue=tmp_path / "products.csv")
    assert (report.interactions, report.lost) == (2, {"timestamp": 1})
