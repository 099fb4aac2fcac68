from tests.factories.shared_hospital import database, keys, means, own, patients, people, shared
from tests.integration.notifications.conftest import mail_server, web_server

__all__ = ["database", "keys", "mail_server", "means", "own", "patients", "people", "shared", "web_server"]
