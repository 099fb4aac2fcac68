"""The patient of the story: hypertension and type 2 diabetes, well followed for three years; and a depression that she wants kept to herself.

Her depression is named where it belongs, and where a hospital's records name such things in passing: in notes, narratives,
displays, extensions, contained resources, a claim, and in the diagnoses of a cardiology visit. A release that holds mental
health back must hold back all of these.
"""

from __future__ import annotations

import base64
from typing import Any

from tools.demo_data.chart import Chart, moment, quantity
from tools.demo_data.staff import doctor, organization
from tools.demo_data.terms import HL7, LOCAL, SNOMED, TERMS, coding, concept, hl7

#: Visits each quarter: day, doctor, systolic, diastolic, weight, HbA1c, glucose, creatinine.
VISITS = (
    ("2023-12-11", "dr-he", 162, 98, "68.5", "8.40", "9.80", "71"),
    ("2024-03-05", "dr-lin", 154, 94, "67.8", "7.90", "8.70", "70"),
    ("2024-06-12", "dr-he", 146, 90, "67.0", "7.50", "8.10", "72"),
    ("2024-09-10", "dr-lin", 142, 88, "66.4", "7.20", "7.60", "73"),
    ("2024-12-17", "dr-he", 138, 86, "66.1", "7.00", "7.30", "72"),
    ("2025-03-18", "dr-lin", 144, 88, "64.0", "7.40", "8.20", "74"),
    ("2025-06-17", "dr-he", 138, 84, "63.2", "7.10", "7.50", "75"),
    ("2025-09-16", "dr-lin", 134, 82, "63.8", "6.90", "7.00", "74"),
    ("2025-12-16", "dr-he", 132, 80, "64.1", "6.80", "6.90", "76"),
    ("2026-03-17", "dr-lin", 130, 80, "64.0", "6.70", "6.80", "77"),
    ("2026-06-16", "dr-he", 134, 82, "64.3", "6.80", "7.10", "78"),
    ("2026-11-10", "dr-he", 148, 90, "64.6", "6.90", "13.20", "79"),
)
#: Lipids each half-year: total, LDL, HDL, triglyceride.
LIPIDS = {
    "2023-12-11": ("6.10", "3.90", "1.10", "2.40"),
    "2024-06-12": ("5.30", "3.10", "1.15", "2.00"),
    "2024-12-17": ("4.60", "2.50", "1.18", "1.80"),
    "2025-06-17": ("4.50", "2.40", "1.20", "1.70"),
    "2025-12-16": ("4.30", "2.20", "1.22", "1.60"),
    "2026-06-16": ("4.20", "2.10", "1.24", "1.50"),
}
#: Psychiatry: day, PHQ-9 total.
PSYCHIATRY = (("2025-03-25", 16), ("2025-05-06", 11), ("2025-09-23", 7), ("2026-04-14", 5))


def narrative(text: str) -> dict[str, str]:
    """A generated narrative."""
    return {"status": "generated", "div": f'<div xmlns="http://www.w3.org/1999/xhtml">{text}</div>'}


def zhang(identity: str) -> Chart:
    """张秀英, born 1958."""
    chart = Chart(identity)
    chart.person("张", "秀英", "female", "1958-03-12", 126, "和平里社区8号楼")
    chart.add(
        "RelatedPerson",
        active=True,
        patient=chart.patient,
        relationship=[hl7("v3-RoleCode", "DAU", "natural daughter")],
        name=[{"text": "张明月", "family": "张", "given": ["明月"]}],
        telecom=[{"system": "phone", "value": "199-0000-9001"}],
    )
    chart.smoking("2023-12-11", "never-smoker")
    chart.observation("vital-signs", "height", "2023-12-11", None, valueQuantity=quantity("158", "cm"))
    chart.allergy("penicillin-allergy", "2008-05-20", "dr-he", "medication", "皮疹", "high")
    for day, lot in (("2024-10-21", "FLU24-118"), ("2025-10-20", "FLU25-077"), ("2026-10-19", "FLU26-203")):
        chart.vaccinate("flu-vaccine", day, lot)
    chart.vaccinate("pneumo-vaccine", "2024-10-21", "PPV-4410")

    depression = _psychiatry(chart)
    hypertension, diabetes = _problems(chart)
    for visit in VISITS:
        _visit(chart, *visit, depression=depression)
    _medicines(chart)
    _last_winter(chart, hypertension)
    _care(chart, diabetes)
    return chart


