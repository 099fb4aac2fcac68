from tests.factories.shared_hospital import database, keys, means, own, patients, people, shared

__all__ = ["database", "keys", "means", "own", "patients", "people", "shared"]
