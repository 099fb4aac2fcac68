"""Eight more patients, each with one thing that a broker must think of: a child, a pregnancy, cancer, a fracture, a healthy woman."""

from __future__ import annotations

from tools.demo_data.chart import Chart, moment, quantity
from tools.demo_data.staff import doctor
from tools.demo_data.terms import concept, hl7


def chen(identity: str) -> Chart:
    """陈小雨, nine years old, asthma; his mother is his guardian."""
    chart = Chart(identity)
    chart.person("陈", "小雨", "male", "2017-06-01", 211, "阳光花园3号楼")
    chart.add(
        "RelatedPerson",
        active=True,
        patient=chart.patient,
        relationship=[hl7("v3-RoleCode", "MTH", "mother"), hl7("v3-RoleCode", "GUARD", "guardian")],
        name=[{"text": "刘慧", "family": "刘", "given": ["慧"]}],
        telecom=[{"system": "phone", "value": "199-0000-9002"}],
    )
    chart.vaccinate("hepatitis-b-vaccine", "2017-06-01", "HB17-001", 1)
    chart.vaccinate("hepatitis-b-vaccine", "2017-07-03", "HB17-044", 2)
    chart.vaccinate("mmr-vaccine", "2018-12-05", "MMR18-203")
    chart.vaccinate("varicella-vaccine", "2018-06-04", "VAR18-017")
    chart.vaccinate("flu-vaccine", "2026-10-12", "FLU26-190")
    chart.allergy("mite-allergy", "2022-03-11", "dr-fang", "environment", "打喷嚏、流涕")
    chart.condition("asthma", "2022-03-11", "dr-fang")
    chart.condition("rhinitis", "2022-03-11", "dr-fang")
    visits = (
        ("2025-04-08", "EMER", "1.12", "94", "25.5"),
        ("2025-10-14", "AMB", "1.38", "97", "26.4"),
        ("2026-04-20", "AMB", "1.52", "98", "28.0"),
        ("2026-10-12", "AMB", "1.61", "98", "29.3"),
    )
    for day, kind, volume, saturation, weight in visits:
        visit = chart.encounter(day, "dr-fang", "asthma", kind=kind)
        chart.vital("spo2", day, saturation, "%", visit)
        chart.vital("weight", day, weight, "kg", visit)
        chart.observation("exam", "fev1", day, visit, valueQuantity=quantity(volume, "L"))
        chart.bill(day, "142.00", "85.20", visit, "asthma", [("儿科诊查费", "30.00"), ("肺功能检查", "112.00")])
    chart.prescribe("budesonide", "2025-04-08", "dr-fang", "每次1吸，每日2次，吸入后漱口")
    chart.prescribe("salbutamol", "2025-04-08", "dr-fang", "喘息发作时1—2喷")
    return chart


def li(identity: str) -> Chart:
    """李娜, expecting her first child, with diabetes of pregnancy and the usual screening."""
    chart = Chart(identity)
    chart.person("李", "娜", "female", "1994-08-21", 344, "滨河路66号")
    chart.smoking("2026-05-11", "never-smoker")
    chart.condition("pregnancy", "2026-05-11", "dr-tang")
    chart.condition("gestational-diabetes", "2026-10-08", "dr-tang")
    for day, week, weight, systolic in (
        ("2026-05-11", 8, "54.2", 108),
        ("2026-07-06", 16, "56.9", 110),
        ("2026-09-07", 25, "60.4", 112),
        ("2026-10-08", 29, "62.0", 118),
    ):
        visit = chart.encounter(day, "dr-tang", "pregnancy")
        chart.blood_pressure(day, systolic, 70, visit)
        chart.vital("weight", day, weight, "kg", visit)
        chart.observation("exam", "gestation", day, visit, valueQuantity=quantity(str(week), "wk"))
        chart.bill(day, "310.00", "217.00", visit, "pregnancy", [("产前检查", "210.00"), ("检验费", "100.00")])
        if week == 8:
            chart.observation("exam", "due-date", day, visit, valueDateTime="2026-12-21")
            for key in ("hiv-screen", "rpr", "hbsag"):
                chart.lab_finding(key, day, "negative", visit)
            chart.lab("hemoglobin", day, "118", "g/L", "115", "150", visit)
            chart.prescribe("folic-acid", day, "dr-tang", "每次1片，每日1次，口服", visit)
        if week == 25:
            chart.imaging("obstetric-us", day, "US", "3105880031", "uterus", visit, "单活胎，胎儿各径线与孕周相符。")
        if week == 29:
            chart.lab("glucose", day, "5.60", "mmol/L", "3.9", "5.1", visit)
            chart.prescribe("insulin", day, "dr-tang", "餐前4单位，皮下注射", visit)
    return chart