def _problems(chart: Chart) -> tuple[dict[str, str], dict[str, str]]:
    hypertension = chart.condition(
        "hypertension",
        "2016-04-08",
        "dr-he",
        note=[{"text": "家族史阳性。合并抑郁症，目前服用舍曲林，注意药物相互作用。"}],
        extension=[{"url": f"{LOCAL}/StructureDefinition/triage-comment", "valueString": "分诊备注：既往抑郁发作，请安排安静诊室"}],
    )
    diabetes = chart.condition("diabetes", "2019-09-02", "dr-lin")
    chart.condition("hyperlipidaemia", "2019-09-02", "dr-lin")
    return hypertension, diabetes


def _visit(
    chart: Chart,
    day: str,
    who: str,
    systolic: int,
    diastolic: int,
    weight: str,
    hba1c: str,
    glucose: str,
    creatinine: str,
    *,
    depression: dict[str, str],
) -> None:
    reason = "hypertension" if who == "dr-he" else "diabetes"
    more: dict[str, Any] = {}
    if day == "2025-06-17":
        # A visit to cardiology whose record names the depression three times over.
        more = {
            "text": narrative("心内科复诊。患者自述情绪较前好转，<b>抑郁</b>症状减轻，继续服用舍曲林。"),
            "diagnosis": [
                {"condition": {**depression, "display": "中度抑郁发作"}, "use": hl7("diagnosis-role", "CM", "Comorbidity diagnosis"), "rank": 2},
            ],
        }
    encounter = chart.encounter(day, who, reason, **more)
    note = [{"text": "患者近两周情绪低落、早醒，PHQ-9 评分偏高，已建议精神心理科就诊。"}] if day == "2025-03-18" else None
    chart.blood_pressure(day, systolic, diastolic, encounter, note=note, device={"display": "电子血压计 诊室二"})
    chart.vital("heart-rate", day, str(62 + systolic % 17), "/min", encounter)
    chart.vital("weight", day, weight, "kg", encounter)
    chart.lab("hba1c", day, hba1c, "%", "4.0", "6.0", encounter)
    chart.lab("glucose", day, glucose, "mmol/L", "3.9", "6.1", encounter)
    chart.lab("creatinine", day, creatinine, "umol/L", "41", "81", encounter)
    if day in LIPIDS:
        keys = ("cholesterol", "ldl", "hdl", "triglyceride")
        limits = ((None, "5.2"), (None, "3.4"), ("1.0", None), (None, "1.7"))
        results = [chart.lab(key, day, value, "mmol/L", *limit, encounter) for key, value, limit in zip(keys, LIPIDS[day], limits, strict=True)]
        chart.report("lipids", day, "dr-luo", ("LAB", "Laboratory"), encounter, result=results)
    chart.bill(day, "268.50", "187.95", encounter, reason, [("门诊诊查费", "25.00"), ("检验费", "168.50"), ("西药费", "75.00")])


def _medicines(chart: Chart) -> None:
    chart.prescribe("amlodipine", "2023-12-11", "dr-he", "每次1片，每日1次，口服")
    chart.prescribe("valsartan", "2024-06-12", "dr-he", "每次1粒，每日1次，口服")
    chart.prescribe("atorvastatin", "2023-12-11", "dr-he", "每次1片，每晚1次，口服", note=[{"text": "与舍曲林合用，注意监测肝功能。"}])
    chart.prescribe("metformin", "2019-09-02", "dr-lin", "每次2片，每日2次，餐后口服")
    chart.prescribe("dapagliflozin", "2024-03-05", "dr-lin", "每次1片，每日1次，晨起口服")
    chart.prescribe("aspirin", "2023-12-11", "dr-he", "每次1片，每日1次，口服", status="stopped")


