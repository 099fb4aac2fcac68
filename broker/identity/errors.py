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
