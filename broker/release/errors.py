"""How a refusal is told to the outside: fixed words for each kind, never the rule or the fact behind it."""

from __future__ import annotations

from broker.errors import BrokerError, Malformed, NotAcceptable, NotAuthenticated, Unavailable
from broker.release.answers import Kind, Refusal


class Refused(BrokerError):
    """Nothing may be released for this request."""

    status = 403
    code = "refused"
    zh = "此请求不予释放任何数据。"
    help_en = "Ask the hospital's information manager, with the request number; the reason is on record there."
    help_zh = "请凭请求编号联系医院信息管理员，原因已记录在案。"


class NotReleased(BrokerError):
    """There is no such resource that may be released to you."""

    status = 404
    code = "not-found"
    zh = "不存在可向您释放的该资源。"
    help_en = "Check the id; ask the hospital's information manager, with the request number, if it should be there."
    help_zh = "请核对标识；如应存在，请凭请求编号联系医院信息管理员。"


class QueryNotServed(Malformed):
    """This query is not served."""

    code = "query-not-served"
    zh = "不支持该查询。"
    help_en = "See /fhir/metadata for the parameters of each type; one patient for each query."
    help_zh = "各类型支持的参数见 /fhir/metadata，每次查询限一名患者。"


class TokenNotUsable(NotAuthenticated):
    """The access token is missing, expired, revoked or not for this."""

    code = "token-not-usable"
    zh = "访问令牌缺失、已过期、已撤销或不适用。"
    help_en = "Ask /oauth2/token for a new token for an application that is in force."
    help_zh = "请就有效的共享申请向 /oauth2/token 重新获取令牌。"


class NotReleasable(Unavailable):
    """No decision could be made, so nothing was released."""


class NotAsynchronous(QueryNotServed):
    """A bulk export is asked for asynchronously."""

    code = "export-not-asynchronous"
    zh = "批量导出须以异步方式请求。"
    help_en = "Send `Prefer: respond-async`."
    help_zh = "请加上请求头 Prefer: respond-async。"


class TooManyExports(BrokerError):
    """Too many bulk exports are under way."""

    status = 429
    code = "too-many-exports"
    zh = "进行中的批量导出过多。"
    help_en = "Wait until one is finished, or end one with DELETE."
    help_zh = "请等待其中之一完成，或用 DELETE 结束其中之一。"


_KINDS: dict[Kind, type[BrokerError]] = {
    Kind.UNAUTHENTICATED: TokenNotUsable,
    Kind.REFUSED: Refused,
    Kind.NOT_FOUND: NotReleased,
    Kind.BAD_QUERY: QueryNotServed,
    Kind.NOT_ACCEPTABLE: NotAcceptable,
    Kind.UNAVAILABLE: NotReleasable,
}
_CHALLENGE = {"WWW-Authenticate": 'Bearer error="invalid_token"'}


def of_refusal(refusal: Refusal) -> BrokerError:
    """The error that the outside sees."""
    headers = _CHALLENGE if refusal.kind is Kind.UNAUTHENTICATED else {"Retry-After": "5"} if refusal.kind is Kind.UNAVAILABLE else None
    return _KINDS[refusal.kind](refusal.detail if refusal.kind is Kind.BAD_QUERY else "", headers=headers)
