"""What can go wrong when policy is changed; the docstring is the English message."""

from __future__ import annotations

from broker import errors


class NoSuchRevision(errors.NotFound):
    """There is no such revision of the policies."""

    code = "policy-revision-unknown"
    zh = "没有该策略版本。"


class DraftInvalid(errors.Invalid):
    """The draft breaks the rules that policies must keep."""

    code = "policy-draft-invalid"
    zh = "策略草案不合规范。"
    help_en = "Mend what is named; `broker policy check` says the same of a folder."
    help_zh = "请更正所列之处；也可用 broker policy check 检查文件夹。"


class RevisionMoveNotAllowed(errors.Conflict):
    """This is not possible in the revision's present state."""

    code = "policy-move-not-allowed"
    zh = "策略版本的当前状态不允许此操作。"
    help_en = "A draft is tested, then replayed, then approved by a second person."
    help_zh = "草案须先测试、再回放，然后由第二人批准。"


class OwnDraft(errors.Forbidden):
    """Whoever wrote a draft can't approve it, under any account."""

    code = "policy-own-draft"
    zh = "起草人不得批准自己的草案（含其其他账号）。"
    help_en = "Ask a colleague to look at it and to approve it."
    help_zh = "请由同事复核并批准。"


class TooSoon(errors.Invalid):
    """A revision comes into force some seconds from now at the earliest, after every other one."""

    code = "policy-too-soon"
    zh = "生效时间过早。"
    help_en = "Name a later moment, or none for the earliest possible."
    help_zh = "请填写更晚的时间，或留空以最早时间生效。"
