"""What can go wrong, said once and in both languages.

A slice subclasses :class:`BrokerError`: the class carries the HTTP status and a permanent code, its docstring is the
English message, ``zh`` the Chinese one, ``help_en`` and ``help_zh`` say what to do next. Refusals of a release are not
here: they are values (``release.answers.Refusal``), because an exception would roll back its own audit entry.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True)
class Problem:
    """One thing wrong with an input: where (a JSON pointer or FHIRPath), which rule, and a sentence for a person."""

    path: str
    code: str
    message: str


class BrokerError(Exception):
    """Something went wrong."""

    status: ClassVar[int] = 500
    code: ClassVar[str] = "internal"
    zh: ClassVar[str] = "系统出错。"
    help_en: ClassVar[str] = "Try again; if it goes on, tell your administrator the request number."
    help_zh: ClassVar[str] = "请重试；如仍失败，请将请求编号告知管理员。"

    def __init__(self, detail: str = "", *, problems: tuple[Problem, ...] = (), headers: dict[str, str] | None = None) -> None:
        """``detail`` names the field and the reason, never the value that was sent; ``problems`` lists several."""
        super().__init__(detail or self.title("en"))
        self.detail = detail
        self.problems = problems
        self.headers = headers or {}

    @classmethod
    def title(cls, language: str) -> str:
        """The message in ``zh`` or ``en``."""
        return cls.zh if language == "zh" else (cls.__doc__ or "").strip().splitlines()[0]

    @classmethod
    def help(cls, language: str) -> str:
        """What to do next, in ``zh`` or ``en``."""
        return cls.help_zh if language == "zh" else cls.help_en


class Invalid(BrokerError):
    """The request is not valid."""

    status = 422
    code = "invalid"
    zh = "请求内容不合规范。"
    help_en = "Correct the named fields and send it again."
    help_zh = "请更正所列字段后重新提交。"


class Malformed(BrokerError):
    """The request could not be read."""

    status = 400
    code = "malformed"
    zh = "无法读取请求内容。"
    help_en = "Send well-formed JSON in UTF-8, with each key and each parameter once."
    help_zh = "请发送格式正确的 UTF-8 JSON，且键名与参数均不得重复。"


class TooLarge(BrokerError):
    """The request body is too large."""

    status = 413
    code = "too-large"
    zh = "请求内容过大。"
    help_en = "Split it, or load it with `broker ingest`."
    help_zh = "请拆分后发送，或使用 broker ingest 导入。"


class NotFound(BrokerError):
    """There is no such thing, or you may not see it."""

    status = 404
    code = "not-found"
    zh = "不存在，或您无权查看。"
    help_en = "Check the number; ask the information manager if you should have access."
    help_zh = "请核对编号；如应有权限，请联系信息管理员。"


class NotAuthenticated(BrokerError):
    """You are not signed in, or the credentials are wrong."""

    status = 401
    code = "not-authenticated"
    zh = "未登录，或凭证有误。"
    help_en = "Sign in again or ask for a new token."
    help_zh = "请重新登录或重新获取令牌。"


class Forbidden(BrokerError):
    """You may not do this."""

    status = 403
    code = "forbidden"
    zh = "您无权执行此操作。"
    help_en = "Ask the information manager for the role that this needs."
    help_zh = "如需相应权限，请联系信息管理员。"


class Conflict(BrokerError):
    """This does not fit the present state."""

    status = 409
    code = "conflict"
    zh = "与当前状态冲突。"
    help_en = "Load it again and decide on the present version."
    help_zh = "请刷新后按最新版本操作。"


class PreconditionRequired(BrokerError):
    """If-Match is required."""

    status = 428
    code = "precondition-required"
    zh = "缺少 If-Match 请求头。"
    help_en = "Send the ETag of the version you are looking at in If-Match."
    help_zh = "请在 If-Match 中发送您所见版本的 ETag。"


class PreconditionFailed(BrokerError):
    """It was changed since you looked."""

    status = 412
    code = "precondition-failed"
    zh = "内容已被他人更改。"
    help_en = "Load it again and look at what changed before you decide."
    help_zh = "请刷新并查看变更后再作决定。"


class Unavailable(BrokerError):
    """A part that is needed did not answer."""

    status = 503
    code = "unavailable"
    zh = "所需的服务暂不可用。"
    help_en = "Nothing was released. Try again in a minute."
    help_zh = "未发送任何数据，请稍后重试。"


#: What is wrong with a field, by the type that pydantic gives it, in English and Chinese. Pydantic's own sentences may quote what was sent.
_FIELD: dict[str, tuple[str, str]] = {
    "missing": ("It is required.", "必填。"),
    "extra_forbidden": ("There is no such field.", "没有该字段。"),
    "string_type": ("It must be a text.", "应为文本。"),
    "string_too_short": ("It has fewer than {min_length} characters.", "少于 {min_length} 个字符。"),
    "string_too_long": ("It has more than {max_length} characters.", "超过 {max_length} 个字符。"),
    "string_pattern_mismatch": ("It does not have the form {pattern}.", "格式不符合 {pattern}。"),
    "int_type": ("It must be a whole number.", "应为整数。"),
    "int_parsing": ("It must be a whole number.", "应为整数。"),
    "int_from_float": ("It must be a whole number.", "应为整数。"),
    "bool_type": ("It must be true or false.", "应为 true 或 false。"),
    "greater_than_equal": ("It must be at least {ge}.", "不得小于 {ge}。"),
    "less_than_equal": ("It must be at most {le}.", "不得大于 {le}。"),
    "too_short": ("It must have at least {min_length} entries.", "至少须有 {min_length} 项。"),
    "too_long": ("It may have at most {max_length} entries.", "至多 {max_length} 项。"),
    "enum": ("It must be one of {expected}.", "应为以下之一：{expected}。"),
    "literal_error": ("It must be one of {expected}.", "应为以下之一：{expected}。"),
    "list_type": ("It must be a list.", "应为数组。"),
    "tuple_type": ("It must be a list.", "应为数组。"),
    "dict_type": ("It must be an object.", "应为对象。"),
    "model_type": ("It must be an object.", "应为对象。"),
    "model_attributes_type": ("It must be an object.", "应为对象。"),
    "uuid_parsing": ("It must be a UUID.", "应为 UUID。"),
    "uuid_type": ("It must be a UUID.", "应为 UUID。"),
    "datetime_parsing": ("It must be a time such as 2026-11-23T09:00:00+08:00.", "应为时间，例如 2026-11-23T09:00:00+08:00。"),
    "datetime_from_date_parsing": ("It must be a time such as 2026-11-23T09:00:00+08:00.", "应为时间，例如 2026-11-23T09:00:00+08:00。"),
    "timezone_aware": ("A time must say its zone.", "时间须注明时区。"),
    "day": ("A day is written YYYY-MM-DD.", "日期应写作 YYYY-MM-DD。"),
    "date_parsing": ("A day is written YYYY-MM-DD.", "日期应写作 YYYY-MM-DD。"),
    "date_from_datetime_parsing": ("A day is written YYYY-MM-DD.", "日期应写作 YYYY-MM-DD。"),
    "control_character": ("Control characters are not allowed.", "不得含控制字符。"),
    "blank": ("It must not be blank.", "不得为空白。"),
    "text": ("It must not be blank and hold no control characters.", "不得为空白，也不得含控制字符。"),
    "one_of": ("Name either data_class or resource_type.", "data_class 与 resource_type 须且只能填其一。"),
    "class_cut": ("Elements and codes belong to a resource_type.", "elements 与 codes 只用于 resource_type。"),
}
_OTHERWISE = ("It is not valid.", "不合规范。")


def field_sentence(kind: str, limits: Mapping[str, object], language: str) -> str:
    """What is wrong with a field, in ``zh`` or ``en``. ``kind`` and ``limits`` are pydantic's ``type`` and ``ctx``."""
    en, zh = _FIELD.get(kind, _OTHERWISE)
    return (zh if language == "zh" else en).format_map(limits)


class NotAcceptable(BrokerError):
    """Only FHIR R4 as JSON is served."""

    status = 406
    code = "not-acceptable"
    zh = "仅提供 JSON 格式的 FHIR R4 数据。"
    help_en = "Send Accept: application/fhir+json, and no _format or _format=json."
    help_zh = "请发送 Accept: application/fhir+json，不使用 _format 或使用 _format=json。"


class NotJson(BrokerError):
    """Only FHIR JSON is read here."""

    status = 415
    code = "media-type"
    zh = "仅接受 FHIR JSON。"
    help_en = "Send Content-Type: application/fhir+json."
    help_zh = "请使用 Content-Type: application/fhir+json。"
