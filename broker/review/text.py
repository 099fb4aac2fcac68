"""The review as a page for the terminal, in Chinese or English. Plain text: the same document gives the same bytes."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from broker.policy import service as policy
from broker.review.figures import COLUMNS
from broker.review.rules import SMALLEST

LANGUAGES = ("zh", "en")

#: Every word of the page: English and Chinese.
WORDS: dict[str, tuple[str, str]] = {
    "title": ("Quarterly review of data sharing", "数据共享季度审计"),
    "days": ("from {since} up to, not including, {until} (UTC)", "自 {since} 起，至 {until} 前（UTC）"),
    "figure": ("Figure", "指标"),
    "value": ("Value", "数值"),
    "small_note": (
        f"Numbers below {SMALLEST} are not shown in breakdowns, nor others from which they could be worked out (–).",
        f"分组统计中小于 {SMALLEST} 的数字，以及可据以推算的数字，均不显示（–）。",
    ),
    "applications": ("Applications", "共享申请"),
    "applications.submitted": ("Applications submitted", "提交的申请"),
    "applications.by_state": ("… now {key}", "…其中{key}"),
    "applications.decided": ("Decisions", "已作决定"),
    "applications.approved": ("… approved", "…批准"),
    "applications.narrowed": ("… of these narrowed", "…其中缩小范围后批准"),
    "applications.refused": ("… refused", "…拒绝"),
    "applications.median_hours_to_decision": ("Median time to decision, hours", "决定所需时间中位数（小时）"),
    "applications.refused_by_reason": ("Refused because: {key}", "拒绝原因：{key}"),
    "applications.returned_by_reason": ("Returned because: {key}", "退回原因：{key}"),
    "assessment.compared": ("Decisions with a machine assessment", "有预审结果的决定"),
    "assessment.agreed": ("… that agreed with it", "…与预审一致"),
    "assessment.agreement": ("Agreement with the assessment", "与预审一致率"),
    "releases.by_outcome": ("Releases: {key}", "信息传输：{key}"),
    "releases.unexplained": ("Releases of unknown outcome, counted as disclosed", "结果不明的传输（按已披露计）"),
    "releases.resources_sent": ("Resources sent", "发送的资源"),
    "releases.resources_held_back": ("Resources held back", "未发送的资源"),
    "releases.minimisation": ("Sent, of those asked for", "发送占所请求的比例"),
    "releases.refused": ("Requests refused (by reason)", "被拒的数据请求（按原因计）"),
    "releases.refused_by_reason": ("… {key}", "…{key}"),
    "emergency.applications": ("Emergency applications", "紧急申请"),
    "emergency.releases": ("Emergency releases", "紧急调阅"),
    "feedback.reports": ("Feedback reports", "使用反馈"),
    "feedback.used": ("… data were used", "…数据已使用"),
    "feedback.purpose_met": ("… purpose met: {key}", "…达到目的：{key}"),
    "feedback.examinations_avoided": ("Examinations avoided", "避免的重复检查"),
    "feedback.onward_disclosures": ("Onward disclosures reported", "报告的再次披露"),
    "feedback.deletions_done": ("Deletion confirmed", "已确认删除"),
    "feedback.data_problems": ("Problem with the data: {key}", "数据问题：{key}"),
    "feedback.overdue": ("Feedback overdue at the quarter's end", "季末逾期未交的反馈"),
    "incidents.reported": ("Incidents", "安全事件"),
    "incidents.by_kind": ("… {key}", "…{key}"),
    "incidents.by_severity": ("… of severity {key}", "…严重程度：{key}"),
    "incidents.closed": ("… closed", "…已结案"),
    "incidents.drills": ("Drills", "演练"),
    "incidents.patients": ("Patients affected by incidents", "事件涉及的患者"),
    "incidents.notices_late": ("Notices of incidents that were late", "逾期的事件通知"),
    "incidents.median_minutes_to_contain": ("Median minutes from report to containment", "从报告到遏制的中位分钟数"),
    "emergencies.opened": ("Break-glass accesses", "紧急调阅（无审批）"),
    "emergencies.justified": ("… found justified", "…经复核合理"),
    "emergencies.misuse": ("… found to be misuse", "…经复核属滥用"),
    "emergencies.unreviewed": ("… not reviewed", "…未复核"),
    "emergencies.became_incidents": ("… became incidents", "…转为安全事件"),
    "emergencies.contact_told": ("… of which the patient's contact was told", "…已告知患者联系人"),
    "violations.opened": ("Violation cases opened", "违规立案"),
    "violations.decided": ("… decided", "…已作出决定"),
    "violations.sanctions": ("… sanction: {key}", "…处理：{key}"),
    "violations.appeals": ("… appealed", "…申诉"),
    "obligations.obligations_due": ("Obligations due: {key}", "到期的附加义务：{key}"),
    "obligations.recalls": ("Recalls issued", "发出的召回"),
    "obligations.recall_notices": ("Recall answered: {key}", "召回答复：{key}"),
    "destruction.orders": ("Destruction orders carried out: {key}", "已执行的销毁令：{key}"),
    "destruction.patients": ("Patients whose keys were destroyed", "密钥已销毁的患者"),
    "destruction.waiting": ("Destruction orders waiting for a second person", "待第二人确认的销毁令"),
    "telemedicine.booked": ("Remote consultations booked", "预约的远程会诊"),
    "telemedicine.held": ("… held", "…已进行"),
    "telemedicine.missed": ("… missed", "…未进行"),
    "telemedicine.cancelled": ("… cancelled", "…已取消"),
    "telemedicine.with_records": ("… with records that came back", "…有会诊记录回传"),
    "telemedicine.with_prescription": ("… with a prescription", "…开具处方"),
    "telemedicine.followed_up": ("… followed up", "…已随访"),
    "telemedicine.follow_up_overdue": ("… whose follow-up is overdue", "…随访逾期"),
    "requests.received": ("Requests of patients (PIPL 44-50)", "患者权利请求（个人信息保护法第 44—50 条）"),
    "requests.by_kind": ("… asked for: {key}", "…类别：{key}"),
    "requests.answered": ("… answered", "…已答复"),
    "requests.late": ("… late", "…逾期"),
    "requests.refused": ("… refused", "…拒绝"),
    "requests.appealed": ("… appealed", "…申请复议"),
    "improvement.actions_opened": ("Corrective actions opened", "新增整改措施"),
    "improvement.actions_done": ("… done", "…已完成"),
    "improvement.actions_open": ("… open at the quarter's end", "…季末未完成"),
    "improvement.actions_overdue": ("… overdue at the quarter's end", "…季末逾期"),
    "improvement.adverse_events": ("Adverse events", "不良事件"),
    "improvement.adverse_events_analysed": ("… analysed", "…已分析"),
    "improvement.risks_open": ("Open risks", "未关闭的风险"),
    "improvement.risks_review_overdue": ("… whose review is overdue", "…复评逾期"),
    "concerns.raised": ("Suggestions and complaints", "建议与投诉"),
    "concerns.answered": ("… answered", "…已答复"),
    "concerns.answered_late": ("… of these late", "…其中逾期答复"),
    "concerns.late": ("… late without an answer", "…逾期未答复"),
    "assessment": ("Assessment by the machine", "机器预审"),
    "emergency": ("Emergencies", "紧急情形"),
    "feedback": ("Feedback on use", "使用反馈"),
    "department": ("By requesting department", "按申请科室"),
    "recipient": ("By recipient", "按接收方"),
    "purpose": ("By purpose of use", "按使用目的"),
    "data": ("By data asked for", "按申请的数据"),
    "approved": ("Approved", "批准"),
    "refused": ("Refused", "拒绝"),
    "releases": ("Releases", "信息传输"),
    "resources": ("Resources", "资源"),
}

#: Codes that appear as a line's key.
CODES: dict[str, tuple[str, str]] = {
    "submitted": ("submitted", "已提交"),
    "endorsed": ("endorsed", "已审签"),
    "approved": ("approved", "已批准"),
    "refused": ("refused", "已拒绝"),
    "returned": ("returned", "已退回"),
    "withdrawn": ("withdrawn", "已撤回"),
    "sent": ("sent", "已发送"),
    "partial": ("sent in part", "部分发送"),
    "unknown": ("outcome not known", "结果不明"),
    "failed": ("failed, nothing left", "失败，未发送"),
    "not-lawful": ("not lawful", "不合法"),
    "not-necessary": ("not necessary", "不必要"),
    "no-consent": ("no consent", "无知情同意"),
    "recipient": ("recipient", "接收方不当"),
    "incomplete": ("incomplete", "不完整"),
    "duplicate": ("duplicate", "重复"),
    "security": ("security", "安全原因"),
    "other": ("other", "其他"),
    "yes": ("yes", "是"),
    "partly": ("partly", "部分"),
    "no": ("no", "否"),
    "outdated": ("outdated", "过时"),
    "wrong-patient": ("wrong patient", "患者不符"),
    "inconsistent": ("inconsistent", "不一致"),
    "unreadable": ("unreadable", "无法读取"),
    "key-stolen": ("key stolen", "密钥失窃"),
    "unauthorised-access": ("unauthorised access", "未经授权的访问"),
    "wrong-recipient": ("wrong recipient", "误发"),
    "over-disclosure": ("over-disclosure", "超范围披露"),
    "check-failed": ("release stopped by the check", "放行前检查不符"),
    "loss": ("loss", "丢失"),
    "availability": ("availability", "不可用"),
    "emergency-unreviewed": ("emergency not reviewed", "紧急调阅未复核"),
    "policy-breach": ("breach of policy", "违反制度"),
    "low": ("low", "低"),
    "moderate": ("moderate", "中"),
    "high": ("high", "高"),
    "critical": ("critical", "特别严重"),
    "not-assessed": ("not assessed", "未评估"),
    "warning": ("warning", "警告"),
    "retraining": ("retraining", "重新培训"),
    "suspended": ("suspended", "停用"),
    "closed": ("closed", "终止"),
    "open": ("open", "未办"),
    "fulfilled": ("fulfilled", "已履行"),
    "kept": ("kept by law", "依法留存"),
    "waived": ("waived", "免除"),
    "deleted": ("deleted", "已删除"),
    "copy": ("copy", "复制"),
    "portability": ("transfer", "转移"),
    "correction": ("correction", "更正"),
    "restriction": ("restriction", "限制处理"),
    "deletion": ("deletion", "删除"),
    "explanation": ("explanation", "解释说明"),
    "corrected": ("corrected", "已更正"),
    "nothing-held": ("nothing held", "未持有"),
    "unanswered": ("not answered", "未答复"),
    "shred": ("keys of patients", "患者密钥"),
    "paper": ("paper", "纸质"),
    "media": ("media", "介质"),
    "too-much": ("more than needed", "超出需要"),
}

SHARES = ("assessment.agreement", "releases.minimisation")


def as_text(review: Mapping[str, Any], language: str) -> str:
    """The whole review as text, 100 columns wide."""

    def word(key: str) -> str:
        return WORDS[key][language == "zh"]

    out = io.StringIO()
    console = Console(file=out, width=100, color_system=None, force_terminal=False, legacy_windows=False, highlight=False, markup=False, emoji=False)
    console.print(f"{word('title')} {review['quarter']}")
    console.print(word("days").format(since=review["since"], until=review["until"]))
    table = Table(word("figure"), box=box.SIMPLE, pad_edge=False)
    table.add_column(word("value"), justify="right")
    for label, value in lines(review, language):
        table.add_row(label, value)
    console.print(table)
    for name, rows in review["breakdowns"].items():
        console.print(_breakdown(word(name), [word(column) for column in COLUMNS], rows, language))
    console.print(word("small_note"))
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines()) + "\n"


def lines(review: Mapping[str, Any], language: str) -> list[tuple[str, str]]:
    """Label and value of each figure, in the order of WORDS."""
    return [row for _, rows in sections(review, language) for row in rows]


@cache
def _reasons() -> Mapping[str, policy.Text]:
    return policy.reasons()


def called(code: str, language: str) -> str:
    """What a line's code is called: by the table, or, where it is a reason of policy's, by that reason's sentence."""
    if code in CODES:
        return CODES[code][language == "zh"]
    reason = _reasons().get(code)
    return code if reason is None else (reason.zh.rstrip("。") if language == "zh" else reason.en.rstrip("."))


def sections(review: Mapping[str, Any], language: str) -> list[tuple[str, list[tuple[str, str]]]]:
    """As :func:`lines`, by section."""
    chinese = language == "zh"
    found: dict[str, list[tuple[str, str]]] = {}
    for path, words in WORDS.items():
        section, dot, name = path.partition(".")
        if not dot or section not in review:  # A review that was kept from before has fewer sections.
            continue
        value = review[section][name]
        rows = found.setdefault(section, [])
        if isinstance(value, Mapping):
            rows += [(words[chinese].format(key=called(key, language)), str(count)) for key, count in value.items()]
        elif path in SHARES:
            rows.append((words[chinese], "–" if value is None else f"{value:.1%}"))
        else:
            rows.append((words[chinese], "–" if value is None else str(value)))
    return list(found.items())


def _breakdown(title: str, columns: Sequence[str], rows: Sequence[Mapping[str, Any]], language: str) -> Table:
    table = Table(title, box=box.SIMPLE, pad_edge=False)
    for column in columns:
        table.add_column(column, justify="right")
    for row in rows:
        cells = ("–" if row[name] is None else str(row[name]) for name in COLUMNS)
        table.add_row(row.get("name", {}).get(language, row["key"]), *cells)
    return table
