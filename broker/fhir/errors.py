"""What can be wrong with a FHIR resource: one row for each kind, with FHIR's own issue type and the sentence in both languages."""

from __future__ import annotations

from dataclasses import dataclass

from broker.errors import Problem


@dataclass(frozen=True)
class Kind:
    """A kind of problem: the code that :class:`broker.errors.Problem` carries, and how it is said."""

    code: str
    issue: str  #: http://hl7.org/fhir/issue-type
    en: str
    zh: str


KINDS: dict[str, Kind] = {
    kind.code: kind
    for kind in (
        Kind("not-utf8", "structure", "The text is not UTF-8.", "文本不是 UTF-8 编码。"),
        Kind("not-json", "structure", "The text is not JSON.", "文本不是合法的 JSON。"),
        Kind("duplicate-key", "structure", "A key stands twice in one object.", "同一对象中键名重复。"),
        Kind("too-deep", "too-costly", "It is nested too deeply.", "嵌套层数过多。"),
        Kind("too-large", "too-long", "It is too large.", "内容过大。"),
        Kind("too-many-problems", "too-costly", "There are more problems than are listed.", "问题过多，其余未列出。"),
        Kind("bad-number", "value", "A number is not JSON or has too many digits.", "数字不合法或位数过多。"),
        Kind("trailing-data", "structure", "Something follows the JSON value.", "JSON 之后还有多余内容。"),
        Kind("not-an-object", "structure", "An object is expected here.", "此处应为对象。"),
        Kind("not-an-array", "structure", "This element repeats and is an array in JSON.", "该元素可重复，应为数组。"),
        Kind("unexpected-array", "structure", "This element does not repeat and is no array.", "该元素不可重复，不应为数组。"),
        Kind("null", "structure", "null is not allowed here.", "此处不允许为 null。"),
        Kind("empty", "structure", "Empty objects, arrays and strings are not FHIR.", "不允许空对象、空数组或空字符串。"),
        Kind("unknown-type", "structure", "This is not a resource type of FHIR R4.", "不是 FHIR R4 的资源类型。"),
        Kind("unknown-element", "structure", "FHIR R4 has no such element here.", "FHIR R4 在此处没有该元素。"),
        Kind("missing", "required", "A mandatory element is missing.", "缺少必需的元素。"),
        Kind("too-few", "required", "This element must stand more often.", "该元素出现次数不足。"),
        Kind("too-many", "structure", "This element stands more often than it may.", "该元素出现次数过多。"),
        Kind("two-choices", "structure", "Only one of the types of this element may be given.", "该元素只能选择一种类型。"),
        Kind("wrong-type", "value", "The JSON type is not the one of this element.", "JSON 类型与该元素不符。"),
        Kind("bad-format", "value", "The value does not have the form that its type asks for.", "值的格式不符合其类型的要求。"),
        Kind("bad-code", "code-invalid", "The code is not in the value set that this element requires.", "编码不在该元素要求的值集内。"),
        Kind("bad-reference", "value", "This is not a reference that FHIR R4 knows.", "不是 FHIR R4 允许的引用形式。"),
        Kind("no-contained", "not-found", "It refers to a contained resource that is not there.", "所引用的内嵌资源不存在。"),
        Kind("nested-contained", "structure", "A contained resource has an id and contains no other.", "内嵌资源须有 id，且不得再内嵌资源。"),
        Kind("bad-extension", "structure", "An extension has either a value or extensions of its own.", "扩展须有值或子扩展，且二者只能有其一。"),
        Kind("sibling", "structure", "The underscore sibling does not match its element.", "下划线同名元素与其主元素不匹配。"),
        Kind("id-missing", "required", "The resource has no id.", "资源缺少 id。"),
    )
}


def problem(path: str, code: str, message: str = "") -> Problem:
    """A problem of a known kind; ``message`` adds what is expected, and never repeats what was sent."""
    return Problem(path, code, f"{KINDS[code].en} {message}".strip())


def sentence(found: Problem, language: str) -> str:
    """The problem in ``zh`` or ``en``. Problems of other slices have their own message only."""
    kind = KINDS.get(found.code)
    return kind.zh if language == "zh" and kind is not None else found.message


def issue_type(found: Problem) -> str:
    """FHIR's issue type of a problem."""
    kind = KINDS.get(found.code)
    return kind.issue if kind is not None else "invalid"
