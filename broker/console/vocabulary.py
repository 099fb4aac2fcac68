"""What FHIR's resource types, elements and labels are called by people who don't read FHIR."""

from __future__ import annotations

from types import MappingProxyType

from broker.console.language import N_, said

TYPES = MappingProxyType(
    {
        "AllergyIntolerance": N_("Allergies"), "CarePlan": N_("Care plans"), "CareTeam": N_("Care teams"), "Claim": N_("Claims"),
        "Condition": N_("Diagnoses"), "Consent": N_("Consents"), "Coverage": N_("Insurance cover"), "Device": N_("Devices"),
        "DiagnosticReport": N_("Reports"), "DocumentReference": N_("Documents"), "Encounter": N_("Visits"),
        "ExplanationOfBenefit": N_("Settlements"), "FamilyMemberHistory": N_("Family history"), "Goal": N_("Goals"),
        "ImagingStudy": N_("Imaging studies"), "Immunization": N_("Immunisations"), "Location": N_("Places"), "Medication": N_("Medicines"),
        "MedicationAdministration": N_("Medicines given"), "MedicationDispense": N_("Medicines dispensed"),
        "MedicationRequest": N_("Prescriptions"), "MedicationStatement": N_("Medicines taken"), "Observation": N_("Observations and results"),
        "Organization": N_("Organisations"), "Patient": N_("Patient"), "Practitioner": N_("Practitioners"),
        "PractitionerRole": N_("Roles of practitioners"), "Procedure": N_("Procedures"), "QuestionnaireResponse": N_("Questionnaires"),
        "RelatedPerson": N_("Relatives"), "ServiceRequest": N_("Orders"), "Specimen": N_("Specimens"),
        "Composition": N_("Compositions"), "Provenance": N_("Provenance"), "Flag": N_("Alerts"), "Media": N_("Pictures and recordings"),
        "Account": N_("Accounts"), "ChargeItem": N_("Charges"), "Invoice": N_("Invoices"), "Appointment": N_("Appointments"),
        "Communication": N_("Messages"), "NutritionOrder": N_("Diet orders"), "RiskAssessment": N_("Risk assessments"),
    }
)  # fmt: skip