def wang(identity: str) -> Chart:
    """王建国, cancer of the sigmoid colon: found, read, operated, treated."""
    chart = Chart(identity)
    chart.person("王", "建国", "male", "1962-11-30", 157, "工业大道120号")
    chart.smoking("2026-02-02", "ex-smoker")
    visit = chart.encounter("2026-02-02", "dr-guo", "sigmoid-cancer")
    chart.lab("hemoglobin", "2026-02-02", "104", "g/L", "130", "175", visit)
    chart.lab("cea", "2026-02-02", "18.60", "ng/mL", None, "5.0", visit)
    chart.procedure("colonoscopy", "2026-02-04", "dr-guo", visit)
    specimen = chart.add(
        "Specimen",
        status="available",
        type={"text": "结肠黏膜活检组织"},
        subject=chart.patient,
        receivedTime=moment("2026-02-04", "13:00"),
        collection={"collector": doctor("dr-guo"), "collectedDateTime": moment("2026-02-04", "10:20"), "bodySite": concept("sigmoid")},
    )
    chart.report("pathology", "2026-02-06", "dr-luo", ("SP", "Surgical Pathology"), visit, specimen=[specimen], conclusion="乙状结肠中分化腺癌。")
    cancer = chart.condition(
        "sigmoid-cancer", "2026-02-06", "dr-guo", visit, stage=[{"summary": {"text": "pT3N1M0 IIIB期"}}], bodySite=[concept("sigmoid")]
    )
    chart.imaging("chest-ct", "2026-02-09", "CT", "3105880041", "thorax", visit, "双肺未见转移。")
    chart.bill("2026-02-09", "3260.00", "2282.00", visit, "sigmoid-cancer", [("结肠镜检查", "860.00"), ("病理检查", "600.00"), ("CT检查", "1800.00")])
    stay = chart.encounter(
        "2026-02-24",
        "dr-guo",
        "sigmoid-cancer",
        kind="IMP",
        until="2026-03-06",
        location=[{"location": {"reference": "Location/ward-surgery", "display": "胃肠外科病区"}}],
    )
    chart.procedure("sigmoidectomy", "2026-02-26", "dr-guo", stay, reasonReference=[cancer], bodySite=[concept("sigmoid")])
    chart.prescribe("enoxaparin", "2026-02-26", "dr-guo", "每次0.4ml，每日1次，皮下注射", stay, status="completed")
    chart.bill(
        "2026-03-06",
        "48620.75",
        "34034.53",
        stay,
        "sigmoid-cancer",
        [("手术费", "18600.00"), ("麻醉费", "4200.75"), ("药品及材料费", "25820.00")],
        kind="institutional",
    )
    for cycle, (day, cea, leukocytes) in enumerate(
        (("2026-04-07", "6.20", "5.80"), ("2026-04-28", "4.10", "4.20"), ("2026-05-19", "3.20", "3.10"), ("2026-06-09", "2.80", "3.90")), 1
    ):
        session = chart.encounter(day, "dr-guo", "sigmoid-cancer")
        chart.lab("cea", day, cea, "ng/mL", None, "5.0", session)
        chart.lab("leukocytes", day, leukocytes, "10*9/L", "3.50", "9.50", session)
        chart.prescribe(
            "oxaliplatin", day, "dr-guo", f"第{cycle}周期：130mg/m2，静脉滴注，第1日", session, status="completed", reasonReference=[cancer]
        )
        chart.prescribe("capecitabine", day, "dr-guo", f"第{cycle}周期：1000mg/m2，每日2次，第1—14日", session, status="completed")
        chart.bill(day, "5240.00", "3668.00", session, "sigmoid-cancer", [("化疗药品", "4600.00"), ("护理费", "640.00")])
    return chart


