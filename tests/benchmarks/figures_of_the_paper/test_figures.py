"""Figures have exactly the numbers of their reports, and say what they leave out."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text

from benchmarks.figures_of_the_paper import canvas, figures, sessions_figure, sparse_items_figure, uniformity_figure
from ubm_embed.errors import Conflict, InvalidData, NotFound

ROOT = Path(__file__).resolve().parents[3]
PNG = b"\x89PNG\r\n\x1a\n"
BANDS = [("0", 0, 0, 0), ("1-4", 1, 4, 200), ("5 or more", 5, 99, 900)]
NAMES = {
    "simple": ["POP"],
    "id": ["co-occurrence", "SR-GNN", "SASRec", "GRU4Rec"],
    "text": ["BERT_mini", "BERT_8layer", "static text"],
    "ours": ["UBM_wo", "UBM"],
}


def table(task: str = "nip", *, bands: bool = True) -> dict[str, Any]:
    """A report with different figures in each row; rows over ids have neither alignment nor uniformity."""
    named = [(group, name) for group, names in NAMES.items() for name in names]
    rows = [
        {
            "row": name,
            "group": group,
            "note": "a stand-in" if name == "BERT_8layer" else "",
            "metrics": {"hit@10": {"value": 0.05 * number, "low": 0.0, "high": 1.0}},
            "p_values": None,
            "bands": [_band(number, *band) for band in BANDS] if bands and task == "nip" else [],
            "alignment": 0.2 + number / 100 if group in ("text", "ours") else None,
            "uniformity": -number / 4 if group in ("text", "ours") else None,
        }
        for number, (group, name) in enumerate(named, start=1)
    ]
    settings = {"table": 1, "task": task, "data": "uci_online_retail", "size": "small", "seed": 0}
    return {"settings": settings, "questions": 1100, "rows": rows}


def _band(number: int, label: str, low: int, high: int, examples: int) -> dict[str, Any]:
    value = 0.04 * number + low / 100 if examples else None
    return {"label": label, "min_count": low, "max_count": high, "examples": examples, "metrics": {"hit@10": value}}


def sessions(count: int = 3) -> dict[str, Any]:
    """A report of figure 4 with two models."""
    listed = [
        {"session_id": f"s{i}", "group": ("adds", "browses")[i % 2], "category": f"category {i}", "text": ["view case"]}
        for i in range(count)
    ]
    points = {"UBM": [[i, i / 2] for i in range(count)], "BERT_mini": [[-i, 1.5] for i in range(count)]}
    settings = {"data": "uci_online_retail", "size": "small"}
    return {"settings": settings, "sessions": listed, "models": points, "separation": {"UBM": 0.4}}


def write(folder: Path, **reports: dict[str, Any]) -> Path:
    folder.mkdir(exist_ok=True)
    for name, report in reports.items():
        (folder / f"{name}.json").write_text(json.dumps(report), "utf-8")
    return folder


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """A folder of reports that allow every figure."""
    return write(
        tmp_path / "results",
        table_1_rlp_retail_small=table("rlp"),
        table_1_nip_retail_small=table(),
        figure_4_retail_small=sessions(),
        pretraining_speed={"benchmark": "pretraining_speed"},
    )


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Skip drawing, which takes a second each, in tests of which figures are made."""
    for module in (sessions_figure, sparse_items_figure, uniformity_figure):
        monkeypatch.setattr(module, "draw", lambda numbers: Figure())


