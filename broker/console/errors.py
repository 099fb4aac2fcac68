"""What can go wrong with a page and nowhere else, in both languages."""

from broker.errors import Forbidden, NotAuthenticated, NotFound


class SignInFirst(NotAuthenticated):
    """Sign in to see this page."""

    code = "sign-in-first"
    zh = "请先登录。"
    help_en = "Sign in with your account."
    help_zh = "请使用您的账号登录。"


class NotFromHere(Forbidden):
    """This form was not sent from a page of this console."""

    code = "not-from-here"
    zh = "该表单并非由本系统页面提交。"
    help_en = "Go back, load the page again and repeat what you did. Nothing was changed."
    help_zh = "请返回并刷新页面后重新操作；未作任何更改。"


class PatientSignInFirst(SignInFirst):
    """Enter the code you were given at the desk."""

    code = "patient-sign-in-first"
    zh = "请输入在服务台领取的一次性验证码。"
    help_en = "Ask for a code at the desk; it is good for fifteen minutes."
    help_zh = "请到服务台领取验证码，15 分钟内有效。"


class NoSuchProfile(NotFound):
    """There is no such least-necessary list."""

    code = "policy-profile-unknown"
    zh = "没有这份最小必要清单。"