def _psychiatry(chart: Chart) -> dict[str, str]:
    """What she holds back. The first visit comes before the cardiology visit that names it."""
    first = PSYCHIATRY[0][0]
    encounter = chart.encounter(first, "dr-shen", "depression", serviceType={"coding": [coding(SNOMED, "394587001", "Psychiatry")], "text": "精神科"})
    depression = chart.condition("depression", first, "dr-shen", encounter)
    chart.condition("insomnia", first, "dr-shen", encounter, status="resolved", abatementDateTime="2025-09-23")
    for day, total in PSYCHIATRY:
        visit = encounter if day == first else chart.encounter(day, "dr-shen", "depression")
        answers = _phq9(chart, day, total)
        chart.score("phq9", day, total, visit, derivedFrom=[answers], interpretation=[{"text": "中度" if total > 9 else "轻度"}])
        chart.bill(day, "156.00", "98.00", visit, "depression", [("精神科诊查费", "60.00"), ("心理测量", "96.00")])
    # The medicine is contained, so that its code stands where a careless filter does not look.
    chart.prescribe(
        "sertraline",
        first,
        "dr-shen",
        "每次1片，每日1次，早餐后口服",
        encounter,
        contained=[{"resourceType": "Medication", "id": "med", "code": concept("sertraline")}],
        medicationReference={"reference": "#med", "display": TERMS["sertraline"][3]},
        reasonReference=[{**depression, "display": "中度抑郁发作"}],
    )
    chart.add(
        "CarePlan",
        status="active",
        intent="plan",
        category=[{"text": "心理治疗计划"}],
        title="抑郁症随访计划",
        subject=chart.patient,
        period={"start": first},
        author=doctor("dr-shen"),
        addresses=[depression],
        activity=[{"detail": {"status": "in-progress", "description": "认知行为治疗，每两周一次"}}],
    )
    return depression


def _phq9(chart: Chart, day: str, total: int) -> dict[str, str]:
    questions = (
        ("44250-9", "做事时提不起劲或没有兴趣"),
        ("44255-8", "感到心情低落、沮丧或绝望"),
        ("44259-0", "入睡困难、睡不安稳或睡眠过多"),
        ("44254-1", "感觉疲倦或没有活力"),
        ("44251-7", "食欲不振或吃太多"),
        ("44258-2", "觉得自己很糟，或觉得自己很失败"),
        ("44252-5", "对事物专注有困难"),
        ("44253-3", "动作或说话速度缓慢，或烦躁坐立不安"),
        ("44260-8", "有不如死掉或用某种方式伤害自己的念头"),
    )
    # Spread the total over the questions from the first on; the last one stays at none.
    answers = [min(3, max(0, total - 3 * place)) for place in range(len(questions))]
    return chart.add(
        "QuestionnaireResponse",
        questionnaire="http://loinc.org/q/44249-1",
        status="completed",
        subject=chart.patient,
        authored=moment(day, "08:10"),
        author=chart.patient,
        item=[
            {"linkId": f"/{code}", "text": words, "answer": [{"valueInteger": answer}]}
            for (code, words), answer in zip(questions, answers, strict=True)
        ],
    )


def _last_winter(chart: Chart, hypertension: dict[str, str]) -> None:
    """A stay in cardiology with its examinations, and the screening before a colonoscopy, HIV among it."""
    stay = chart.encounter(
        "2026-01-12",
        "dr-he",
        "hypertension",
        kind="IMP",
        until="2026-01-16",
        location=[{"location": {"reference": "Location/ward-cardiology", "display": "心内科三病区"}}],
        diagnosis=[{"condition": hypertension, "use": hl7("diagnosis-role", "AD", "Admission diagnosis"), "rank": 1}],
    )
    chart.report(
        "ecg",
        "2026-01-12",
        "dr-he",
        ("EC", "Electrocardiac (e.g., EKG,  EEC, Holter)"),
        stay,
        conclusion="窦性心律，正常心电图。服用舍曲林期间 QTc 418ms，正常。",
    )
    chart.procedure("echo-procedure", "2026-01-13", "dr-he", stay)
    chart.report("echo", "2026-01-13", "dr-he", ("CUS", "Cardiac Ultrasound"), stay, conclusion="左室壁轻度增厚，射血分数 62%。")
    chart.imaging("chest-ct", "2026-01-13", "CT", "3105880001", "thorax", stay, "双肺未见活动性病变。")
    cbc = [
        chart.lab("hemoglobin", "2026-01-12", "128", "g/L", "115", "150", stay),
        chart.lab("leukocytes", "2026-01-12", "6.40", "10*9/L", "3.50", "9.50", stay),
        chart.lab("platelets", "2026-01-12", "221", "10*9/L", "125", "350", stay),
    ]
    chart.report("cbc", "2026-01-12", "dr-luo", ("HM", "Hematology"), stay, result=cbc)
    chart.lab("alt", "2026-01-12", "22", "U/L", "7", "40", stay)
    chart.lab("ast", "2026-01-12", "19", "U/L", "13", "35", stay)
    summary = "出院小结：血压控制平稳。合并症：2型糖尿病、中度抑郁发作（舍曲林治疗中）。"
    chart.add(
        "DocumentReference",
        status="current",
        type=concept("discharge-summary"),
        subject=chart.patient,
        date=moment("2026-01-16", "10:00"),
        author=[doctor("dr-he")],
        description=summary,
        content=[
            {
                "attachment": {
                    "contentType": "text/plain;charset=utf-8",
                    "language": "zh-CN",
                    "data": base64.b64encode(summary.encode()).decode(),
                    "title": "出院小结",
                }
            }
        ],
        context={"encounter": [stay]},
    )
    chart.bill(
        "2026-01-16",
        "6842.30",
        "4789.61",
        stay,
        "hypertension",
        [("床位费", "360.00"), ("检查费", "2980.00"), ("西药费", "3502.30")],
        kind="institutional",
    )

    screening = chart.encounter("2026-05-19", "dr-guo", "check-up")
    chart.lab_finding("hiv-screen", "2026-05-19", "negative", screening)
    chart.lab_finding("hbsag", "2026-05-19", "negative", screening)
    chart.procedure("colonoscopy", "2026-05-20", "dr-guo", screening, note=[{"text": "所见结肠黏膜光滑。"}])