def zhou(identity: str) -> Chart:
    """周桂兰, who fell: osteoporosis, broken hip, new joint."""
    chart = Chart(identity)
    chart.person("周", "桂兰", "female", "1941-02-08", 782, "槐树街15号")
    chart.condition("hypertension", "2005-06-01", "dr-he")
    chart.condition("osteoporosis", "2018-10-10", "dr-ma")
    arrival = chart.encounter("2026-07-30", "dr-ma", "femoral-fracture", kind="EMER")
    chart.blood_pressure("2026-07-30", 158, 88, arrival)
    chart.imaging("chest-xray", "2026-07-30", "DX", "3105880051", "thorax", arrival, "心肺膈未见明显异常。")
    stay = chart.encounter(
        "2026-07-30",
        "dr-ma",
        "femoral-fracture",
        kind="IMP",
        until="2026-08-12",
        location=[{"location": {"reference": "Location/ward-orthopaedics", "display": "骨科病区"}}],
    )
    fracture = chart.condition("femoral-fracture", "2026-07-30", "dr-ma", stay, bodySite=[concept("hip")])
    for day, hemoglobin, creatinine in (("2026-07-30", "112", "66"), ("2026-08-02", "91", "70"), ("2026-08-10", "103", "68")):
        chart.lab("hemoglobin", day, hemoglobin, "g/L", "115", "150", stay)
        chart.lab("creatinine", day, creatinine, "umol/L", "41", "81", stay)
        chart.vital("temperature", day, "36.8", "Cel", stay)
    chart.procedure("hip-replacement", "2026-08-01", "dr-ma", stay, reasonReference=[fracture], bodySite=[concept("hip")])
    chart.add(
        "Device",
        identifier=[{"system": "https://hospital.example/fhir/sid/implant", "value": "KGJ-88120"}],
        status="active",
        serialNumber="SN-204-7751",
        deviceName=[{"name": "全髋关节假体", "type": "user-friendly-name"}],
        patient=chart.patient,
    )
    chart.procedure("physiotherapy", "2026-08-08", "dr-ma", stay)
    chart.prescribe("enoxaparin", "2026-08-01", "dr-ma", "每次0.4ml，每日1次，皮下注射", stay, status="completed")
    chart.prescribe("alendronate", "2026-08-12", "dr-ma", "每周1片，晨起空腹，服后半小时内勿卧", stay)
    chart.bill(
        "2026-08-12",
        "52310.40",
        "39232.80",
        stay,
        "femoral-fracture",
        [("手术费", "9800.00"), ("人工关节", "28500.40"), ("住院费", "14010.00")],
        kind="institutional",
    )
    return chart


def wu(identity: str) -> Chart:
    """吴敏, healthy, at her yearly check-up."""
    chart = Chart(identity)
    chart.person("吴", "敏", "female", "1990-04-17", 906, "文化路9号")
    chart.smoking("2025-09-08", "never-smoker")
    for day, weight in (("2025-09-08", "55.0"), ("2026-09-14", "55.6")):
        visit = chart.encounter(day, "dr-xu", "check-up")
        chart.blood_pressure(day, 112, 72, visit)
        chart.vital("height", day, "163", "cm", visit)
        chart.vital("weight", day, weight, "kg", visit)
        chart.lab("glucose", day, "4.80", "mmol/L", "3.9", "6.1", visit)
        chart.lab("cholesterol", day, "4.10", "mmol/L", None, "5.2", visit)
        chart.lab("alt", day, "17", "U/L", "7", "40", visit)
        chart.lab("hemoglobin", day, "131", "g/L", "115", "150", visit)
        chart.imaging("chest-xray", day, "DX", f"31058800{day[2:4]}", "thorax", visit, "心肺未见异常。")
        chart.bill(day, "680.00", "0.00", visit, "check-up", [("健康体检套餐", "680.00")])
    chart.vaccinate("flu-vaccine", "2026-09-14", "FLU26-021")
    return chart