ELEMENTS = MappingProxyType(
    {
        "id": N_("identifier of the entry"), "identifier": N_("business identifier"), "status": N_("status"), "code": N_("what it is (code)"),
        "subject": N_("patient"), "patient": N_("patient"), "beneficiary": N_("insured person"), "value": N_("value"), "effective": N_("time"),
        "issued": N_("time of issue"), "category": N_("category"), "component": N_("parts"), "interpretation": N_("interpretation"),
        "referenceRange": N_("reference range"), "performer": N_("carried out by"), "encounter": N_("visit"), "specimen": N_("specimen"),
        "bodySite": N_("body site"), "method": N_("method"), "note": N_("notes in free text"), "text": N_("narrative"), "name": N_("name"),
        "telecom": N_("telephone and mail"), "address": N_("address"), "gender": N_("sex"), "birthDate": N_("birth date"),
        "deceased": N_("deceased"), "contact": N_("contacts"), "photo": N_("photograph"), "maritalStatus": N_("marital status"),
        "communication": N_("languages"), "generalPractitioner": N_("family doctor"), "managingOrganization": N_("organisation"),
        "active": N_("in use"), "extension": N_("extensions"), "contained": N_("contained resources"), "meta": N_("administrative data"),
        "clinicalStatus": N_("clinical status"), "verificationStatus": N_("certainty"), "severity": N_("severity"), "onset": N_("onset"),
        "abatement": N_("end"), "recordedDate": N_("date of record"), "recorder": N_("recorded by"), "asserter": N_("stated by"),
        "stage": N_("stage"), "evidence": N_("evidence"), "class": N_("kind of visit"), "type": N_("kind"), "period": N_("period"),
        "participant": N_("people involved"), "reasonCode": N_("reason"), "reasonReference": N_("reason (reference)"), "diagnosis": N_("diagnosis"),
        "hospitalization": N_("admission and discharge"), "location": N_("place"), "serviceProvider": N_("organisation in charge"),
        "serviceType": N_("service"), "priority": N_("priority"), "partOf": N_("part of"), "basedOn": N_("order"), "result": N_("results"),
        "conclusion": N_("conclusion in free text"), "conclusionCode": N_("conclusion (code)"), "presentedForm": N_("document"),
        "imagingStudy": N_("imaging study"), "resultsInterpreter": N_("interpreted by"), "medication": N_("medicine"),
        "authoredOn": N_("date of order"), "requester": N_("ordered by"), "dosageInstruction": N_("dosage"), "dosage": N_("dosage"),
        "dispenseRequest": N_("supply"), "intent": N_("intent"), "dateAsserted": N_("date of statement"), "quantity": N_("quantity"),
        "daysSupply": N_("days of supply"), "whenHandedOver": N_("handed over"), "whenPrepared": N_("prepared"), "context": N_("visit"),
        "performed": N_("time"), "outcome": N_("outcome"), "created": N_("date"), "billablePeriod": N_("period billed"), "item": N_("items"),
        "total": N_("total"), "payment": N_("payment"), "insurance": N_("insurance"), "insurer": N_("insurer"), "provider": N_("provider"),
        "payor": N_("payer"), "subscriber": N_("policy holder"), "subscriberId": N_("insurance number"), "relationship": N_("relationship"),
        "order": N_("order"), "use": N_("use"), "collection": N_("collection"), "receivedTime": N_("received"), "condition": N_("condition"),
        "series": N_("series"), "modality": N_("modality"), "started": N_("time"), "numberOfSeries": N_("number of series"),
        "numberOfInstances": N_("number of images"), "description": N_("description in free text"), "procedureCode": N_("procedure (code)"),
        "vaccineCode": N_("vaccine"), "occurrence": N_("time"), "criticality": N_("criticality"), "reaction": N_("reactions"),
        "lastOccurrence": N_("last time"), "statusReason": N_("reason for the status"), "ingredient": N_("ingredients"), "form": N_("form"),
        "amount": N_("amount"), "batch": N_("batch"), "hasMember": N_("parts (reference)"), "derivedFrom": N_("derived from"),
        "dataAbsentReason": N_("why there is no value"), "qualification": N_("qualification"), "author": N_("author"), "content": N_("content"),
        "date": N_("date"), "questionnaire": N_("questionnaire"), "authored": N_("time"), "source": N_("source"), "requestor": N_("ordered by"),
        "activity": N_("activities"), "addresses": N_("what it is about"), "claim": N_("claim"), "device": N_("device"),
        "deviceName": N_("name of the device"), "end": N_("end"), "goal": N_("goals"), "lifecycleStatus": N_("state of the goal"),
        "lotNumber": N_("lot number"), "owner": N_("owner"), "payload": N_("message"), "primarySource": N_("reported first-hand"),
        "protocolApplied": N_("vaccination scheme"), "recipient": N_("recipient"), "sent": N_("time sent"), "serialNumber": N_("serial number"),
        "start": N_("begin"), "startDate": N_("begin"), "target": N_("target"), "title": N_("title"),
        "scope": N_("scope"), "dateTime": N_("time"), "organization": N_("organisation in charge"), "sourceReference": N_("proof"),
        "sourceAttachment": N_("proof"), "provision": N_("provisions"), "policyRule": N_("rule"), "policy": N_("rule"),
        "verification": N_("verification"),
    }
)  # fmt: skip

LABELS = MappingProxyType(
    {
        "HIV": N_("HIV and AIDS"), "PSY": N_("mental health"), "MH": N_("mental health"), "BH": N_("behavioural health"),
        "PSYTHPN": N_("psychotherapy notes"), "SUD": N_("substance use"), "ETH": N_("alcohol and drugs"), "ETHUD": N_("alcohol use"),
        "OPIOIDUD": N_("opioid use"), "SEX": N_("sexual and reproductive health"), "STD": N_("sexually transmitted diseases"),
        "GDIS": N_("genetics"), "SCA": N_("sickle cell"), "VIO": N_("violence"), "SDV": N_("abuse"),
        "R": N_("restricted"), "V": N_("very restricted"),
    }
)  # fmt: skip

OBLIGATIONS = MappingProxyType(
    {
        "CPLYCD": N_("Keep to the patient's consent"),
        "DEID": N_("Keep it without identities"),
        "DELAU": N_("Delete after use"),
        "ENCRYPT": N_("Keep it encrypted"),
        "NORDSCLCD": N_("Pass nothing on beyond the consent"),
        "NORELINK": N_("Do not link it back to a person"),
        "NOREUSE": N_("Use it for this purpose alone"),
        "PERSISTLABEL": N_("Keep the sensitivity labels with it"),
        "PSEUD": N_("Keep it under pseudonyms"),
    }
)


def kind(language: str, name: str) -> str:
    """What a resource type is called."""
    return said(language, TYPES.get(name, name))


def element(language: str, path: str) -> str:
    """What an element is called, by its first step; an unknown one as FHIR names it."""
    return said(language, ELEMENTS.get(path.partition(".")[0].removesuffix("[x]"), path))


def label(language: str, code: str) -> str:
    """What a security label stands for."""
    return said(language, LABELS.get(code, code))


def obligation(language: str, code: str) -> str:
    """What a recipient is bound to do."""
    return said(language, OBLIGATIONS.get(code, code))
