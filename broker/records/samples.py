"""Invented resources, made from templates: what the zstd dictionary is trained on (``dictionary``). No patient's, ever."""

from __future__ import annotations

import json
import random
import uuid
from collections.abc import Callable, Iterator
from typing import Any

_TERM = "http://terminology.hl7.org/CodeSystem/"
_LOINC, _SNOMED, _RXNORM, _UCUM = (
    "http://loinc.org",
    "http://snomed.info/sct",
    "http://www.nlm.nih.gov/research/umls/rxnorm",
    "http://unitsofmeasure.org",
)
_ICD10 = "http://hl7.org/fhir/sid/icd-10"

_MEASURES = [
    ("8302-2", "Body Height", "cm", "vital-signs"),
    ("29463-7", "Body Weight", "kg", "vital-signs"),
    ("39156-5", "Body Mass Index", "kg/m2", "vital-signs"),
    ("8310-5", "Body temperature", "Cel", "vital-signs"),
    ("8867-4", "Heart rate", "/min", "vital-signs"),
    ("9279-1", "Respiratory rate", "/min", "vital-signs"),
    ("2339-0", "Glucose [Mass/volume] in Blood", "mg/dL", "laboratory"),
    ("4548-4", "Hemoglobin A1c/Hemoglobin.total in Blood", "%", "laboratory"),
    ("718-7", "Hemoglobin [Mass/volume] in Blood", "g/dL", "laboratory"),
    ("6690-2", "Leukocytes [#/volume] in Blood by Automated count", "10*3/uL", "laboratory"),
    ("2160-0", "Creatinine [Mass/volume] in Serum or Plasma", "mg/dL", "laboratory"),
    ("2093-3", "Cholesterol [Mass/volume] in Serum or Plasma", "mg/dL", "laboratory"),
    ("2571-8", "Triglyceride [Mass/volume] in Serum or Plasma", "mg/dL", "laboratory"),
    ("777-3", "Platelets [#/volume] in Blood by Automated count", "10*3/uL", "laboratory"),
    ("2951-2", "钠 [摩尔/体积] 血清或血浆", "mmol/L", "laboratory"),
    ("2823-3", "钾 [摩尔/体积] 血清或血浆", "mmol/L", "laboratory"),
    ("14771-0", "空腹血糖", "mmol/L", "laboratory"),
]
_FINDINGS = [
    (_SNOMED, "38341003", "Hypertensive disorder, systemic arterial (disorder)"),
    (_SNOMED, "44054006", "Diabetes mellitus type 2 (disorder)"),
    (_SNOMED, "195662009", "Acute viral pharyngitis (disorder)"),
    (_SNOMED, "10509002", "Acute bronchitis (disorder)"),
    (_SNOMED, "444814009", "Viral sinusitis (disorder)"),
    (_ICD10, "I10.x00", "高血压病"),
    (_ICD10, "E11.900", "2型糖尿病"),
    (_ICD10, "J18.900", "肺炎"),
    (_ICD10, "I25.103", "冠状动脉粥样硬化性心脏病"),
    (_ICD10, "K29.500", "慢性胃炎"),
]
_DRUGS = [
    ("314076", "lisinopril 10 MG Oral Tablet"),
    ("860975", "24 HR metformin hydrochloride 500 MG Extended Release Oral Tablet"),
    ("313782", "Acetaminophen 325 MG Oral Tablet"),
    ("310965", "Ibuprofen 200 MG Oral Tablet"),
    ("308182", "Amoxicillin 250 MG Oral Capsule"),
    ("197361", "amlodipine 5 MG Oral Tablet"),
    ("312961", "Simvastatin 20 MG Oral Tablet"),
]
_VISITS = [
    ("185345009", "Encounter for symptom"),
    ("185349003", "Encounter for check up (procedure)"),
    ("50849002", "Emergency room admission (procedure)"),
]
_VACCINES = [
    ("140", "Influenza, seasonal, injectable, preservative free"),
    ("113", "Td (adult) preservative free"),
    ("133", "Pneumococcal conjugate PCV 13"),
]
_TEXTS = ["门诊复查", "病情平稳，继续目前治疗", "建议低盐低脂饮食，定期复查", "No acute distress.", "Follow up in three months."]


