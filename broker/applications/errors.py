"""What can go wrong with an application; the docstring is the English message."""

from __future__ import annotations

from broker import errors


class NoSuchApplication(errors.NotFound):
    """There is no such application, or you may not see it."""

    code = "application-not-found"
    zh = "没有该共享申请，或您无权查看。"


class MoveNotAllowed(errors.Conflict):
    """The application is in a state in which this can't be done."""

    code = "application-state"
    zh = "共享申请当前状态不允许此操作。"
    help_en = "Load the application again; its page lists what can be done with it now."
    help_zh = "请刷新该申请；页面会列出当前可执行的操作。"


class NotYourMove(errors.Forbidden):
    """This step belongs to somebody else."""

    code = "application-role"
    zh = "此步骤应由其他人员办理。"
    help_en = "Requesters submit and withdraw, department heads endorse, the information manager decides."
    help_zh = "申请人提交和撤回，科室负责人审签，信息管理员审批。"


class FourEyes(errors.Forbidden):
    """One person can't take two steps of the same application."""

    code = "four-eyes"
    zh = "同一人不得办理同一申请的多个环节。"
    help_en = "The applicant, the department head who endorses and the information manager who decides must be three different people."
    help_zh = "申请人、审签的科室负责人与审批的信息管理员须为不同的人。"


class ReasonRequired(errors.Invalid):
    """A reason must be given."""

    code = "reason-required"
    zh = "必须说明理由。"
    help_en = "Say in a sentence why; the applicant reads it."
    help_zh = "请写明理由，申请人将看到。"


class NotComplete(errors.Invalid):
    """The application is not complete or not valid."""

    code = "application-invalid"
    zh = "共享申请不完整或有误。"


class RecipientNotYours(errors.Forbidden):
    """You may not apply for this recipient."""

    code = "recipient-not-yours"
    zh = "您无权为该接收方提出申请。"
    help_en = "Apply for your own department or organisation; the information manager may enter an application for an outside organisation."
    help_zh = "请为本科室或本机构申请；外部机构的申请可由信息管理员代为录入。"


class FeedbackOverdue(errors.Conflict):
    """Feedback on earlier data use is overdue; new applications are held back until it is given."""

    code = "feedback-overdue"
    zh = "您有逾期未交的使用反馈，提交前请先补交。"
    help_en = "Give feedback on the applications that are named, then submit again."
    help_zh = "请先对所列申请提交使用反馈，然后重新提交本申请。"


class AssessmentOutdated(errors.Conflict):
    """The machine's assessment is of another version."""

    code = "assessment-outdated"
    zh = "预审结果对应的不是当前版本。"
    help_en = "Ask for a new assessment, look at it, then decide."
    help_zh = "请重新预审并查看结果后再作决定。"


class AssessmentForbids(errors.Conflict):
    """Policy or consent does not permit what would be approved."""

    code = "assessment-forbids"
    zh = "政策或患者知情同意不允许所批准的内容。"
    help_en = "Return it to the applicant, narrow it, or refuse it; the reasons are listed."
    help_zh = "请退回、缩小范围或拒绝；原因已列出。"


class NotNarrower(errors.Invalid):
    """What is approved must be part of what was applied for, and less than it."""

    code = "not-narrower"
    zh = "缩小后的内容必须包含在申请内容之内，且少于申请内容。"


class NoGrant(errors.Conflict):
    """This application has no grant."""

    code = "no-grant"
    zh = "该申请没有共享授权。"


class IdempotencyKeyUnusable(errors.Invalid):
    """The Idempotency-Key header is not usable."""

    code = "idempotency-key"
    zh = "Idempotency-Key 请求头无效。"
    help_en = "Send 1 to 255 visible ASCII characters, best a fresh UUID for each thing to create."
    help_zh = "请发送 1 至 255 个可见 ASCII 字符，建议每次创建使用新的 UUID。"


class IdempotencyKeyReused(errors.Invalid):
    """This Idempotency-Key was used for another request."""

    code = "idempotency-key-reused"
    zh = "该 Idempotency-Key 已用于其他请求。"
    help_en = "Send a fresh key with a new request; repeat a key only with the very same request."
    help_zh = "新请求请使用新的键；只有完全相同的请求才可重复使用。"


class GrantDamaged(errors.BrokerError):
    """The stored terms of a grant are not the ones that were approved."""

    status = 503
    code = "grant-damaged"
    zh = "共享授权的内容与批准时不一致。"
    help_en = "Nothing was released. Tell the information manager: the grant was changed outside the broker."
    help_zh = "未发送任何数据。请通知信息管理员：该授权在系统之外被更改。"


class WindowTaken(errors.Conflict):
    """The grant is tied to a span of time already."""

    code = "grant-window-taken"
    zh = "该授权已绑定时间段。"
    help_en = "Cancel what it is tied to and apply anew, or use another grant."
    help_zh = "请取消原绑定事项并重新申请，或使用其他授权。"


class StepsMissing(errors.Conflict):
    """Steps that this application needs have not been taken yet."""

    code = "steps-missing"
    zh = "该申请所需的环节尚未全部完成。"
    help_en = "Have the named steps taken first: the owning department's agreement, the reviews, a second decision."
    help_zh = "请先完成所列环节：数据所属科室同意、合法性与必要性审查或会签。"


class InterestDeclared(errors.Forbidden):
    """Somebody with an interest in an application takes no step of it."""

    code = "interest"
    zh = "与该申请有利害关系的人员不得办理。"
    help_en = "Leave it to a colleague; your declaration is on record."
    help_zh = "请由其他人员办理；您的回避已记录。"


class DelegationRefused(errors.Invalid):
    """This office can't be lent like this."""

    code = "delegation-refused"
    zh = "不能这样委托代办。"


class NoSuchDelegation(errors.NotFound):
    """There is no such delegation, or it is not yours."""

    code = "delegation-unknown"
    zh = "没有该委托，或与您无关。"


class AttachmentRefused(errors.Invalid):
    """The attachment is not accepted."""

    code = "attachment-refused"
    zh = "附件不被接受。"
    help_en = "Attach PDF, PNG or JPEG within the size limit, at most ten to an application."
    help_zh = "附件须为 PDF、PNG 或 JPEG，不超过大小限制，每份申请至多十个。"


class NoSuchAttachment(errors.NotFound):
    """There is no such attachment."""

    code = "attachment-unknown"
    zh = "没有该附件。"


class TermsNotAccepted(errors.Conflict):
    """Terms of use have to be accepted first."""

    code = "terms-not-accepted"
    zh = "须先接受使用条款。"
    help_en = "Let the head of the recipient's department accept the named terms of use."
    help_zh = "请由接收方科室负责人接受所列使用条款。"


class NoSuchAgreement(errors.NotFound):
    """There is no such agreement or version."""

    code = "agreement-unknown"
    zh = "没有该条款或版本。"


class AgreementInvalid(errors.Invalid):
    """The agreement or network is not valid."""

    code = "agreement-invalid"
    zh = "条款或网络信息有误。"


class Barred(errors.Forbidden):
    """You may not apply, endorse or decide until a sanction has ended."""

    code = "barred"
    zh = "您受处理期间不得申请、审签或审批。"
    help_en = "Look at the case under /api/v1/violations: it says what is needed, such as training, and until when you may appeal."
    help_zh = "请查看 /api/v1/violations 中的案件，其中列明所需事项（如培训）及申诉期限。"
