"""What the registry does later or by itself, for any worker on any machine."""

from __future__ import annotations

from typing import Any

from broker import jobs
from broker.consent.subscriptions import tell_due


def background() -> list[jobs.Job]:
    """Subscribers are told of changes at once, and what didn't arrive is tried again every minute."""

    def tell(tools: jobs.Tools, payload: dict[str, Any]) -> None:
        del payload
        tell_due(tools.database, tools.keys, tools.settings)

    return [jobs.Job("consent.tell", tell), jobs.Job("consent.tell_again", tell, cron="* * * * *")]
