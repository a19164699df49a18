"""From a trained posterior to records: test sets, scores, figure data, attacks, pruning."""
