"""What a verifier can find, said once and in both languages. Codes are permanent."""

from __future__ import annotations

from dataclasses import dataclass

#: Code → sentence in English and in Chinese.
SENTENCES = {
    "unreadable": ("it could not be read", "无法读取"),
    "checkpoint-missing": ("there is no checkpoint", "缺少检查点"),
    "checkpoint-malformed": ("the checkpoint is not in the required form", "检查点格式不符"),
    "checkpoint-signature": ("the checkpoint is not signed by the log's key", "检查点并非由日志密钥签署"),
    "checkpoint-differs": ("a stored checkpoint does not fit the entries before it: they were rewritten", "已存检查点与此前条目不符：条目被改写"),
    "unwitnessed": ("not enough witnesses have cosigned a checkpoint", "共签检查点的见证者不足"),
    "history-shortened": ("the log is shorter than a checkpoint that was saved", "日志短于先前保存的检查点"),
    "history-rewritten": (
        "the log does not continue a checkpoint that was saved: it was rewritten",
        "日志与先前保存的检查点不符：历史被改写",
    ),
    "entry-missing": ("an entry is missing", "缺少条目"),
    "entry-changed": ("the entry and its hash in the tree differ: one of them was changed", "条目与树中哈希不符：其一被更改"),
    "entry-extra": ("there is an entry beyond the tree", "存在树外的条目"),
    "bundle-malformed": ("the entry bundle can't be read", "条目包无法解析"),
    "tile-missing": ("a tile is missing", "缺少哈希块"),
    "tile-changed": ("the tile is not the one that the entries give", "哈希块与条目推算结果不符"),
    "tile-extra": ("there are tiles beyond the tree", "存在树外的哈希块"),
    "root-differs": ("the entries give another root than the checkpoint", "条目推算的根与检查点不符"),
    "columns-differ": ("the columns that queries use do not say what the entry says", "查询列与日志条目内容不符"),
    "event-unlogged": ("an event stands beside the log without an entry in it", "存在未入日志的事件"),
    "patient-moved": ("one subject is filed under several patients, or under none", "同一主体被归入多名患者或未归入任何患者"),
    "state-differs": ("the sequencer's state does not fit the log", "排序器状态与日志不符"),
}


@dataclass(frozen=True)
class Finding:
    """The first wrong place: what is wrong (``code``), and where (``entry 17``, ``tile/0/000``, ``checkpoint`` …)."""

    code: str
    where: str
    detail: str = ""

    def sentence(self, language: str) -> str:
        """One sentence for a person, in ``zh`` or ``en``."""
        english, chinese = SENTENCES[self.code]
        detail = f" ({self.detail})" if self.detail else ""
        return f"{self.where}：{chinese}{detail}" if language == "zh" else f"{self.where}: {english}{detail}"


class Broken(Exception):
    """Verification stops at the first wrong place."""

    def __init__(self, code: str, where: str, detail: str = "") -> None:
        self.finding = Finding(code, where, detail)
        super().__init__(self.finding.sentence("en"))
