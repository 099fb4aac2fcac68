"""Brings the console's catalogues up to date: ``python -m tools.catalogue``.

Every sentence that the templates and the code mark is in one of ``broker/console/locale/zh_Hans/*.po``; those that are new are added,
untranslated, to ``console.po``, and those that are gone are taken out. Prints what still wants a translation. A test asks that nothing does.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Mapping
from pathlib import Path

from babel.messages.catalog import Catalog
from babel.messages.extract import extract_from_dir
from babel.messages.pofile import read_po, write_po

CONSOLE = Path(__file__).resolve().parents[1] / "broker" / "console"
FOLDER = CONSOLE / "locale" / "zh_Hans"
#: Where sentences go that no catalogue has yet.
FIRST = FOLDER / "console.po"

_METHODS = [("**.py", "python"), ("templates/**.html", "jinja2.ext:babel_extract")]
_OPTIONS = {"templates/**.html": {"trimmed": "true", "silent": "false"}}


def marked() -> set[str]:
    """Every sentence that the console's files mark."""
    found = extract_from_dir(CONSOLE, _METHODS, _OPTIONS, keywords={"_": None, "gettext": None, "N_": None})
    return {message for _, _, message, _, _ in found if isinstance(message, str) and message}


def catalogues() -> dict[Path, Catalog]:
    """The catalogues by file."""
    return {file: read_po(io.BytesIO(file.read_bytes()), abort_invalid=True) for file in sorted(FOLDER.glob("*.po"))}


def written(sentences: Mapping[str, str]) -> bytes:
    """A catalogue's file: sorted, and without dates and places, so that two changes meet in few lines."""
    fresh = Catalog(locale="zh_Hans", project="data-sharing-broker", charset="utf-8", fuzzy=False)
    for sentence in sorted(sentences):
        fresh.add(sentence, sentences[sentence])
    out = io.BytesIO()
    write_po(out, fresh, width=150, omit_header=True, no_location=True, sort_output=True)
    return b'msgid ""\nmsgstr ""\n"Content-Type: text/plain; charset=utf-8\\n"\n"Language: zh_Hans\\n"\n\n' + out.getvalue().lstrip()


def main() -> int:
    """Bring the files up to date."""
    wanted, missing = marked(), set(marked())
    held: dict[Path, dict[str, str]] = {FIRST: {}}
    for file, found in catalogues().items():
        held[file] = {message.id: str(message.string) for message in found if message.id in wanted}
        missing -= held[file].keys()
    held[FIRST] |= dict.fromkeys(missing, "")
    for file, sentences in held.items():
        file.write_bytes(written(sentences))
    empty = sorted(sentence for sentences in held.values() for sentence, chinese in sentences.items() if not chinese)
    sys.stdout.write("".join(f"{sentence!r}\n" for sentence in empty) + f"{len(wanted)} sentences, {len(empty)} without Chinese\n")
    return 1 if empty else 0


if __name__ == "__main__":
    sys.exit(main())
