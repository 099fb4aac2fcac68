"""What can go wrong with a consent; the docstring is the English message."""

from __future__ import annotations

from datetime import datetime

from broker import errors
from broker.consent.enforceability import Report
from broker.errors import Problem


class NotEnforceable(errors.Invalid):
    """This consent can't be enforced as it is written, so it was not filed."""

    code = "consent-not-enforceable"
    zh = "该知情同意按现有写法无法执行，未予登记。"
    help_en = "Correct the named elements with the patient and file it again. `broker consent check` gives the same report."
    help_zh = "请与患者确认并更正所列元素后重新登记；broker consent check 可得到同样的报告。"

    def __init__(self, report: Report, language: str = "en") -> None:
        """``report`` says which elements are refused; the problems are in ``language``."""
        refused = tuple(Problem(one.path, one.code, one.sentence(language)) for one in report.refused)
        wrong = tuple(Problem(path, "structure", sentence) for path, sentence in report.structure)
        super().__init__(problems=(*wrong, *refused))
        self.report = report

    def spoken(self, language: str) -> NotEnforceable:
        """The same in ``zh`` or ``en``."""
        return NotEnforceable(self.report, language)


class UnknownPatient(errors.Invalid):
    """The consent names no patient whom the registry knows for certain."""

    code = "consent-patient-unknown"
    zh = "该知情同意所指患者不存在，或无法确定。"
    help_en = "Name the patient by `Patient/{id}` or by one identifier that only this patient has."
    help_zh = "请以 Patient/{id} 或仅属于该患者的标识符指明患者。"


class NoSuchConsent(errors.NotFound):
    """There is no such consent, or you may not see it."""

    code = "consent-not-found"
    zh = "没有该知情同意，或您无权查看。"


class Superseded(errors.Conflict):
    """A consent with this identifier that is as new or newer, or its withdrawal, is on file."""

    code = "consent-superseded"
    zh = "同一标识符下已登记更新的知情同意，或其已被撤回。"
    help_en = "A consent given before a withdrawal can't come back. Take a new consent, with the date on which it was given."
    help_zh = "撤回之前给出的同意不能恢复。请重新取得同意，并注明给出日期。"


class KeyReused(errors.Invalid):
    """This Idempotency-Key was used for another request."""

    code = "idempotency-key-reused"
    zh = "该 Idempotency-Key 已用于其他请求。"
    help_en = "Send a fresh key with a new request; repeat a key only with the very same request."
    help_zh = "新请求请使用新的键；只有完全相同的请求才可重复使用。"


class NotTheOperation(errors.Invalid):
    """These are not the parameters of this operation."""

    status = 400
    code = "consent-parameters"
    zh = "参数不符合该操作的要求。"
    help_en = "Send FHIR Parameters as in the HL7 FAST consent management guide: consent and document; or consent, patient and document."
    help_zh = "请按 HL7 FAST 同意管理规范发送 Parameters：consent 与 document；或 consent、patient 与 document。"


NotJson = errors.NotJson


class SearchNotServed(errors.Malformed):
    """This search is not served."""

    code = "consent-search"
    zh = "不支持该查询。"
    help_en = "Name a patient, an identifier or _id; then status, date, scope, category, actor, controller, manager, each once."
    help_zh = "请指定 patient、identifier 或 _id；另可各用一次 status、date、scope、category、actor、controller、manager。"


class NotADisclosure(errors.Invalid):
    """This AuditEvent does not say which consent was consulted, or is no valid AuditEvent."""

    code = "consent-disclosure"
    zh = "该 AuditEvent 未指明所查阅的知情同意，或不是有效的 AuditEvent。"
    help_en = "Send an R4 AuditEvent with the consent in entity.what, whether or not anything was shared."
    help_zh = "无论是否共享，请发送在 entity.what 中指明知情同意的 R4 AuditEvent。"


class NotASubscription(errors.Invalid):
    """This subscription can't be served: topic, filter, channel or content."""

    code = "consent-subscription"
    zh = "无法提供该订阅：主题、过滤条件、通道或内容不受支持。"
    help_en = (
        "Send a Subscription with the FAST consent topic, filters patientId, organizationId, actor, status, category or scope, "
        "a rest-hook channel by https, and content empty or id-only."
    )
    help_zh = "请使用 FAST 主题、过滤条件 patientId、organizationId、actor、status、category、scope，https 的 rest-hook，内容 empty 或 id-only。"


class NoSuchSubscription(errors.NotFound):
    """There is no such subscription of yours."""

    code = "consent-subscription-unknown"
    zh = "没有该订阅，或不属于您。"


class NoSuchNotice(errors.NotFound):
    """There is no such notice."""

    code = "consent-notice-unknown"
    zh = "没有该告知书。"


class NotAnAnswer(errors.Invalid):
    """Not as the law wants a patient to be told and asked."""

    code = "consent-asking"
    zh = "告知或征得同意的方式不符合要求。"
    help_en = "Correct what is named: parts of the notice (PIPL 17, 30, 23), separate consents (23, 29), who may answer (31), evidence."
    help_zh = "请更正所列各项：告知内容（个保法第17、30、23条）、单独同意（第23、29条）、作答人（第31条）、证明材料。"


class AskedTooSoon(errors.Conflict):
    """The patient refused this, and is not asked again so soon."""

    code = "consent-asked-too-soon"
    zh = "患者已拒绝，暂不得再次征求同意。"
    help_en = "Wait until the time that is named, or let the patient come by themselves."
    help_zh = "请在所示时间之后再询问，或由患者主动提出。"

    def __init__(self, *, until: datetime) -> None:
        """``until``: from when the patient may be asked again."""
        super().__init__(problems=(Problem("/patient", "not-before", f"Not before {until.isoformat(timespec='seconds')}."),))
        self.until = until
