"""The codes that the demo's patients use, each with the display of its code system and the words staff would write."""

from __future__ import annotations

from typing import Any

LOINC = "http://loinc.org"
ICD10 = "http://hl7.org/fhir/sid/icd-10"
ATC = "http://www.whocc.no/atc"
SNOMED = "http://snomed.info/sct"
DICOM = "http://dicom.nema.org/resources/ontology/DCM"
UCUM = "http://unitsofmeasure.org"
HL7 = "http://terminology.hl7.org/CodeSystem"
LOCAL = "https://hospital.example/fhir"

#: key: (system, code, display, Chinese words)
TERMS: dict[str, tuple[str, str, str, str]] = {
    # Laboratory
    "hba1c": (LOINC, "4548-4", "Hemoglobin A1c/Hemoglobin.total in Blood", "糖化血红蛋白"),
    "glucose": (LOINC, "14749-6", "Glucose [Moles/volume] in Serum or Plasma", "空腹血糖"),
    "creatinine": (LOINC, "14682-9", "Creatinine [Moles/volume] in Serum or Plasma", "血肌酐"),
    "cholesterol": (LOINC, "14647-2", "Cholesterol [Moles/volume] in Serum or Plasma", "总胆固醇"),
    "ldl": (LOINC, "22748-8", "Cholesterol in LDL [Moles/volume] in Serum or Plasma", "低密度脂蛋白胆固醇"),
    "hdl": (LOINC, "14646-4", "Cholesterol in HDL [Moles/volume] in Serum or Plasma", "高密度脂蛋白胆固醇"),
    "triglyceride": (LOINC, "14927-8", "Triglyceride [Moles/volume] in Serum or Plasma", "甘油三酯"),
    "lipids": (LOINC, "24331-1", "Lipid 1996 panel - Serum or Plasma", "血脂四项"),
    "cbc": (LOINC, "58410-2", "CBC panel - Blood by Automated count", "血常规"),
    "hemoglobin": (LOINC, "718-7", "Hemoglobin [Mass/volume] in Blood", "血红蛋白"),
    "leukocytes": (LOINC, "6690-2", "Leukocytes [#/volume] in Blood by Automated count", "白细胞计数"),
    "platelets": (LOINC, "777-3", "Platelets [#/volume] in Blood by Automated count", "血小板计数"),
    "alt": (LOINC, "1742-6", "Alanine aminotransferase [Enzymatic activity/volume] in Serum or Plasma", "丙氨酸氨基转移酶"),
    "ast": (LOINC, "1920-8", "Aspartate aminotransferase [Enzymatic activity/volume] in Serum or Plasma", "天门冬氨酸氨基转移酶"),
    "ggt": (LOINC, "2324-2", "Gamma glutamyl transferase [Enzymatic activity/volume] in Serum or Plasma", "γ-谷氨酰转移酶"),
    "cea": (LOINC, "2039-6", "Carcinoembryonic Ag [Mass/volume] in Serum or Plasma", "癌胚抗原"),
    "hiv-screen": (LOINC, "56888-1", "HIV 1+2 Ab+HIV1 p24 Ag [Presence] in Serum or Plasma by Immunoassay", "HIV抗原抗体联合检测"),
    "hiv-rna": (LOINC, "20447-9", "HIV 1 RNA [#/volume] (viral load) in Serum or Plasma by NAA with probe detection", "HIV-1病毒载量"),
    "cd4": (LOINC, "24467-3", "CD3+CD4+ (T4 helper) cells [#/volume] in Blood", "CD4+T淋巴细胞计数"),
    "hbsag": (LOINC, "5195-3", "Hepatitis B virus surface Ag [Presence] in Serum", "乙肝表面抗原"),
    "rpr": (LOINC, "20507-0", "Reagin Ab [Presence] in Serum by RPR", "梅毒快速血浆反应素试验"),
    # Vital signs, findings, scores
    "bp": (LOINC, "85354-9", "Blood pressure panel with all children optional", "血压"),
    "systolic": (LOINC, "8480-6", "Systolic blood pressure", "收缩压"),
    "diastolic": (LOINC, "8462-4", "Diastolic blood pressure", "舒张压"),
    "heart-rate": (LOINC, "8867-4", "Heart rate", "心率"),
    "weight": (LOINC, "29463-7", "Body weight", "体重"),
    "height": (LOINC, "8302-2", "Body height", "身高"),
    "bmi": (LOINC, "39156-5", "Body mass index (BMI) [Ratio]", "体重指数"),
    "temperature": (LOINC, "8310-5", "Body temperature", "体温"),
    "spo2": (LOINC, "59408-5", "Oxygen saturation in Arterial blood by Pulse oximetry", "血氧饱和度"),
    "tobacco": (LOINC, "72166-2", "Tobacco smoking status", "吸烟状况"),
    "fev1": (LOINC, "20150-9", "FEV1", "第1秒用力呼气容积"),
    "phq9": (LOINC, "44261-6", "Patient Health Questionnaire 9 item (PHQ-9) total score [Reported]", "PHQ-9总分"),
    "gad7": (LOINC, "70274-6", "Generalized anxiety disorder 7 item (GAD-7) total score [Reported.PHQ]", "GAD-7总分"),
    "audit": (LOINC, "75624-7", "Total score [AUDIT]", "AUDIT总分"),
    "gestation": (LOINC, "49051-6", "Gestational age in weeks", "孕周"),
    "due-date": (LOINC, "11778-8", "Delivery date Estimated", "预产期"),
    # Reports and documents
    "ecg": (LOINC, "11524-6", "EKG study", "心电图"),
    "echo": (LOINC, "34552-0", "2D echocardiogram panel", "超声心动图"),
    "chest-ct": (LOINC, "24627-2", "CT Chest", "胸部CT"),
    "chest-xray": (LOINC, "36643-5", "XR Chest 2 Views", "胸部X线正侧位"),
    "obstetric-us": (LOINC, "11525-3", "US Pelvis and Fetus for pregnancy", "产科超声"),
    "pathology": (LOINC, "11526-1", "Pathology study", "病理检查"),
    "discharge-summary": (LOINC, "18842-5", "Discharge summary", "出院小结"),
    # Diagnoses
    "hypertension": (ICD10, "I10", "Essential (primary) hypertension", "原发性高血压"),
    "diabetes": (ICD10, "E11.9", "Type 2 diabetes mellitus without complications", "2型糖尿病"),
    "hyperlipidaemia": (ICD10, "E78.5", "Hyperlipidaemia, unspecified", "高脂血症"),
    "depression": (ICD10, "F32.1", "Moderate depressive episode", "中度抑郁发作"),
    "anxiety": (ICD10, "F41.1", "Generalized anxiety disorder", "广泛性焦虑障碍"),
    "hiv": (ICD10, "B24", "Unspecified human immunodeficiency virus [HIV] disease", "人类免疫缺陷病毒[HIV]病"),
    "alcohol-dependence": (ICD10, "F10.2", "Mental and behavioural disorders due to use of alcohol: dependence syndrome", "酒精依赖综合征"),
    "alcoholic-liver": (ICD10, "K70.0", "Alcoholic fatty liver", "酒精性脂肪肝"),
    "asthma": (ICD10, "J45.0", "Predominantly allergic asthma", "变应性哮喘"),
    "rhinitis": (ICD10, "J30.4", "Allergic rhinitis, unspecified", "变应性鼻炎"),
    "pregnancy": (ICD10, "Z34.0", "Supervision of normal first pregnancy", "初次正常妊娠监督"),
    "gestational-diabetes": (ICD10, "O24.4", "Diabetes mellitus arising in pregnancy", "妊娠期糖尿病"),
    "sigmoid-cancer": (ICD10, "C18.7", "Malignant neoplasm: Sigmoid colon", "乙状结肠恶性肿瘤"),
    "femoral-fracture": (ICD10, "S72.0", "Fracture of neck of femur", "股骨颈骨折"),
    "osteoporosis": (ICD10, "M81.0", "Postmenopausal osteoporosis", "绝经后骨质疏松"),
    "check-up": (ICD10, "Z00.0", "General medical examination", "一般性医学检查"),
    "insomnia": (ICD10, "G47.0", "Disorders of initiating and maintaining sleep [insomnias]", "失眠"),
    # Medicines
    "metformin": (ATC, "A10BA02", "metformin", "盐酸二甲双胍缓释片 0.5g"),
    "dapagliflozin": (ATC, "A10BK01", "dapagliflozin", "达格列净片 10mg"),
    "amlodipine": (ATC, "C08CA01", "amlodipine", "苯磺酸氨氯地平片 5mg"),
    "valsartan": (ATC, "C09CA03", "valsartan", "缬沙坦胶囊 80mg"),
    "atorvastatin": (ATC, "C10AA05", "atorvastatin", "阿托伐他汀钙片 20mg"),
    "aspirin": (ATC, "B01AC06", "acetylsalicylic acid", "阿司匹林肠溶片 100mg"),
    "sertraline": (ATC, "N06AB06", "sertraline", "盐酸舍曲林片 50mg"),
    "escitalopram": (ATC, "N06AB10", "escitalopram", "草酸艾司西酞普兰片 10mg"),
    "dolutegravir": (ATC, "J05AR25", "lamivudine and dolutegravir", "拉米夫定多替拉韦片"),
    "naltrexone": (ATC, "N07BB04", "naltrexone", "盐酸纳曲酮片 50mg"),
    "thiamine": (ATC, "A11DA01", "thiamine (vit B1)", "维生素B1片 10mg"),
    "budesonide": (ATC, "R03BA02", "budesonide", "布地奈德粉吸入剂 100μg"),
    "salbutamol": (ATC, "R03AC02", "salbutamol", "硫酸沙丁胺醇吸入气雾剂 100μg"),
    "folic-acid": (ATC, "B03BB01", "folic acid", "叶酸片 0.4mg"),
    "insulin": (ATC, "A10AB05", "insulin aspart", "门冬胰岛素注射液"),
    "oxaliplatin": (ATC, "L01XA03", "oxaliplatin", "注射用奥沙利铂 50mg"),
    "capecitabine": (ATC, "L01BC06", "capecitabine", "卡培他滨片 0.5g"),
    "enoxaparin": (ATC, "B01AB05", "enoxaparin", "依诺肝素钠注射液 0.4ml"),
    "alendronate": (ATC, "M05BA04", "alendronic acid", "阿仑膦酸钠片 70mg"),
    "flu-vaccine": (ATC, "J07BB02", "influenza, inactivated, split virus or surface antigen", "流感病毒裂解疫苗"),
    "pneumo-vaccine": (ATC, "J07AL01", "pneumococcus, purified polysaccharides antigen", "23价肺炎球菌多糖疫苗"),
    "varicella-vaccine": (ATC, "J07BK01", "varicella, live attenuated", "水痘减毒活疫苗"),
    "hepatitis-b-vaccine": (ATC, "J07BC01", "hepatitis B, purified antigen", "重组乙型肝炎疫苗"),
    "mmr-vaccine": (ATC, "J07BD52", "measles, combinations with mumps and rubella, live attenuated", "麻腮风联合减毒活疫苗"),
    # Procedures, findings, places
    "colonoscopy": (SNOMED, "73761001", "Colonoscopy", "结肠镜检查"),
    "sigmoidectomy": (SNOMED, "84604002", "Sigmoid colectomy", "腹腔镜乙状结肠切除术"),
    "hip-replacement": (SNOMED, "52734007", "Total replacement of hip", "人工髋关节置换术"),
    "echo-procedure": (SNOMED, "433236007", "Transthoracic echocardiography", "经胸超声心动图"),
    "physiotherapy": (SNOMED, "91251008", "Physical therapy procedure", "康复治疗"),
    "penicillin-allergy": (SNOMED, "91936005", "Allergy to penicillin", "青霉素过敏"),
    "mite-allergy": (SNOMED, "232350006", "House dust mite allergy", "屋尘螨过敏"),
    "thorax": (SNOMED, "51185008", "Thoracic structure", "胸部"),
    "uterus": (SNOMED, "35039007", "Uterine structure", "子宫"),
    "hip": (SNOMED, "29836001", "Hip region structure", "髋部"),
    "sigmoid": (SNOMED, "60184004", "Sigmoid colon structure", "乙状结肠"),
    "never-smoker": (SNOMED, "266919005", "Never smoked tobacco", "从不吸烟"),
    "ex-smoker": (SNOMED, "8517006", "Ex-smoker", "已戒烟"),
    "negative": (SNOMED, "260385009", "Negative", "阴性"),
    "positive": (SNOMED, "10828004", "Positive", "阳性"),
    "diet": (SNOMED, "160670007", "Diabetic diet", "糖尿病饮食"),
    "exercise": (SNOMED, "229065009", "Exercise therapy", "运动疗法"),
}


def coding(system: str, code: str, display: str) -> dict[str, Any]:
    """One Coding."""
    return {"system": system, "code": code, "display": display}


def concept(key: str) -> dict[str, Any]:
    """The CodeableConcept of a term, with the Chinese words as its text."""
    system, code, display, words = TERMS[key]
    return {"coding": [coding(system, code, display)], "text": words}


def hl7(name: str, code: str, display: str) -> dict[str, Any]:
    """A CodeableConcept of one of HL7's own code systems."""
    return {"coding": [coding(f"{HL7}/{name}", code, display)]}
