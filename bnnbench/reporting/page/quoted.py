"""Numbers from the literature beside a data set, whatever their protocol, which each names."""

from __future__ import annotations

from typing import Any

from bnnbench.reporting.literature import literature
from bnnbench.reporting.page.compact import number
from bnnbench.reporting.stored_splits import NOISE, published


def quoted(task: str) -> list[dict[str, Any]]:
    """Of one data set; `rules` are the split rules of ours that share the protocol, `ours` the nearest methods."""
    stored = [
        {
            "method": p.name,
            "metric": p.metric,
            "value": number(p.value),
            "se": number(p.se, 3),
            "who": p.source.short,
            "rules": [rule for rule, noise in NOISE.items() if noise == p.source.noise],
            "ours": list(p.source.ours),
            "note": f"{p.source.noise} noise, "
            + ("the stored splits" if p.source.stored else "random splits of its own"),
        }
        for p in published()
        if p.task == task
    ]
    others = [
        {
            "method": q.method,
            "metric": q.metric,
            "value": number(q.value),
            "se": None,
            "who": q.source,
            "rules": ["official"],
            "ours": [q.nearest] if q.nearest else [],
            "note": f"{q.locator}. {q.note}".strip(),
        }
        for q in literature(task)
    ]
    return stored + others