class Maker:
    """Makes up resources of invented people."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)  # noqa: S311 - nothing secret is made here

    def _id(self) -> str:
        return str(uuid.UUID(int=self.random.getrandbits(128), version=4))

    def _reference(self, kind: str, display: str = "") -> dict[str, Any]:
        return {"reference": f"{kind}/{self._id()}"} | ({"display": display} if display else {})

    def _when(self, *, time: bool = True) -> str:
        day = f"{self.random.randint(1990, 2026)}-{self.random.randint(1, 12):02}-{self.random.randint(1, 28):02}"
        if not time:
            return day
        zone = self.random.choice(["+08:00", "+08:00", "-05:00", "-04:00", "Z"])
        fraction = self.random.choice(["", "", f".{self.random.randint(0, 999):03}"])
        return f"{day}T{self.random.randint(0, 23):02}:{self.random.randint(0, 59):02}:{self.random.randint(0, 59):02}{fraction}{zone}"

    def _period(self) -> dict[str, Any]:
        return {"start": self._when(), "end": self._when()}

    def _coding(self, system: str, code: str, display: str = "") -> dict[str, Any]:
        return {"system": system, "code": code} | ({"display": display} if display else {})

    def _concept(self, system: str, code: str, display: str = "") -> dict[str, Any]:
        return {"coding": [self._coding(system, code, display)]} | ({"text": display} if display else {})

    def _base(self, kind: str) -> dict[str, Any]:
        base: dict[str, Any] = {"resourceType": kind, "id": self._id()}
        if self.random.random() < 0.4:
            base["meta"] = {"versionId": "1", "lastUpdated": self._when(), "profile": [f"http://hl7.org/fhir/StructureDefinition/{kind}"]}
        if self.random.random() < 0.3:
            base["identifier"] = [
                {"use": "official", "system": f"https://hospital.example/fhir/sid/{kind.lower()}", "value": str(self.random.randint(10**7, 10**9))}
            ]
        return base

    def _quantity(self, unit: str) -> dict[str, Any]:
        return {"value": round(self.random.uniform(1, 200), self.random.randint(0, 4)), "unit": unit, "system": _UCUM, "code": unit}

    def _money(self) -> dict[str, Any]:
        return {"value": round(self.random.uniform(5, 2000), 2), "currency": self.random.choice(["CNY", "USD"])}

    def _patient(self) -> dict[str, Any]:
        base = self._base("Patient")
        base["identifier"] = [
            {
                "use": "official",
                "type": self._concept(_TERM + "v2-0203", "NI", "National unique individual identifier"),
                "system": "urn:oid:2.16.156.10011.1.3",
                "value": "99999919",
            },
            {
                "use": "usual",
                "type": self._concept(_TERM + "v2-0203", "MR", "Medical Record Number"),
                "system": "https://hospital.example/fhir/sid/mrn",
                "value": self._id(),
            },
        ]
        return base | {
            "active": True,
            "name": [{"use": "official", "text": "某某", "family": "某", "given": ["某"]}],
            "telecom": [{"system": "phone", "value": "199-0000-0000", "use": "mobile"}, {"system": "email", "value": "nobody@hospital.example"}],
            "gender": self.random.choice(["male", "female"]),
            "birthDate": self._when(time=False),
            "address": [{"use": "home", "line": ["1 Example Street"], "city": "示例市", "state": "示例省", "postalCode": "000000", "country": "CN"}],
            "maritalStatus": self._concept(_TERM + "v3-MaritalStatus", "M", "Married"),
            "communication": [{"language": self._concept("urn:ietf:bcp:47", "zh-CN", "中文")}],
            "managingOrganization": self._reference("Organization"),
        }

    def _observation(self) -> dict[str, Any]:
        code, display, unit, category = self.random.choice(_MEASURES)
        body = self._base("Observation") | {
            "status": self.random.choice(["final", "final", "amended"]),
            "category": [{"coding": [self._coding(_TERM + "observation-category", category, category)]}],
            "code": self._concept(_LOINC, code, display),
            "subject": self._reference("Patient"),
            "encounter": self._reference("Encounter"),
            "effectiveDateTime": self._when(),
            "issued": self._when(),
        }
        if self.random.random() < 0.15:
            body["code"] = self._concept(_LOINC, "85354-9", "Blood pressure panel with all children optional")
            body["component"] = [
                {"code": self._concept(_LOINC, "8462-4", "Diastolic blood pressure"), "valueQuantity": self._quantity("mm[Hg]")},
                {"code": self._concept(_LOINC, "8480-6", "Systolic blood pressure"), "valueQuantity": self._quantity("mm[Hg]")},
            ]
            return body
        body["valueQuantity"] = self._quantity(unit)
        if category == "laboratory":
            body["performer"] = [self._reference("Practitioner"), self._reference("Organization", "检验科")]
            body["interpretation"] = [self._concept(_TERM + "v3-ObservationInterpretation", self.random.choice("HLN"), "Normal")]
            body["referenceRange"] = [{"low": self._quantity(unit), "high": self._quantity(unit), "text": "参考范围"}]
        return body

    def _condition(self) -> dict[str, Any]:
        return self._base("Condition") | {
            "clinicalStatus": {"coding": [self._coding(_TERM + "condition-clinical", self.random.choice(["active", "resolved"]))]},
            "verificationStatus": {"coding": [self._coding(_TERM + "condition-ver-status", "confirmed")]},
            "category": [{"coding": [self._coding(_TERM + "condition-category", "encounter-diagnosis", "Encounter Diagnosis")]}],
            "code": self._concept(*self.random.choice(_FINDINGS)),
            "subject": self._reference("Patient"),
            "encounter": self._reference("Encounter"),
            "onsetDateTime": self._when(),
            "abatementDateTime": self._when(),
            "recordedDate": self._when(),
            "note": [{"text": self.random.choice(_TEXTS)}],
        }

    def _encounter(self) -> dict[str, Any]:
        kind = self.random.choice([("AMB", "ambulatory"), ("EMER", "emergency"), ("IMP", "inpatient encounter")])
        return self._base("Encounter") | {
            "status": "finished",
            "class": self._coding(_TERM + "v3-ActCode", *kind),
            "type": [self._concept(_SNOMED, *self.random.choice(_VISITS))],
            "subject": self._reference("Patient", "某某"),
            "participant": [
                {
                    "type": [self._concept(_TERM + "v3-ParticipationType", "PPRF", "primary performer")],
                    "period": self._period(),
                    "individual": self._reference("Practitioner", "Dr. Example"),
                }
            ],
            "period": self._period(),
            "reasonCode": [self._concept(*self.random.choice(_FINDINGS))],
            "location": [{"location": self._reference("Location", "门诊楼")}],
            "serviceProvider": self._reference("Organization", "示例市仁和医院"),
        }

    def _procedure(self) -> dict[str, Any]:
        return self._base("Procedure") | {
            "status": "completed",
            "code": self._concept(_SNOMED, "430193006", "Medication Reconciliation (procedure)"),
            "subject": self._reference("Patient"),
            "encounter": self._reference("Encounter"),
            "performedPeriod": self._period(),
            "reasonReference": [self._reference("Condition", "Acute bronchitis (disorder)")],
            "performer": [{"actor": self._reference("Practitioner")}],
        }

    def _report(self) -> dict[str, Any]:
        return self._base("DiagnosticReport") | {
            "status": "final",
            "category": [{"coding": [self._coding(_TERM + "v2-0074", "LAB", "Laboratory")]}],
            "code": self._concept(_LOINC, "58410-2", "Complete blood count (hemogram) panel - Blood by Automated count"),
            "subject": self._reference("Patient"),
            "encounter": self._reference("Encounter"),
            "effectiveDateTime": self._when(),
            "issued": self._when(),
            "performer": [self._reference("Organization", "检验科")],
            "result": [self._reference("Observation", self.random.choice(_MEASURES)[1]) for _ in range(5)],
            "conclusion": self.random.choice(_TEXTS),
        }

    def _prescription(self) -> dict[str, Any]:
        return self._base("MedicationRequest") | {
            "status": self.random.choice(["active", "stopped", "completed"]),
            "intent": "order",
            "medicationCodeableConcept": self._concept(_RXNORM, *self.random.choice(_DRUGS)),
            "subject": self._reference("Patient"),
            "encounter": self._reference("Encounter"),
            "authoredOn": self._when(),
            "requester": self._reference("Practitioner", "Dr. Example"),
            "reasonReference": [self._reference("Condition")],
            "dosageInstruction": [
                {
                    "sequence": 1,
                    "text": "口服，每日一次，每次一片",
                    "timing": {"repeat": {"frequency": 1, "period": 1.0, "periodUnit": "d"}},
                    "asNeededBoolean": False,
                    "doseAndRate": [
                        {"type": {"coding": [self._coding(_TERM + "dose-rate-type", "ordered", "Ordered")]}, "doseQuantity": {"value": 1.0}}
                    ],
                }
            ],
        }

    def _immunization(self) -> dict[str, Any]:
        return self._base("Immunization") | {
            "status": "completed",
            "vaccineCode": self._concept("http://hl7.org/fhir/sid/cvx", *self.random.choice(_VACCINES)),
            "patient": self._reference("Patient"),
            "encounter": self._reference("Encounter"),
            "occurrenceDateTime": self._when(),
            "primarySource": True,
        }

    def _claim(self) -> dict[str, Any]:
        return self._base("Claim") | {
            "status": "active",
            "type": {"coding": [self._coding(_TERM + "claim-type", self.random.choice(["institutional", "pharmacy", "professional"]))]},
            "use": "claim",
            "patient": self._reference("Patient", "某某"),
            "billablePeriod": self._period(),
            "created": self._when(),
            "provider": self._reference("Organization", "示例市仁和医院"),
            "priority": {"coding": [self._coding(_TERM + "processpriority", "normal")]},
            "diagnosis": [{"sequence": 1, "diagnosisReference": self._reference("Condition")}],
            "insurance": [{"sequence": 1, "focal": True, "coverage": {"display": "城镇职工基本医疗保险"}}],
            "item": [
                {
                    "sequence": 1,
                    "productOrService": self._concept(_SNOMED, *self.random.choice(_VISITS)),
                    "encounter": [self._reference("Encounter")],
                },
                {"sequence": 2, "diagnosisSequence": [1], "productOrService": self._concept(*self.random.choice(_FINDINGS)), "net": self._money()},
            ],
            "total": self._money(),
        }

    def _benefit(self) -> dict[str, Any]:
        parts = ["coinsurance", "deductible", "submitted", "allowed", "benefit", "paidtoprovider", "paidtopatient"]
        claim = {name: value for name, value in self._claim().items() if name not in ("priority", "total")}
        claim["item"] = [
            item
            | {
                "category": self._concept("https://bluebutton.cms.gov/resources/variables/line_cms_type_srvc_cd", "1", "Medical care"),
                "servicedPeriod": self._period(),
                "locationCodeableConcept": {"coding": [self._coding(_TERM + "ex-serviceplace", "21", "Inpatient Hospital")]},
                "adjudication": [
                    {"category": {"coding": [self._coding(_TERM + "adjudication", part, part)]}, "amount": self._money()} for part in parts
                ],
            }
            for item in claim["item"]
        ]
        return claim | {
            "resourceType": "ExplanationOfBenefit",
            "contained": [
                {
                    "resourceType": "ServiceRequest",
                    "id": "referral",
                    "status": "completed",
                    "intent": "order",
                    "subject": self._reference("Patient"),
                    "requester": self._reference("Practitioner"),
                },
                {
                    "resourceType": "Coverage",
                    "id": "coverage",
                    "status": "active",
                    "type": {"text": "Medicare"},
                    "beneficiary": self._reference("Patient"),
                },
            ],
            "insurer": {"display": "示例市医疗保障局"},
            "referral": {"reference": "#referral"},
            "claim": self._reference("Claim"),
            "outcome": "complete",
            "careTeam": [
                {
                    "sequence": 1,
                    "provider": self._reference("Practitioner"),
                    "role": self._concept(_TERM + "claimcareteamrole", "primary", "Primary Care Practitioner"),
                }
            ],
            "insurance": [{"focal": True, "coverage": {"reference": "#coverage", "display": "Medicare"}}],
            "total": [{"category": self._concept(_TERM + "adjudication", "submitted", "Submitted Amount"), "amount": self._money()}],
            "payment": {"amount": self._money()},
        }

    def _plan(self) -> dict[str, Any]:
        return self._base("CarePlan") | {
            "status": "active",
            "intent": "order",
            "category": [self._concept(_SNOMED, "698360004", "Diabetes self management plan")],
            "subject": self._reference("Patient"),
            "encounter": self._reference("Encounter"),
            "period": {"start": self._when()},
            "addresses": [self._reference("Condition")],
            "activity": [
                {
                    "detail": {
                        "code": self._concept(_SNOMED, "160670007", "Diabetic diet"),
                        "status": "in-progress",
                        "location": {"display": "示例市仁和医院"},
                    }
                }
            ],
        }

    def _study(self) -> dict[str, Any]:
        return self._base("ImagingStudy") | {
            "status": "available",
            "subject": self._reference("Patient"),
            "started": self._when(),
            "numberOfSeries": 1,
            "numberOfInstances": 1,
            "series": [
                {
                    "uid": "1.2.840.99999999.1",
                    "number": 1,
                    "modality": self._coding("http://dicom.nema.org/resources/ontology/DCM", "DX", "Digital Radiography"),
                    "bodySite": self._coding(_SNOMED, "51185008", "Thoracic structure (body structure)"),
                    "instance": [
                        {
                            "uid": "1.2.840.99999999.1.1",
                            "sopClass": {"system": "urn:ietf:rfc:3986", "code": "1.2.840.10008.5.1.4.1.1.1.1"},
                            "number": 1,
                        }
                    ],
                }
            ],
        }

    def _practitioner(self) -> dict[str, Any]:
        return self._base("Practitioner") | {"active": True, "name": [{"family": "Example", "given": ["某"], "prefix": ["Dr."]}], "gender": "female"}

    def samples(self, count: int) -> Iterator[bytes]:
        """Resources as bytes, half of them compact, half as hospital systems often write them; more of what is common."""
        common: list[Callable[[], dict[str, Any]]] = [self._observation] * 8 + [
            self._condition,
            self._encounter,
            self._claim,
            self._benefit,
            self._procedure,
        ] * 2
        makers = [*common, self._report, self._prescription, self._immunization, self._plan, self._study, self._patient, self._practitioner]
        for _ in range(count):
            separators = self.random.choice([(",", ":"), (",", ":"), (", ", ": ")])
            yield json.dumps(self.random.choice(makers)(), ensure_ascii=False, separators=separators).encode()
