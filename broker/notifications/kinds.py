"""Everything that can be told, in both languages: one line for each kind, and no other words are ever sent.

A kind names its facts; they stand in the texts in braces. ``path`` leads to the page where the matter is dealt with.
"""

from __future__ import annotations

from dataclasses import dataclass
from string import Formatter


@dataclass(frozen=True)
class Kind:
    """What is said: a subject line and a sentence that says what to do."""

    subject_en: str
    subject_zh: str
    body_en: str
    body_zh: str
    path: str  #: below BROKER_BASE_URL

    @property
    def facts(self) -> frozenset[str]:
        """The names of the facts that the texts and the path speak of."""
        texts = (self.subject_en, self.subject_zh, self.body_en, self.body_zh, self.path)
        return frozenset(name for text in texts for _, name, _, _ in Formatter().parse(text) if name)


_APPLICATION = "/console/applications/{application}"

KINDS: dict[str, Kind] = {
    # -- consents --
    "consent.withdrawn": Kind(
        "A patient withdrew a consent", "患者已撤回知情同意",
        "A patient withdrew a consent under which you received data, {releases} times: stop using them, delete copies, acknowledge.",
        "患者已撤回一项知情同意，贵单位曾据此接收数据 {releases} 次。请停止使用、按约定删除副本并确认。", "/console/withdrawals?consent={consent}",
    ),
    # -- accounts --
    "account.password-set": Kind(
        "The password of {username} was set by {by}", "{by} 为 {username} 设定了密码",
        "{by} set a password for the account {username}; it must be changed at the next login. If nobody asked for that, tell the auditor at once.",
        "{by} 为账号 {username} 设定了密码，下次登录时须更改。如无人要求这样做，请立即告知审计员。", "/console/account/security",
    ),
    "account.password-link": Kind(
        "A link for a new password of {username} was made by {by}", "{by} 为 {username} 生成了设定密码的链接",
        "{by} made a link by which a new password is chosen for the account {username}. If nobody asked for it, tell the auditor at once.",
        "{by} 为账号 {username} 生成了设定新密码的链接。如无人要求这样做，请立即告知审计员。", "/console/account/security",
    ),
    "account.linked": Kind(
        "The account {username} was linked to the hospital login by {by}", "{by} 将 {username} 关联到医院统一登录",
        "{by} linked the account {username} to an identity of the hospital login, which opens it from now on. If it is not theirs, tell the auditor.",
        "{by} 将账号 {username} 关联到医院统一登录的一个身份，此后该身份可登录此账号。如非本人身份，请立即告知审计员。", "/console/account/security",
    ),
    "account.factors-asked": Kind(
        "{by} says that the second factors of {username} are lost", "{by} 称 {username} 的二次验证方式已遗失",
        "{by} says that the second factors of {username} are lost. Once a second person agrees they are gone. If they are not lost, say so now.",
        "{by} 称账号 {username} 的二次验证方式已遗失；再有一人同意即被解除。如并未遗失，请立即告知审计员。", "/console/account/security",
    ),
    "account.factors-reset": Kind(
        "The second factors of {username} were taken away", "{username} 的二次验证方式已解除",
        "Two people, the second {by}, took the second factors of {username} away. New ones are added at the next login.",
        "经两人确认（第二人为 {by}），账号 {username} 的二次验证方式已解除，下次登录时须重新登记。", "/console/account/security",
    ),
    # -- applications --
    "application.to-endorse": Kind(
        "{application} waits for your endorsement", "{application} 待您审签",
        "The application {application} was submitted. Please endorse, return or refuse it by {due}.",
        "共享申请 {application} 已提交，请于 {due} 前审签、退回或拒绝。", _APPLICATION,
    ),
    "application.to-decide": Kind(
        "{application} waits for your decision", "{application} 待您审批",
        "The application {application} was endorsed. Please review and decide by {due}.",
        "共享申请 {application} 已审签，请于 {due} 前审查并作出决定。", _APPLICATION,
    ),
    "application.overdue": Kind(
        "{application} is late", "{application} 已逾期",
        "The application {application} ({urgency}) waits at the step {step} since its deadline {due}. Please deal with it now.",
        "共享申请 {application}（{urgency}）在“{step}”环节已超过期限 {due}，请立即办理。", _APPLICATION,
    ),
    "application.approved": Kind(
        "{application} was approved", "{application} 已批准",
        "Your application {application} was approved. The grant is valid until {until}.",
        "您的共享申请 {application} 已批准，共享授权有效期至 {until}。", _APPLICATION,
    ),
    "application.returned": Kind(
        "{application} was returned to you", "{application} 已退回",
        "Your application {application} was returned. Read the reason, change it and submit it again.",
        "您的共享申请 {application} 已退回，请查看理由、修改后重新提交。", _APPLICATION,
    ),
    "application.refused": Kind(
        "{application} was refused", "{application} 已拒绝",
        "Your application {application} was refused. The reason stands with it.",
        "您的共享申请 {application} 已被拒绝，理由见申请页面。", _APPLICATION,
    ),
    # -- grants --
    "grant.ended": Kind(
        "The grant of {application} has ended", "{application} 的共享授权已终止",
        "The sharing grant of {application} is now: {state}. No more data are sent under it.",
        "{application} 的共享授权现为“{state}”，不再据此传输数据。", _APPLICATION,
    ),
    "grant.expiring": Kind(
        "The grant of {application} ends on {until}", "{application} 的共享授权将于 {until} 到期",
        "The sharing grant of {application} ends on {until}. If it is still needed, renew it before then.",
        "{application} 的共享授权将于 {until} 到期；如仍需要，请在此之前办理续期。", _APPLICATION,
    ),
    "terms.to-accept": Kind(
        "Terms of use are to be accepted", "请接受使用条款",
        "The terms of use {agreement}, version {version}, are to be accepted before data can be sent to your organisation.",
        "使用条款 {agreement} 第 {version} 版须先行接受，方可向贵机构传输数据。", "/console/terms",
    ),
    # -- workforce --
    "qualification.expiring": Kind(
        "A qualification ends on {until}", "资质将于 {until} 到期",
        "The qualification {number} ({kind}) ends on {until}. After that it no longer counts when applying, approving or receiving.",
        "资质 {number}（{kind}）将于 {until} 到期，此后在申请、审批和接收数据时均不再有效。", "/console/credentials",
    ),
    "training.expiring": Kind(
        "Training {course} ends on {until}", "培训 {course} 将于 {until} 到期",
        "The training {course} is valid until {until}. Please repeat it: without it nobody may apply or approve.",
        "培训 {course} 有效期至 {until}，请按时复训；未经培训不得申请或审批。", "/console/credentials",
    ),
    # -- feedback --
    "feedback.due": Kind(
        "Feedback on {application} is due on {due}", "{application} 的使用反馈应于 {due} 前提交",
        "Please report by {due} how the data of {application} were used.",
        "请于 {due} 前反馈 {application} 所得数据的使用情况。", _APPLICATION,
    ),
    "feedback.overdue": Kind(
        "Feedback on {application} is overdue", "{application} 的使用反馈已逾期",
        "Feedback on {application} was due on {due}. New applications are held back until it is given.",
        "{application} 的使用反馈应于 {due} 前提交，现已逾期；补交之前不能提交新的申请。", _APPLICATION,
    ),
    "concern.raised": Kind(
        "{number} was raised", "收到 {number}",
        "A {kind} was raised under {number}. Please answer it by {due}.",
        "收到编号 {number} 的{kind}，请于 {due} 前答复。", "/console/concerns/{number}",
    ),
    "concern.extended": Kind(
        "{number} is answered by {due}", "{number} 将于 {due} 前答复",
        "Several departments must agree on {number}. You are answered by {due}.",
        "{number} 须由多个科室共同研究，将于 {due} 前答复。", "/console/concerns/{number}",
    ),
    "concern.answered": Kind(
        "{number} was answered", "{number} 已答复",
        "What you raised under {number} was answered.",
        "您提出的 {number} 已有答复。", "/console/concerns/{number}",
    ),
    # -- review --
    "review.action-due": Kind(
        "A corrective action is due on {due}", "整改措施应于 {due} 前完成",
        "The corrective action {action} of the review {quarter} is due on {due}.",
        "{quarter} 季度审计的整改措施 {action} 应于 {due} 前完成。", "/console/reviews?quarter={quarter}",
    ),
    "recertification.due": Kind(
        "Access rights are to be confirmed by {due}", "请于 {due} 前确认访问权限",
        "In the review {quarter}, {count} access rights are yours to confirm. What is not confirmed by {due} is revoked.",
        "{quarter} 季度审计中有 {count} 项访问权限待您确认；{due} 前未确认的将被撤销。", "/console/access?quarter={quarter}",
    ),
    # -- remote consultations --
    "consultation.booked": Kind(
        "Consultation {consultation} waits for your confirmation", "远程会诊 {consultation} 待您确认",
        "The remote consultation {consultation} is booked for {start}. Please confirm it.",
        "远程会诊 {consultation} 预约于 {start}，请确认。", "/console/consultations/{consultation}",
    ),
    "consultation.follow-up-due": Kind(
        "{consultation}: follow-up is due", "{consultation}：随访即将到期",
        "The follow-up of the remote consultation {consultation} is due on {due}.",
        "远程会诊 {consultation} 的随访应于 {due} 前完成。", "/console/consultations/{consultation}",
    ),
    # -- after the data have left --
    "incident.reported": Kind(
        "Incident {incident}", "安全事件 {incident}",
        "The incident {incident} ({kind}) was reported. Assess it now, and contain what must be stopped.",
        "安全事件 {incident}（{kind}）已报告，请立即评估，必要时采取遏制措施。", "/console/incidents/{incident}",
    ),
    "incident.notice-due": Kind(
        "{incident}: somebody must be told", "{incident}：通知即将到期",
        "Of the incident {incident} the {audience} must be told by {due}.",
        "安全事件 {incident} 须于 {due} 前通知：{audience}。", "/console/incidents/{incident}",
    ),
    "obligation.due": Kind(
        "Obligations under {application} are due", "{application} 的附加义务即将到期",
        "{count} obligations under {application} are due by {due}. Say what was done, with evidence.",
        "{application} 项下 {count} 项附加义务须于 {due} 前完成，请说明办理情况并附证明。", "/console/obligations",
    ),
    "obligation.overdue": Kind(
        "Obligations under {application} are overdue", "{application} 的附加义务已逾期",
        "{count} obligations under {application} are overdue since {due}. Nothing more is sent under it until they are answered.",
        "{application} 项下 {count} 项附加义务自 {due} 起逾期；答复之前不再传输数据。", "/console/obligations",
    ),
    "recall.issued": Kind(
        "Recall {recall}: act on data that you received", "召回通知 {recall}：请处理已接收的数据",
        "What you received under {application} is recalled ({reason}). Delete or correct it by {due} and say what was done.",
        "{application} 项下已接收的数据被召回（{reason}），请于 {due} 前删除或更正，并说明办理情况。", "/console/recalls",
    ),
    "destruction.ordered": Kind(
        "Destruction order {order} waits for a second person", "销毁令 {order} 待第二人确认",
        "The destruction order {order} was proposed. Somebody else must confirm it.",
        "销毁令 {order} 已提出，须由另一人确认。", "/console/destruction/{order}",
    ),
    "emergency.opened": Kind(
        "Emergency access {application} is to be reviewed", "紧急调阅 {application} 待复核",
        "Emergency access was opened under {application}. Review it by {due}; if nobody does, it becomes an incident.",
        "{application} 项下已开启紧急调阅，请于 {due} 前复核；逾期未复核将转为安全事件。", "/console/emergencies/{application}",
    ),
    "emergency.contact-by-hand": Kind(
        "{application}: tell the patient's contact", "{application}：请告知患者联系人",
        "No address of the patient's contact could be reached after the emergency access {application}. Please tell them, and say so there.",
        "紧急调阅 {application} 后未能联系上患者的联系人，请人工告知并在页面登记。", "/console/emergencies/{application}",
    ),
    "emergency.contact": Kind(
        "Data were opened in an emergency", "紧急情况下调阅了患者数据",
        "In an emergency at {opened} data were opened of a patient for whom you are the contact, or who you are, under the number {application}. "
        "It is reviewed afterwards. If you have questions, ask the hospital and give this number. This message says nothing of anybody's health.",
        "因紧急情况，医院于 {opened} 调阅了您本人或您作为联系人的患者的数据，编号 {application}，事后将予复核。"
        "如有疑问，请凭编号咨询医院。本信息不含任何诊疗内容。",
        "/console/patient/login",
    ),
    "violation.opened": Kind(
        "Case {case}: you are heard", "违规案件 {case}：请陈述意见",
        "A case {case} was opened about you or your organisation. State your view by {due}.",
        "违规案件 {case} 已立案，请于 {due} 前陈述意见。", "/console/violations/{case}",
    ),
    "violation.decided": Kind(
        "Case {case} was decided", "违规案件 {case} 已作出决定",
        "In the case {case} the decision is: {sanction}. You may appeal until {due}.",
        "违规案件 {case} 的处理决定为：{sanction}。您可于 {due} 前申诉。", "/console/violations/{case}",
    ),
    "consultation.follow-up": Kind(
        "A follow-up of {consultation} is due", "{consultation} 的随访即将到期",
        "The follow-up of the remote consultation {consultation} is due on {due}.",
        "远程会诊 {consultation} 的随访须于 {due} 前完成。", "/console/consultations/{consultation}",
    ),
    "request.due": Kind(
        "A patient's request {request} is due", "患者请求 {request} 即将到期",
        "The patient's request {request} ({kind}) must be answered by {due}.",
        "患者请求 {request}（{kind}）须于 {due} 前答复。", "/console/requests/{request}",
    ),
    "working-year.missing": Kind(
        "The public holidays of {year} are not entered", "{year} 年放假安排尚未录入",
        "The State Council's notice on the public holidays of {year} should be out. Enter it, or update the software: "
        "until then clocks that count working days end early.",
        "国务院办公厅关于 {year} 年放假安排的通知应已发布，请录入或更新软件；在此之前，按工作日计算的期限将提前届满。", "/console/working-days",
    ),
}  # fmt: skip
