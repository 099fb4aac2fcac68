"""The border to FHIR: reading, checking, reducing and writing R4 resources."""
