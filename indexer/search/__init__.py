"""From sessions and products to matches: candidates, ranking, rules, reasons and answers."""
