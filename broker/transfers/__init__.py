"""The register of routes by which data may leave the mainland, for each recipient (PIPL 38 to 41)."""
