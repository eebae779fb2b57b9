"""Are products found that nobody has clicked yet? python -m benchmarks.quality.cold_start [--data DIR] [--bert DIR]

A share of the products is kept out of all that is trained. Then sessions of the test part are asked for their next
product, once where that is one of these and once where it is another, out of the whole catalogue.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.command_line import load_or_measure
from benchmarks.quality.cold_trial import AMONG_NEW, KNOWN, NEW, Trial
from benchmarks.quality.sizes import SIZES
from benchmarks.report import markdown_table, report_header
from ubm_embed.errors import NotFound


def main(arguments: Sequence[str] | None = None) -> None:
    """Run it, write the report, print the table."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if not 0 < options.share < 1:
        parser.error(f"argument --share: expected a number between 0 and 1, got {options.share:g}")
    print(table(load_or_measure(options, measure)))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="a corpus folder as docs/data.md describes it; else a sample shop")
    parser.add_argument("--show", type=Path, metavar="FILE", help="only print the table of a kept report")
    parser.add_argument("--out", type=Path, help="where to write the report; default: results/cold_start_NAME.json")
    parser.add_argument("--share", type=float, default=0.2, help="of the products that are new")
    parser.add_argument("--size", choices=list(SIZES), default="small")
    parser.add_argument("--rows", nargs="+", metavar="NAME", help="only these, by the names in the table")
    parser.add_argument("--finetuning-steps", type=int, metavar="N", help="at most; 0 leaves fine-tuning out")
    parser.add_argument("--bert", metavar="DIR_OR_NAME", help="a pre-trained text encoder, for a row of its own")
    parser.add_argument("--holdout", type=float, default=0.2, help="share of the sessions to choose and judge by")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cpu")
    return parser


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Keep products out, train, ask; returns the report.

    Raises:
        UbmError: the corpus cannot be read, split so or asked this.
    """
    name = options.data.name if options.data else "sample_shop"
    kept = ("share", "size", "finetuning_steps", "holdout", "seed", "device")
    settings = {"data": name, **{key: getattr(options, key) for key in kept}}
    report = report_header(f"cold_start_{name}", settings, packages=("scikit-learn",))
    with tempfile.TemporaryDirectory() as folder:
        trial = Trial.of(options, Path(folder))
        rows = trial.scorers(options.bert, options.finetuning_steps)
        wanted = _wanted(options.rows, rows)
        report |= trial.counts()
        report["rows"] = [trial.made_row(name, rows[name]) for name in wanted]
    return report


def _wanted(asked: Sequence[str] | None, rows: Collection[str]) -> list[str]:
    if unknown := sorted(set(asked or ()) - set(rows)):
        raise NotFound(f"no row {', '.join(unknown)}; there is: {'; '.join(rows)}")
    return [name for name in rows if asked is None or name in asked]


def table(report: Mapping[str, Any]) -> str:
    """The report's figures for benchmarks/README.md."""
    products, questions, training = report["products"], report["questions"], report["training"]
    columns = (NEW, KNOWN, AMONG_NEW)
    lines = [(row["row"], *(_cell(row["metrics"][what]["hit@10"]) for what in columns)) for row in report["rows"]]
    everything = products[NEW] + products[KNOWN]
    chance = [10 / everything, 10 / everything, min(1.0, 10 / products[NEW])]
    lines.insert(0, ("chance", *(f"{value:.3f}" for value in chance)))
    about = (
        f"{report['settings']['data']}: {products[NEW]:,} of {everything:,} products are new; {training['sessions']:,} "
        f"sessions to train on, {training['with_new_products']} interactions in them with new products; "
        f"{questions[NEW]:,} questions about new products, {questions[KNOWN]:,} about known ones"
    )
    return f"{about}\n\n{markdown_table(('hit@10', *columns), lines)}"


def _cell(metric: Mapping[str, float]) -> str:
    return f"{metric['value']:.3f} [{metric['low']:.3f}, {metric['high']:.3f}]"


if __name__ == "__main__":
    main()