def _care(chart: Chart, diabetes: dict[str, str]) -> None:
    chart.add(
        "Device",
        status="active",
        identifier=[{"system": f"{LOCAL}/sid/device", "value": "XT-20231"}],
        deviceName=[{"name": "家用血糖仪", "type": "user-friendly-name"}],
        type={"text": "血糖仪"},
        patient=chart.patient,
        owner=organization("renhe-endocrinology"),
    )
    goal = chart.add(
        "Goal",
        lifecycleStatus="active",
        description={"text": "糖化血红蛋白低于 7.0%"},
        subject=chart.patient,
        startDate="2024-03-05",
        target=[{"measure": concept("hba1c"), "detailQuantity": quantity("7.0", "%"), "dueDate": "2026-12-31"}],
        addresses=[diabetes],
    )
    chart.add(
        "CarePlan",
        text=narrative("糖尿病管理计划：饮食、运动、自我监测。情绪方面由精神心理科随访（抑郁）。"),
        status="active",
        intent="plan",
        category=[{"coding": [coding(SNOMED, "698360004", "Diabetes self management plan")], "text": "糖尿病自我管理计划"}],
        subject=chart.patient,
        period={"start": "2024-03-05"},
        author=doctor("dr-lin"),
        addresses=[diabetes],
        goal=[goal],
        activity=[
            {"detail": {"status": "in-progress", "code": concept("diet")}},
            {"detail": {"status": "in-progress", "code": concept("exercise"), "description": "每日步行30分钟，有助于改善抑郁情绪"}},
        ],
    )
    chart.add(
        "FamilyMemberHistory",
        status="completed",
        patient=chart.patient,
        relationship=hl7("v3-RoleCode", "MTH", "mother"),
        condition=[{"code": concept("hypertension"), "note": [{"text": "母亲晚年亦有抑郁病史"}]}],
    )
    chart.add(
        "ServiceRequest",
        status="active",
        intent="order",
        category=[{"text": "转诊"}],
        code={"text": "心内科专科转诊"},
        subject=chart.patient,
        authoredOn=moment("2026-11-10", "10:30"),
        requester=doctor("dr-he"),
        performer=[{"display": "示例省立医院心内科"}],
        reasonCode=[concept("hypertension")],
        note=[{"text": "血压波动，请评估。患者同意转诊，但不愿提及精神科就诊情况。"}],
    )
    chart.add(
        "Appointment",
        status="booked",
        description="省立医院心内科门诊",
        start=moment("2026-11-30", "09:00"),
        end=moment("2026-11-30", "09:30"),
        participant=[{"actor": chart.patient, "status": "accepted"}],
    )
    # A note from the hospital's own scheduling system, marked by its source as restricted.
    chart.add(
        "Communication",
        meta={"security": [coding(f"{HL7}/v3-Confidentiality", "R", "restricted")]},
        status="completed",
        subject=chart.patient,
        sent=moment("2026-04-15", "09:00"),
        recipient=[chart.patient],
        payload=[{"contentString": "提醒：请按时到精神心理科复诊。"}],
    )
