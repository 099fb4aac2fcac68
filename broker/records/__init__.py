"""The hospital's resources: encrypted store, ingest, labelling, patient matching."""
