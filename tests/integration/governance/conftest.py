from tests.factories.shared_hospital import own

__all__ = ["own"]
