"""By when a patient's request is answered, on which grounds it may be refused, who may ask for whom. Pure.

Sources: PIPL 44 (to know, to decide, to restrict), 45 (copies, transfer), 46 (correction), 47 (deletion), 48 (explanation), 49 (next of kin),
50 (a convenient way, reasons when refused). The law says "in time"; fifteen working days is what the supervisors hold others to
(App 违法违规收集使用个人信息行为认定方法, 国信办秘字〔2019〕191 号, part six: within the time that was promised, which may not be longer than fifteen
working days, and within fifteen where none was). It is a rule for apps that counsel confirms for the hospital's desk. Which days are worked
says the calendar (``broker.workdays``).
"""

from __future__ import annotations

from datetime import date, datetime
from enum import StrEnum
from types import MappingProxyType

#: Working days to answer, and by how many the clock may be extended, once, with a reason.
WORKING_DAYS, EXTENSION = 15, 15


class Kind(StrEnum):
    """What is asked, with its article of the PIPL."""

    COPY = "copy"  #: 45(1), 45(2)
    PORTABILITY = "portability"  #: 45(3)
    CORRECTION = "correction"  #: 46
    RESTRICTION = "restriction"  #: 44
    DELETION = "deletion"  #: 47
    EXPLANATION = "explanation"  #: 24(3), 48


ARTICLES = MappingProxyType(
    {Kind.COPY: "45", Kind.PORTABILITY: "45(3)", Kind.CORRECTION: "46", Kind.RESTRICTION: "44", Kind.DELETION: "47", Kind.EXPLANATION: "48"}
)


class By(StrEnum):
    """Who asks."""

    SELF = "self"
    GUARDIAN = "guardian"  #: PIPL 31
    NEXT_OF_KIN = "next-of-kin"  #: PIPL 49, of a patient who has died


class Ground(StrEnum):
    """Why a request may be refused."""

    NOT_IDENTIFIED = "not-identified"  #: PIPL 50: who asks could not be made sure of
    NOT_ENTITLED = "not-entitled"  #: PIPL 49: no interest of their own, or the patient arranged otherwise
    KEPT_BY_LAW = "kept-by-law"  #: PIPL 47(2): a period of law has not run out
    SECRET_BY_LAW = "secret-by-law"  # noqa: S105  (PIPL 18, 35: law keeps it secret. The word is none.)
    NOT_HELD = "not-held"
    NOT_WRONG = "not-wrong"  #: PIPL 46: it was verified and is right
    RIGHTS_OF_OTHERS = "rights-of-others"
    NOT_MET = "conditions-not-met"  #: PIPL 45(3), 47(1): the law's conditions are not there


#: What each kind may be refused for, beside not being identified or entitled.
GROUNDS = MappingProxyType(
    {
        Kind.COPY: (Ground.SECRET_BY_LAW, Ground.NOT_HELD, Ground.RIGHTS_OF_OTHERS),
        Kind.PORTABILITY: (Ground.SECRET_BY_LAW, Ground.NOT_HELD, Ground.RIGHTS_OF_OTHERS, Ground.NOT_MET),
        Kind.CORRECTION: (Ground.NOT_WRONG, Ground.NOT_HELD, Ground.RIGHTS_OF_OTHERS),
        Kind.RESTRICTION: (Ground.KEPT_BY_LAW, Ground.RIGHTS_OF_OTHERS, Ground.NOT_MET),
        Kind.DELETION: (Ground.KEPT_BY_LAW, Ground.NOT_HELD, Ground.NOT_MET),
        Kind.EXPLANATION: (Ground.SECRET_BY_LAW, Ground.NOT_HELD),
    }
)


def grounds(kind: Kind, by: By) -> tuple[Ground, ...]:
    """On which grounds such a request may be refused."""
    entitled = () if by is By.SELF else (Ground.NOT_ENTITLED,)
    return (Ground.NOT_IDENTIFIED, *entitled, *GROUNDS[kind])


def may_ask(kind: Kind, by: By) -> bool:
    """Whether this may be asked for another. Next of kin may see, copy, correct and delete (PIPL 49(1)), and have it explained."""
    return by is not By.NEXT_OF_KIN or kind not in (Kind.PORTABILITY, Kind.RESTRICTION)


def is_late(due_on: date, answered: datetime | None, today: date) -> bool:
    """Whether it was, or has to be called, late. The last day itself is in time."""
    return (answered.date() if answered else today) > due_on
