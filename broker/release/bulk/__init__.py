"""Bulk release (FHIR Bulk Data Access): asked for once, prepared by any number of workers, fetched file by file (docs/decisions).

``asked`` reads the request · ``orders`` takes, tells of and ends an export · ``writing`` prepares one patient at a time, as a job ·
``sending`` lets a file out, patient by patient, through the gate of every release · ``storage`` says where sealed bytes lie.
"""