def test_each_picture_is_written_with_its_numbers_and_is_reproducible(
    results: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pictures = figures.make(results, tmp_path / "figures")
    names = [f"figure_{number}_retail_small" for number in (4, 5, 6)]
    assert [picture.name for picture in pictures] == [f"{name}.png" for name in names]
    output = capsys.readouterr()
    assert output.err == ""
    assert output.out.splitlines() == [f"wrote {picture} and {picture.stem}.json" for picture in pictures]
    for picture in pictures:
        assert picture.read_bytes().startswith(PNG)
        assert picture.stat().st_size > 5000
    command = [
        sys.executable,
        "-m",
        "benchmarks.figures_of_the_paper.figures",
        "--results",
        str(results),
        "--out",
        str(tmp_path / "again"),
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == output.out.replace(str(tmp_path / "figures"), str(tmp_path / "again"))
    files = sorted((tmp_path / "figures").iterdir())
    assert [file.name for file in files] == [f"{name}.{kind}" for name in names for kind in ("json", "png")]
    assert [(tmp_path / "again" / file.name).read_bytes() for file in files] == [file.read_bytes() for file in files]


@pytest.mark.usefixtures("undrawn")
def test_the_numbers_name_their_reports_in_the_order_of_the_tasks(results: Path, tmp_path: Path) -> None:
    numbers = json.loads(figures.make(results, tmp_path / "figures")[2].with_suffix(".json").read_text("utf-8"))
    assert numbers["figure"] == 6
    assert numbers["sources"] == ["table_1_nip_retail_small.json", "table_1_rlp_retail_small.json"]
    assert numbers["panels"] == uniformity_figure.numbers([table("nip"), table("rlp")])["panels"]


class TestSparseItems:
    def test_the_numbers_are_hit_at_10_by_band_and_its_difference_to_sr_gnn(self) -> None:
        numbers = sparse_items_figure.numbers(table())
        assert numbers["bands"] == [{"label": label, "questions": questions} for label, _, _, questions in BANDS]
        models = {model["row"]: model for model in numbers["models"]}
        assert models["UBM"]["values"] == [None, *(pytest.approx(0.4 + low / 100) for low in (1, 5))]
        assert models["UBM"]["differences"] == [None, *[pytest.approx(0.28)] * 2], "SR-GNN is row 3 of 10"
        assert models["SR-GNN"]["differences"] == [None, 0, 0]
        assert numbers["title"].endswith("next item prediction, uci_online_retail (small), 1,100 questions")

    def test_ubm_and_sr_gnn_are_drawn_with_the_best_of_each_group(self) -> None:
        numbers = sparse_items_figure.numbers(table())
        names = [model["row"] for model in numbers["models"]]
        assert names == ["UBM", "POP", "SR-GNN", "SASRec", "GRU4Rec", "BERT_8layer", "static text", "UBM_wo"]
        assert numbers["left_out"] == ["co-occurrence", "BERT_mini"]

    def test_the_bars_are_the_numbers(self) -> None:
        numbers = sparse_items_figure.numbers(table())
        upper, lower = _drawn(sparse_items_figure.draw(numbers)).axes
        assert _heights(upper) == _known(model["values"] for model in numbers["models"])
        assert _heights(lower) == _known(
            model["differences"] for model in numbers["models"] if model["row"] != "SR-GNN"
        )
        ticks = [label.get_text() for label in lower.get_xticklabels()]
        assert ticks == ["0\n0 questions", "1-4\n200 questions", "5 or more\n900 questions"]
        caption = " ".join(lower.get_xlabel().splitlines())
        assert caption.endswith("left out: co-occurrence, BERT_mini ¹ a stand-in")
        assert "BERT_8layer ¹" in upper.get_legend_handles_labels()[1]

    def test_rows_with_different_bands_are_an_error(self) -> None:
        report = table()
        report["rows"][-1]["bands"] = report["rows"][-1]["bands"][1:]
        with pytest.raises(InvalidData, match="same bands in every row, those of UBM are different"):
            sparse_items_figure.numbers(report)


class TestUniformity:
    def test_each_task_is_a_panel_of_the_rows_that_have_both(self) -> None:
        numbers = uniformity_figure.numbers([table("nip"), table("rlp")])
        assert [panel["task"] for panel in numbers["panels"]] == ["nip", "rlp"]
        points = numbers["panels"][0]["points"]
        assert [point["row"] for point in points] == ["BERT_mini", "BERT_8layer", "static text", "UBM_wo", "UBM"]
        assert (points[-1]["row"], points[-1]["group"]) == ("UBM", "ours")
        assert (points[-1]["alignment"], points[-1]["uniformity"]) == (pytest.approx(0.3), -2.5)

    def test_the_points_are_the_numbers_and_each_has_a_label(self) -> None:
        numbers = uniformity_figure.numbers([table("nip"), table("rlp")])
        for axes, panel in zip(_drawn(uniformity_figure.draw(numbers)).axes, numbers["panels"], strict=True):
            points = [(point["alignment"], point["uniformity"]) for point in panel["points"]]
            assert sorted(_drawn_points(axes)) == sorted(points)
            names = [text.get_text() for text in axes.texts]
            assert names == ["BERT_mini", "BERT_8layer ¹", "static text", "UBM_wo", "UBM"]
            assert "lower is better" in axes.get_xlabel()
            assert "lower is better" in axes.get_ylabel()


class TestSessions:
    def test_a_point_is_a_session_s_embedding(self) -> None:
        numbers = sessions_figure.numbers(sessions())
        ours, theirs = numbers["panels"]
        expected = {"session_id": "s1", "group": "browses", "category": "category 1"}
        assert ours["points"][1] == {**expected, "x": 1, "y": 0.5}
        assert theirs["points"][1] == {**expected, "x": -1, "y": 1.5}
        drawn = _drawn(sessions_figure.draw(numbers)).axes
        assert [axes.get_title() for axes in drawn] == ["UBM, separation 0.40", "BERT_mini"]
        for axes, panel in zip(drawn, numbers["panels"], strict=True):
            assert sorted(_drawn_points(axes)) == sorted((point["x"], point["y"]) for point in panel["points"])

    def test_categories_past_the_colours_are_grey_together(self) -> None:
        figure = _drawn(sessions_figure.draw(sessions_figure.numbers(sessions(12))))
        labels = [text.get_text() for text in figure.legends[0].get_texts()]
        assert labels == ["adds", "browses", *(f"category {i}" for i in range(7)), "other categories"]

    def test_a_missing_point_is_an_error(self) -> None:
        report = sessions()
        report["models"]["UBM"].pop()
        with pytest.raises(InvalidData, match="expected 3 points of UBM, one for each session, found 2"):
            sessions_figure.numbers(report)


def test_a_row_of_an_unknown_group_is_an_error() -> None:
    report = table()
    report["rows"][-1]["group"] = "theirs"
    with pytest.raises(InvalidData, match="found theirs"):
        uniformity_figure.panel(report)


def test_labels_cover_neither_points_nor_each_other() -> None:
    with canvas.style():
        figure, grid = canvas.panels("crowded", 1, height=3)
        axes = grid[0, 0]
        points = [(0.5 + i % 3 / 50, 0.5 + i // 3 / 25) for i in range(9)]
        axes.set(xlim=(0, 1), ylim=(0, 1))
        canvas.add_labels(axes, points, [f"a model {i}" for i in range(9)])
        figure.draw_without_rendering()
        # The extent of an annotation would include the line to its point.
        names = [Text.get_window_extent(text).padded(-1) for text in axes.texts]
        assert len(names) == len(points)
        assert not any(one.overlaps(other) for one, other in itertools.combinations(names, 2))
        assert not any(box.contains(*at) for box in names for at in axes.transData.transform(points))


@pytest.mark.usefixtures("undrawn")
class TestIncompleteReports:
    def test_a_table_without_sr_gnn_or_uniformity_is_skipped_with_the_reason(
        self, results: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        bare = table(bands=False)
        for row in bare["rows"]:
            row["alignment"] = None
        write(results, table_1_nip_retail_small=bare)
        pictures = figures.make(results, tmp_path / "figures")
        assert [picture.name for picture in pictures] == ["figure_4_retail_small.png", "figure_6_retail_small.png"]
        assert capsys.readouterr().err.splitlines() == [
            "skipped figure 5 of table_1_nip_retail_small.json: expected a row 'SR-GNN' with bands",
            "skipped figure 6 of table_1_nip_retail_small.json: expected a row with alignment and uniformity",
        ]

    def test_a_report_without_a_key_and_an_invalid_file_are_skipped(
        self, results: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        report = sessions()
        del report["models"]
        write(results, figure_4_retail_small=report)
        (results / "table_1_pip_retail_small.json").write_text("{", "utf-8")
        assert len(figures.make(results, tmp_path / "figures")) == 2
        lines = capsys.readouterr().err.splitlines()
        assert lines[0].startswith("skipped table_1_pip_retail_small.json: ")
        assert "not JSON" in lines[0]
        assert lines[1:] == ["skipped figure 4 of figure_4_retail_small.json: it has no 'models'"]

    def test_no_figures_at_all_is_an_error_and_leaves_no_folder(self, tmp_path: Path) -> None:
        with pytest.raises(NotFound, match=r"no figure could be made: expected reports table_\*.json"):
            figures.make(write(tmp_path / "results"), tmp_path / "figures")
        assert not (tmp_path / "figures").exists()

    def test_figures_need_their_own_folder(self, results: Path) -> None:
        with pytest.raises(Conflict, match="another folder"):
            figures.make(results, results)
        assert json.loads((results / "figure_4_retail_small.json").read_text("utf-8")) == sessions()


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("table_1_nip_uci_online_retail_small.json", "uci_online_retail_small"),
        ("table_1_rlp_uci_online_retail_small.json", "uci_online_retail_small"),
        ("table_2_nip_uci_online_retail_small.json", "uci_online_retail_small_table_2"),
        ("table_of_mine.json", "table_of_mine"),
    ],
)
def test_a_figure_is_named_after_its_data(file: str, name: str) -> None:
    assert figures.data_name(file) == name


def test_the_command_exits_with_the_reason_if_there_is_no_figure(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="no figure could be made"):
        figures.main(["--results", str(tmp_path / "absent"), "--out", str(tmp_path / "figures")])


def _drawn(figure: Figure) -> Figure:
    figure.draw_without_rendering()
    return figure


def _heights(axes: Any) -> list[float]:
    return [bar.get_height() for container in axes.containers for bar in container]


def _known(series: Any) -> list[float]:
    return [value for values in series for value in values if value is not None]


def _drawn_points(axes: Any) -> list[tuple[float, float]]:
    return [(float(x), float(y)) for scatter in axes.collections for x, y in scatter.get_offsets()]
