"""What can go wrong with people, organisations and clients, in both languages."""

from broker.errors import Conflict, Forbidden, Invalid, NotAuthenticated, NotFound


class UnknownOrganization(NotFound):
    """There is no such organisation."""

    code = "organization-unknown"
    zh = "机构不存在。"
    help_en = "Look it up under /api/v1/organizations."
    help_zh = "请在 /api/v1/organizations 查询。"


class UnknownPerson(NotFound):
    """There is no such person."""

    code = "person-unknown"
    zh = "人员不存在。"


class UnknownClient(NotFound):
    """There is no such client."""

    code = "client-unknown"
    zh = "客户端不存在。"


class AlreadyThere(Conflict):
    """There is one of this name already."""

    code = "already-there"
    zh = "名称已被使用。"
    help_en = "Choose another identifier, or change the one that is there."
    help_zh = "请更换标识，或修改已有的条目。"


class KeysRefused(Invalid):
    """The key set can't be used."""

    code = "keys-refused"
    zh = "密钥集不可用。"
    help_en = "Send a JWK Set of public RSA (2048 to 4096 bits) or P-384 keys, each with its own kid."
    help_zh = "请发送仅含公钥的 JWK Set：RSA（2048 至 4096 位）或 P-384，每个密钥有各自的 kid。"


class PasswordRefused(Invalid):
    """The password can't be used."""

    code = "password-refused"
    zh = "密码不符合要求。"
    help_en = "Use at least 12 characters that don't hold the user name."
    help_zh = "密码至少 12 个字符，且不得包含用户名。"


class RolesApart(Invalid):
    """One person may not hold these roles together."""

    code = "roles-apart"
    zh = "这些角色不得由同一人兼任。"
    help_en = "Give one of the roles to somebody else; all accounts of one person count together."
    help_zh = "请将其中一个角色授予他人；同一人的所有账号合并计算。"


class RoleNotHere(Invalid):
    """An outside organisation can't have this role."""

    code = "role-internal-only"
    zh = "外部机构不能设置该角色。"
    help_en = "Information managers, auditors and administrators belong to the hospital itself."
    help_zh = "信息管理员、审计员、系统管理员须隶属本院。"


class OrganizationInvalid(Invalid):
    """The organisation does not fit where it is put."""

    code = "organization-invalid"
    zh = "机构的隶属关系有误。"
    help_en = "A department has a parent, and both are internal or both external."
    help_zh = "科室须有上级机构，且与上级同为院内或同为院外。"


class NotYourself(Forbidden):
    """Nobody changes their own rights."""

    code = "not-yourself"
    zh = "不得更改本人的权限。"
    help_en = "Ask another administrator."
    help_zh = "请由其他管理员操作。"


class ResourceServerOutside(Invalid):
    """Only a client of the hospital itself may look into tokens of others."""

    code = "resource-server-external"
    zh = "只有本院的客户端可以查询他方令牌。"
    help_en = "Register the client without resource_server."
    help_zh = "请勿为外部客户端设置 resource_server。"


class LoginLocked(NotAuthenticated):
    """Too many failed logins under this name."""

    status = 429
    code = "login-locked"
    zh = "该用户名登录失败次数过多，已暂时锁定。"
    help_en = "Wait as long as Retry-After says, then try again."
    help_zh = "请按 Retry-After 所示时间等待后重试。"


class SecondFactorFirst(NotAuthenticated):
    """A second factor is needed: you have one and did not show it yet."""

    code = "second-factor-required"
    zh = "需要二次验证：您已登记第二验证因素，但尚未出示。"
    help_en = "Sign in at POST /api/v1/session with its code, or send the code to POST /api/v1/session/second-factor. A password alone won't do."
    help_zh = "请在 POST /api/v1/session 登录时提交验证码，或将验证码提交至 POST /api/v1/session/second-factor；仅有密码不够。"


class EnrolFirst(Forbidden):
    """Your role needs a second factor, and you have none yet."""

    code = "second-factor-missing"
    zh = "您的角色须启用二次验证，而您尚未登记。"
    help_en = "Add one at /console/account/security, or at POST /api/v1/me/factors within a session."
    help_zh = "请在 /console/account/security 登记，或在会话中调用 POST /api/v1/me/factors。"


class PasswordFirst(Forbidden):
    """Choose a password of your own first: somebody else knows this one."""

    code = "password-change-required"
    zh = "请先设置您自己的密码：当前密码他人知晓。"
    help_en = "Change it at /console/account, or at PUT /api/v1/people/{your id}/password."
    help_zh = "请在 /console/account 修改，或调用 PUT /api/v1/people/{您的标识}/password。"


class RolesTogether(Forbidden):
    """You hold roles that one person may not hold together, so that none of them can be used."""

    code = "roles-together"
    zh = "您同时持有不得兼任的角色，因此均不能使用。"
    help_en = "Ask an administrator to take one of them away."
    help_zh = "请管理员收回其中一个角色。"


class StepUpFirst(NotAuthenticated):
    """Prove again who you are: this act asks for it, and the last time is too long ago."""

    code = "step-up-required"
    zh = "请再次验证身份：该操作需要近期的身份验证。"
    help_en = "Send the code of your second factor, or your password where you have none, to POST /api/v1/session/second-factor; then do it again."
    help_zh = "请将验证码（未登记第二因素者为密码）提交至 POST /api/v1/session/second-factor，然后重试。"


class FactorWrong(Forbidden):
    """The code is wrong, or was used already."""

    code = "second-factor-wrong"
    zh = "验证码有误，或已使用过。"
    help_en = "Wait for the next code and type that one; a code on paper is good once."
    help_zh = "请等待下一个验证码后重新输入；纸质恢复码只能使用一次。"


class FactorUnknown(NotFound):
    """There is no such second factor of yours."""

    code = "second-factor-unknown"
    zh = "您没有该第二验证因素。"


class LastFactor(Conflict):
    """Your role needs a second factor, and this is the last."""

    code = "second-factor-last"
    zh = "您的角色须启用二次验证，这是最后一个第二因素。"
    help_en = "Add another first, then take this one away."
    help_zh = "请先登记另一个，再移除此项。"


class KeyRefused(Invalid):
    """The key's answer does not fit what was asked."""

    code = "key-refused"
    zh = "安全密钥的应答与请求不符。"
    help_en = "Begin again from the page; an answer is good once and for five minutes."
    help_zh = "请从页面重新开始；每次应答仅在五分钟内有效一次。"


class LinkSpent(NotFound):
    """This link is not good any more."""

    code = "link-spent"
    zh = "该链接已失效。"
    help_en = "Ask your administrator for another."
    help_zh = "请向管理员索取新的链接。"


class SecondPerson(Forbidden):
    """Two people must agree; you were the first."""

    code = "second-person"
    zh = "须由两人共同决定，您是第一人。"
    help_en = "Ask another administrator or an information manager to agree."
    help_zh = "请由另一名管理员或信息管理员确认。"
