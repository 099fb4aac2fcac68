"""Everything that one process does to put the log in order: the sequencer, and beside it the witnesses."""

from __future__ import annotations

import threading

from broker.audit import witness_policy
from broker.audit.sequencer import Sequencer
from broker.audit.submission import Submitter
from broker.audit.witness_policy import NO_WITNESSES, PolicyUnreadable, WitnessPolicy
from broker.crypto import Keys
from broker.database import Database
from broker.settings import Settings


def policy_of(settings: Settings) -> WitnessPolicy:
    """The witness policy of the settings. Raises PolicyUnreadable; a log that should have witnesses never goes on without them by mistake."""
    path = settings.witness_policy
    if path is None:
        return NO_WITNESSES
    try:
        return witness_policy.parse(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise PolicyUnreadable(f"BROKER_WITNESS_POLICY: {path} can't be read") from error


class Sealing:
    """The sequencer and the submission to witnesses of one process, in two threads."""

    def __init__(self, log_database: Database, settings: Settings, keys: Keys) -> None:
        self._submitter = Submitter(log_database, policy_of(settings))
        self._sequencer = Sequencer(log_database, settings, keys, outside=self._submitter.check_not_behind)

    @property
    def trouble(self) -> str | None:
        """Why the log is not being sealed, as this process sees it; None while all is well or another process seals."""
        return self._sequencer.trouble

    @property
    def witness_trouble(self) -> dict[str, str]:
        """Witness → why it has not cosigned, as this process sees it."""
        return self._submitter.trouble

    def run(self, stop: threading.Event) -> None:
        """Work until ``stop`` is set."""
        asking = threading.Thread(target=self._submitter.run, args=(stop,), name="witnesses", daemon=True)
        asking.start()
        try:
            self._sequencer.run(stop)
        finally:
            asking.join(5)
