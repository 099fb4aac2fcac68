"""Classes of age (PIPL 28, 31): the youngest that a date allows, and unknown where it allows none."""

from datetime import date

import pytest

from broker.fhir.ages import age_class

TODAY = date(2026, 11, 23)


@pytest.mark.parametrize(
    ("born", "age"),
    [
        ("2026-11-23", "under_14"), ("2012-11-24", "under_14"), ("2012-11-23", "14_to_17"), ("2008-11-24", "14_to_17"), ("2008-11-23", "adult"),
        ("2012", "under_14"), ("2011", "14_to_17"), ("2012-11", "under_14"), ("2030-01-01", "under_14"), ("1901-02-03", "adult"),
        (None, "unknown"), ("", "unknown"), ("soon", "unknown"), (2012, "unknown"), ({}, "unknown"),
    ],
)  # fmt: skip
def test_class_of_age(born, age):
    assert age_class(born, TODAY) == age
