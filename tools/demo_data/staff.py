"""The hospital's management data: organisations, staff, places, devices. It belongs to no patient and stands in a bundle of its own."""

from __future__ import annotations

from typing import Any

from tools.demo_data.terms import DICOM, LOCAL, SNOMED, coding, hl7

#: id: (Chinese, English)
DEPARTMENTS = {
    "renhe-medical-affairs": ("医务部", "Medical Affairs Department"),
    "renhe-nursing": ("护理部", "Nursing Department"),
    "renhe-finance": ("财务部", "Finance Department"),
    "renhe-pharmacy": ("药剂部", "Pharmacy Department"),
    "renhe-laboratory": ("检验科", "Clinical Laboratory"),
    "renhe-imaging": ("影像科", "Imaging Department"),
    "renhe-cardiology": ("心内科", "Department of Cardiology"),
    "renhe-endocrinology": ("内分泌科", "Department of Endocrinology"),
    "renhe-psychiatry": ("精神心理科", "Department of Psychiatry and Psychology"),
    "renhe-paediatrics": ("儿科", "Department of Paediatrics"),
    "renhe-obstetrics": ("产科", "Department of Obstetrics"),
    "renhe-surgery": ("胃肠外科", "Department of Gastrointestinal Surgery"),
    "renhe-orthopaedics": ("骨科", "Department of Orthopaedics"),
    "renhe-infectious": ("感染科", "Department of Infectious Diseases"),
    "renhe-check-up": ("体检中心", "Health Check-up Centre"),
    "renhe-information": ("信息科", "Information Department"),
}

#: id: (family, given, department, SNOMED CT specialty, scope of the licence)
DOCTORS = {
    "dr-he": ("何", "文博", "renhe-cardiology", ("394579002", "Cardiology"), "心血管内科"),
    "dr-lin": ("林", "若溪", "renhe-endocrinology", ("394583002", "Endocrinology"), "内分泌科"),
    "dr-shen": ("沈", "静", "renhe-psychiatry", ("394587001", "Psychiatry"), "精神科"),
    "dr-fang": ("方", "晓梅", "renhe-paediatrics", ("394537008", "Pediatric specialty"), "儿科"),
    "dr-tang": ("唐", "雅", "renhe-obstetrics", ("408470005", "Obstetrics"), "产科"),
    "dr-guo": ("郭", "志远", "renhe-surgery", ("394609007", "General surgery"), "普外科"),
    "dr-ma": ("马", "骏", "renhe-orthopaedics", ("394801008", "Trauma and orthopedics"), "骨科"),
    "dr-qin": ("秦", "岚", "renhe-infectious", ("394807007", "Infectious diseases (specialty)"), "感染科"),
    "dr-xu": ("徐", "明", "renhe-check-up", ("419192003", "Internal medicine"), "内科"),
    "dr-bai": ("白", "洁", "renhe-imaging", ("394914008", "Radiology"), "放射科"),
    "dr-luo": ("罗", "成", "renhe-laboratory", ("394915009", "General pathology"), "病理科"),
}


def name(family: str, given: str) -> list[dict[str, Any]]:
    """A Chinese name: family name first in the text, and both parts apart."""
    return [{"use": "official", "text": family + given, "family": family, "given": [given]}]


def doctor(identity: str) -> dict[str, str]:
    """A reference to a doctor, with the name as systems like to show it."""
    family, given, *_ = DOCTORS[identity]
    return {"reference": f"Practitioner/{identity}", "display": f"{family}{given}"}


def organization(identity: str) -> dict[str, str]:
    """A reference to the hospital, one of its departments or an insurer."""
    names = {"renhe": "示例市仁和医院", "shili-medicare": "示例市医疗保障局", **{key: value[0] for key, value in DEPARTMENTS.items()}}
    return {"reference": f"Organization/{identity}", "display": names[identity]}


def _organization(identity: str, kind: tuple[str, str], chinese: str, english: str, parent: str | None) -> dict[str, Any]:
    return {
        "resourceType": "Organization",
        "id": identity,
        "identifier": [{"system": f"{LOCAL}/sid/organization", "value": identity}],
        "active": True,
        "type": [hl7("organization-type", *kind)],
        "name": chinese,
        "alias": [english],
        **({"partOf": organization(parent)} if parent else {}),
    }


def _device(identity: str, owner: str, code: tuple[str, str, str], words: str, model: str) -> dict[str, Any]:
    return {
        "resourceType": "Device",
        "id": identity,
        "identifier": [{"system": f"{LOCAL}/sid/asset", "value": f"ZC-{identity}"}],
        "status": "active",
        "manufacturer": "示例医疗设备公司",
        "deviceName": [{"name": words, "type": "user-friendly-name"}],
        "modelNumber": model,
        "type": {"coding": [coding(*code)], "text": words},
        "owner": organization(owner),
    }


def management() -> list[dict[str, Any]]:
    """Organisations, staff and their roles, rooms and the hospital's own devices."""
    resources = [
        _organization("renhe", ("prov", "Healthcare Provider"), "示例市仁和医院", "Renhe Hospital, Example City", None),
        _organization("shili-medicare", ("ins", "Insurance Company"), "示例市医疗保障局", "Example City Medical Insurance Bureau", None),
    ]
    resources += [_organization(key, ("dept", "Hospital Department"), zh, en, "renhe") for key, (zh, en) in DEPARTMENTS.items()]
    for number, (identity, (family, given, department, specialty, scope)) in enumerate(DOCTORS.items(), 1):
        resources.append(
            {
                "resourceType": "Practitioner",
                "id": identity,
                "identifier": [{"system": f"{LOCAL}/sid/staff", "value": f"G{number:04}"}],
                "active": True,
                "name": name(family, given),
                "qualification": [
                    {
                        "identifier": [{"system": f"{LOCAL}/sid/physician-licence", "value": f"999999-{number:06}"}],
                        "code": {"text": f"医师执业证书（{scope}）"},
                        "period": {"start": "2012-07-01"},
                        "issuer": {"display": "示例市卫生健康委员会"},
                    }
                ],
            }
        )
        resources.append(
            {
                "resourceType": "PractitionerRole",
                "id": f"{identity}-role",
                "active": True,
                "period": {"start": "2018-01-01"},
                "practitioner": doctor(identity),
                "organization": organization(department),
                "code": [hl7("practitioner-role", "doctor", "Doctor")],
                "specialty": [{"coding": [coding(SNOMED, *specialty)], "text": scope}],
            }
        )
    resources += [
        {
            "resourceType": "Location",
            "id": f"ward-{key}",
            "status": "active",
            "name": words,
            "mode": "instance",
            "managingOrganization": organization(owner),
        }
        for key, words, owner in (
            ("cardiology", "心内科三病区", "renhe-cardiology"),
            ("surgery", "胃肠外科病区", "renhe-surgery"),
            ("orthopaedics", "骨科病区", "renhe-orthopaedics"),
        )
    ]
    resources += [
        _device("ct-01", "renhe-imaging", (DICOM, "CT", "Computed Tomography"), "64排CT机", "SL-CT64"),
        _device("ecg-02", "renhe-cardiology", (SNOMED, "86184003", "Electrocardiographic monitor and recorder"), "心电图机", "SL-ECG12"),
    ]
    return resources
