"""Three patients whose whole care is of a kind that law protects more: mental health, HIV, dependence."""

from __future__ import annotations

from tools.demo_data.chart import Chart, quantity
from tools.demo_data.staff import organization
from tools.demo_data.terms import HL7, coding, hl7


def liu(identity: str) -> Chart:
    """刘洋: depression and anxiety."""
    chart = Chart(identity)
    chart.person("刘", "洋", "male", "1989-12-05", 119, "科技园5栋")
    visits = (("2026-01-20", 19, 15), ("2026-03-03", 14, 11), ("2026-05-12", 9, 8), ("2026-08-18", 6, 5))
    for day, phq9, gad7 in visits:
        visit = chart.encounter(day, "dr-shen", "depression")
        if day == visits[0][0]:
            chart.condition("depression", day, "dr-shen", visit)
            chart.condition("anxiety", day, "dr-shen", visit)
            chart.prescribe("escitalopram", day, "dr-shen", "每次1片，每日1次，晨起口服", visit)
        chart.score("phq9", day, phq9, visit)
        chart.score("gad7", day, gad7, visit)
        chart.bill(day, "216.00", "129.60", visit, "depression", [("精神科诊查费", "60.00"), ("心理治疗", "156.00")])
    check = chart.encounter("2026-06-02", "dr-xu", "check-up")
    chart.blood_pressure("2026-06-02", 122, 78, check, note=[{"text": "服用艾司西酞普兰中"}])
    chart.lab("glucose", "2026-06-02", "5.10", "mmol/L", "3.9", "6.1", check)
    chart.lab("alt", "2026-06-02", "31", "U/L", "9", "50", check)
    return chart


def zhao(identity: str) -> Chart:
    """赵磊: HIV, treated and suppressed. The laboratory's own system already marks his results as very restricted."""
    chart = Chart(identity)
    chart.person("赵", "磊", "male", "1985-07-19", 233, "长安街道44号")
    very_restricted = {"security": [coding(f"{HL7}/v3-Confidentiality", "V", "very restricted")]}
    results = (("2024-05-14", "186000", "310"), ("2024-11-12", "240", "402"), ("2025-11-11", "20", "561"), ("2026-10-20", "20", "603"))
    for day, copies, cells in results:
        visit = chart.encounter(day, "dr-qin", "hiv")
        if day == results[0][0]:
            chart.lab_finding("hiv-screen", day, "positive", visit, meta=very_restricted)
            chart.condition("hiv", day, "dr-qin", visit)
            chart.prescribe("dolutegravir", day, "dr-qin", "每次1片，每日1次，口服", visit)
        chart.observation("laboratory", "hiv-rna", day, visit, valueQuantity=quantity(copies, "{copies}/mL"), meta=very_restricted)
        chart.lab("cd4", day, cells, "/uL", "500", "1600", visit)
        chart.lab("creatinine", day, "82", "umol/L", "57", "97", visit)
        chart.bill(day, "420.00", "420.00", visit, "hiv", [("病毒载量检测", "300.00"), ("淋巴细胞亚群", "120.00")])
    chart.vaccinate("hepatitis-b-vaccine", "2024-06-11", "HB24-310")
    dentist = chart.encounter(
        "2026-03-09",
        "dr-xu",
        "check-up",
        text={"status": "additional", "div": '<div xmlns="http://www.w3.org/1999/xhtml">患者自述 HIV 阳性，规律服药。</div>'},
    )
    chart.blood_pressure("2026-03-09", 118, 74, dentist)
    chart.lab("hemoglobin", "2026-03-09", "149", "g/L", "130", "175", dentist)
    return chart


def sun(identity: str) -> Chart:
    """孙强: dependence on alcohol, and what it did to his liver."""
    chart = Chart(identity)
    chart.person("孙", "强", "male", "1975-01-25", 377, "铁路新村12号")
    stay = chart.encounter("2026-04-01", "dr-shen", "alcohol-dependence", kind="IMP", until="2026-04-21")
    chart.condition("alcohol-dependence", "2026-04-01", "dr-shen", stay)
    chart.condition("alcoholic-liver", "2026-04-03", "dr-shen", stay)
    chart.prescribe("thiamine", "2026-04-01", "dr-shen", "每次2片，每日3次，口服", stay, status="completed")
    chart.prescribe("naltrexone", "2026-04-21", "dr-shen", "每次1片，每日1次，口服", stay)
    chart.bill("2026-04-21", "9860.00", "6902.00", stay, "alcohol-dependence", [("床位费", "1600.00"), ("治疗费", "8260.00")], kind="institutional")
    for day, total, ggt, alt in (("2026-04-01", 28, "412", "118"), ("2026-06-10", 9, "133", "64"), ("2026-09-09", 6, "71", "45")):
        visit = stay if day == "2026-04-01" else chart.encounter(day, "dr-shen", "alcohol-dependence")
        chart.score("audit", day, total, visit)
        chart.lab("ggt", day, ggt, "U/L", "10", "60", visit)
        chart.lab("alt", day, alt, "U/L", "9", "50", visit)
        chart.vital("weight", day, "72.5", "kg", visit)
    chart.add(
        "CareTeam",
        status="active",
        name="戒酒随访小组",
        subject=chart.patient,
        participant=[{"role": [hl7("practitioner-role", "doctor", "Doctor")], "member": organization("renhe-psychiatry")}],
    )
    return chart
