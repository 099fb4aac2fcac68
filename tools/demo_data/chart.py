"""One patient's chart: the verbs of a ward, each writing the FHIR R4 resources that a hospital system would write."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from tools.demo_data.staff import DOCTORS, doctor, name, organization
from tools.demo_data.terms import DICOM, HL7, LOCAL, TERMS, UCUM, coding, concept, hl7

RESIDENT_ID = "urn:oid:2.16.156.10011.1.3"  #: 身份证号, as Chinese shared documents name it.
MEDICAL_RECORD = f"{LOCAL}/sid/mrn"

#: Short forms in resource ids.
SHORT = {
    "Observation": "obs",
    "MedicationRequest": "rx",
    "DiagnosticReport": "rep",
    "Encounter": "enc",
    "Condition": "con",
    "ExplanationOfBenefit": "eob",
}

#: DICOM modality: its display and the storage class of its images.
MODALITIES = {
    "CT": ("Computed Tomography", "1.2.840.10008.5.1.4.1.1.2"),
    "DX": ("Digital Radiography", "1.2.840.10008.5.1.4.1.1.1.1"),
    "US": ("Ultrasound", "1.2.840.10008.5.1.4.1.1.6.1"),
}

#: Numbers are written as they were given: a laboratory's 7.10 does not become 7.1. See ``__main__``.
NUMBER = "\x00number:"


def number(text: str) -> str:
    """A JSON number with exactly these digits."""
    return NUMBER + text


def quantity(value: str, unit: str) -> dict[str, Any]:
    """A UCUM quantity whose number keeps its digits."""
    return {"value": number(value), "unit": unit, "system": UCUM, "code": unit}


def moment(day: str, at: str = "08:30") -> str:
    """A moment in the hospital's time zone."""
    return f"{day}T{at}:00+08:00"


def resident_number(born: str, sequence: int) -> str:
    """A resident number with the check digit of GB 11643-1999 and a region that does not exist."""
    digits = f"999999{born.replace('-', '')}{sequence:03}"
    weights = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
    return digits + "10X98765432"[sum(int(digit) * weight for digit, weight in zip(digits, weights, strict=True)) % 11]


