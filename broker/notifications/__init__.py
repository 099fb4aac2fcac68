"""Telling people and systems what waits for them: an inbox of rows, and an outbox to mail and webhooks. Never with a patient's data."""