@dataclass
class Chart:
    """The resources of one patient so far; ``identity`` is the FHIR id and opens the id of every resource."""

    identity: str
    resources: list[dict[str, Any]] = field(default_factory=list)
    _numbers: Counter[str] = field(default_factory=Counter)
    _coverage: dict[str, str] = field(default_factory=dict)

    @property
    def patient(self) -> dict[str, str]:
        """The reference to the patient."""
        return {"reference": f"Patient/{self.identity}"}

    def add(self, resource_type: str, **elements: Any) -> dict[str, str]:
        """Write a resource and give the reference to it. ``class_`` stands for ``class``; None leaves an element out."""
        self._numbers[resource_type] += 1
        identity = f"{self.identity}-{SHORT.get(resource_type, resource_type.lower())}-{self._numbers[resource_type]:03}"
        kept = {key.rstrip("_"): value for key, value in elements.items() if value is not None}
        self.resources.append({"resourceType": resource_type, "id": identity, **kept})
        return {"reference": f"{resource_type}/{identity}"}

    def person(self, family: str, given: str, gender: str, born: str, sequence: int, district: str) -> None:
        """The patient, and the basic medical insurance that covers them."""
        self.resources.append(
            {
                "resourceType": "Patient",
                "id": self.identity,
                "meta": {"tag": [coding(f"{HL7}/v3-ActReason", "HTEST", "test health data")]},
                "identifier": [
                    {
                        "use": "official",
                        "type": hl7("v2-0203", "NI", "National unique individual identifier"),
                        "system": RESIDENT_ID,
                        "value": resident_number(born, sequence),
                    },
                    {
                        "use": "usual",
                        "type": hl7("v2-0203", "MR", "Medical record number"),
                        "system": MEDICAL_RECORD,
                        "value": f"ZY{self.identity[1:]:0>8}",
                        "assigner": organization("renhe"),
                    },
                ],
                "active": True,
                "name": name(family, given),
                "telecom": [{"system": "phone", "value": f"199-0000-{self.identity[1:]}", "use": "mobile"}],
                "gender": gender,
                "birthDate": born,
                "address": [{"use": "home", "text": f"示例省示例市{district}", "city": "示例市", "state": "示例省", "country": "CN"}],
                "managingOrganization": organization("renhe"),
            }
        )
        self._coverage = self.add(
            "Coverage",
            status="active",
            type=hl7("v3-ActCode", "PUBLICPOL", "public healthcare"),
            subscriberId=f"YB{self.identity[1:]:0>10}",
            beneficiary=self.patient,
            period={"start": "2015-01-01"},
            payor=[organization("shili-medicare")],
        )

    def encounter(self, day: str, who: str, reason: str, *, kind: str = "AMB", until: str | None = None, **more: Any) -> dict[str, str]:
        """A visit (AMB), emergency (EMER) or stay (IMP) with a doctor, for a reason."""
        display = {"AMB": "ambulatory", "EMER": "emergency", "IMP": "inpatient encounter"}[kind]
        return self.add(
            "Encounter",
            status="finished",
            class_=coding(f"{HL7}/v3-ActCode", kind, display),
            subject=self.patient,
            participant=[{"individual": doctor(who)}],
            period={"start": moment(day), "end": moment(until or day, "11:00")},
            reasonCode=[concept(reason)],
            serviceProvider=organization(DOCTORS[who][2]),
            **more,
        )

    def condition(
        self, key: str, onset: str, who: str, encounter: dict[str, str] | None = None, *, status: str = "active", **more: Any
    ) -> dict[str, str]:
        """A diagnosis on the problem list."""
        return self.add(
            "Condition",
            clinicalStatus=hl7("condition-clinical", status, status.capitalize()),
            verificationStatus=hl7("condition-ver-status", "confirmed", "Confirmed"),
            category=[hl7("condition-category", "problem-list-item", "Problem List Item")],
            code=concept(key),
            subject=self.patient,
            encounter=encounter,
            onsetDateTime=onset,
            recordedDate=onset,
            recorder=doctor(who),
            **more,
        )

    def observation(self, category: str, key: str, day: str, encounter: dict[str, str] | None, at: str = "08:30", **value: Any) -> dict[str, str]:
        """A finding: ``laboratory``, ``vital-signs``, ``survey``, ``social-history`` or ``exam``."""
        words = {"laboratory": "Laboratory", "vital-signs": "Vital Signs", "survey": "Survey", "social-history": "Social History", "exam": "Exam"}
        return self.add(
            "Observation",
            status="final",
            category=[hl7("observation-category", category, words[category])],
            code=concept(key),
            subject=self.patient,
            encounter=encounter,
            effectiveDateTime=moment(day, at),
            issued=moment(day, "16:00") if category == "laboratory" else None,
            performer=[organization("renhe-laboratory")] if category == "laboratory" else None,
            **value,
        )

    def lab(
        self, key: str, day: str, value: str, unit: str, low: str | None, high: str | None, encounter: dict[str, str] | None = None
    ) -> dict[str, str]:
        """A laboratory result with its reference range and H or L where it lies outside."""
        flag = None
        if high is not None and float(value) > float(high):
            flag = [hl7("v3-ObservationInterpretation", "H", "High")]
        elif low is not None and float(value) < float(low):
            flag = [hl7("v3-ObservationInterpretation", "L", "Low")]
        limits = {side: quantity(limit, unit) for side, limit in (("low", low), ("high", high)) if limit is not None}
        return self.observation(
            "laboratory", key, day, encounter, valueQuantity=quantity(value, unit), interpretation=flag, referenceRange=[limits] if limits else None
        )

    def lab_finding(self, key: str, day: str, answer: str, encounter: dict[str, str] | None = None, **more: Any) -> dict[str, str]:
        """A laboratory result that is ``positive`` or ``negative``."""
        return self.observation("laboratory", key, day, encounter, valueCodeableConcept=concept(answer), **more)

    def vital(self, key: str, day: str, value: str, unit: str, encounter: dict[str, str] | None = None) -> dict[str, str]:
        """A vital sign."""
        return self.observation("vital-signs", key, day, encounter, valueQuantity=quantity(value, unit))

    def blood_pressure(self, day: str, systolic: int, diastolic: int, encounter: dict[str, str] | None = None, **more: Any) -> dict[str, str]:
        """A blood pressure with its two components."""
        parts = [
            {"code": concept(key), "valueQuantity": quantity(str(value), "mm[Hg]")}
            for key, value in (("systolic", systolic), ("diastolic", diastolic))
        ]
        return self.observation("vital-signs", "bp", day, encounter, component=parts, **more)

    def score(self, key: str, day: str, value: int, encounter: dict[str, str] | None = None, **more: Any) -> dict[str, str]:
        """The total of a questionnaire."""
        return self.observation("survey", key, day, encounter, valueInteger=value, **more)

    def report(self, key: str, day: str, who: str, section: tuple[str, str], encounter: dict[str, str] | None, **more: Any) -> dict[str, str]:
        """A diagnostic report; ``section`` is a code of HL7 table 0074 and its display."""
        return self.add(
            "DiagnosticReport",
            status="final",
            category=[hl7("v2-0074", *section)],
            code=concept(key),
            subject=self.patient,
            encounter=encounter,
            effectiveDateTime=moment(day, "09:30"),
            issued=moment(day, "15:30"),
            performer=[doctor(who)],
            **more,
        )

    def prescribe(
        self, key: str, day: str, who: str, dose: str, encounter: dict[str, str] | None = None, *, status: str = "active", **more: Any
    ) -> dict[str, str]:
        """A prescription. ``medicationReference`` in ``more`` replaces the coded medicine."""
        return self.add(
            "MedicationRequest",
            status=status,
            intent="order",
            medicationCodeableConcept=None if "medicationReference" in more else concept(key),
            subject=self.patient,
            encounter=encounter,
            authoredOn=moment(day, "10:00"),
            requester=doctor(who),
            dosageInstruction=[{"text": dose}],
            **more,
        )

    def bill(
        self, day: str, amount: str, paid: str, encounter: dict[str, str], diagnosis: str, items: list[tuple[str, str]], *, kind: str = "professional"
    ) -> None:
        """The claim of an encounter and what the insurance answered. Amounts in yuan; ``items`` are words and amounts."""

        def money(value: str) -> dict[str, Any]:
            return {"value": number(value), "currency": "CNY"}

        common = {
            "status": "active",
            "type": hl7("claim-type", kind, kind.capitalize()),
            "use": "claim",
            "patient": self.patient,
            "created": day,
            "insurer": organization("shili-medicare"),
            "provider": organization("renhe"),
        }
        system, code, display, words = TERMS[diagnosis]
        reason = [{"sequence": 1, "diagnosisCodeableConcept": {"coding": [coding(system, code, display)], "text": words}}]
        claim = self.add(
            "Claim",
            **common,
            priority=hl7("processpriority", "normal", "Normal"),
            diagnosis=reason,
            insurance=[{"sequence": 1, "focal": True, "coverage": self._coverage}],
            item=[
                {"sequence": place, "productOrService": {"text": what}, "net": money(net), **({"encounter": [encounter]} if place == 1 else {})}
                for place, (what, net) in enumerate(items, 1)
            ],
            total=money(amount),
        )
        self.add(
            "ExplanationOfBenefit",
            **common,
            claim=claim,
            outcome="complete",
            diagnosis=reason,
            insurance=[{"focal": True, "coverage": self._coverage}],
            total=[
                {"category": hl7("adjudication", "submitted", "Submitted Amount"), "amount": money(amount)},
                {"category": hl7("adjudication", "benefit", "Benefit Amount"), "amount": money(paid)},
            ],
        )

    def allergy(self, key: str, day: str, who: str, category: str, reaction: str, criticality: str = "low") -> dict[str, str]:
        """An allergy with the reaction that was seen."""
        return self.add(
            "AllergyIntolerance",
            clinicalStatus=hl7("allergyintolerance-clinical", "active", "Active"),
            verificationStatus=hl7("allergyintolerance-verification", "confirmed", "Confirmed"),
            type="allergy",
            category=[category],
            criticality=criticality,
            code=concept(key),
            patient=self.patient,
            recordedDate=day,
            recorder=doctor(who),
            reaction=[{"manifestation": [{"text": reaction}], "severity": "mild"}],
        )

    def vaccinate(self, key: str, day: str, lot: str, dose: int = 1) -> dict[str, str]:
        """A vaccination with its lot."""
        return self.add(
            "Immunization",
            status="completed",
            vaccineCode=concept(key),
            patient=self.patient,
            occurrenceDateTime=day,
            primarySource=True,
            lotNumber=lot,
            protocolApplied=[{"doseNumberPositiveInt": dose}],
        )

    def imaging(self, key: str, day: str, modality: str, uid: str, site: str, encounter: dict[str, str], conclusion: str) -> dict[str, str]:
        """An imaging study with one series, and the report that reads it."""
        words, storage = MODALITIES[modality]
        device = coding(DICOM, modality, words)
        study = self.add(
            "ImagingStudy",
            identifier=[{"system": "urn:dicom:uid", "value": f"urn:oid:2.25.{uid}"}],
            status="available",
            modality=[device],
            subject=self.patient,
            encounter=encounter,
            started=moment(day, "09:00"),
            numberOfSeries=1,
            numberOfInstances=2,
            procedureCode=[concept(key)],
            series=[
                {
                    "uid": f"2.25.{uid}1",
                    "number": 1,
                    "modality": device,
                    "numberOfInstances": 2,
                    "bodySite": concept(site)["coding"][0],
                    "instance": [
                        {"uid": f"2.25.{uid}1{place}", "number": place, "sopClass": {"system": "urn:ietf:rfc:3986", "code": f"urn:oid:{storage}"}}
                        for place in (1, 2)
                    ],
                }
            ],
        )
        return self.report(key, day, "dr-bai", ("RAD", "Radiology"), encounter, imagingStudy=[study], conclusion=conclusion)

    def procedure(self, key: str, start: str, who: str, encounter: dict[str, str], **more: Any) -> dict[str, str]:
        """Something that was done to the patient."""
        return self.add(
            "Procedure",
            status="completed",
            code=concept(key),
            subject=self.patient,
            encounter=encounter,
            performedPeriod={"start": moment(start, "09:00"), "end": moment(start, "11:30")},
            performer=[{"actor": doctor(who)}],
            **more,
        )

    def smoking(self, day: str, answer: str) -> None:
        """The smoking status."""
        self.observation("social-history", "tobacco", day, None, valueCodeableConcept=concept(answer))
