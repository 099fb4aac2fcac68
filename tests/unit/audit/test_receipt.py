"""Receipts against the published example."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from broker.audit import receipt
from broker.audit.note import NoteInvalid, SignatureInvalid, decode
from broker.audit.tree import ProofInvalid, inclusion_proof
from tests.factories.audit import VECTOR_ENTRIES, VERIFIER
from tests.unit.audit.test_note import CHECKPOINT
from tests.unit.audit.test_tree import node_of

RECEIPT = f"""c2sp.org/tlog-proof@v1
index 1
T7xQWBzpDnynYrCOz0colQi3o2H3PGMQ+mpt/3cQki8=
yema+s37hz2LpZ8Fg77kP58YrWkfmYmd+shbLctEGbg=

{CHECKPOINT}"""


def test_the_published_example_byte_for_byte():
    assert receipt.write(1, inclusion_proof(1, 3, node_of(VECTOR_ENTRIES)), CHECKPOINT) == RECEIPT
    assert receipt.check(RECEIPT, VECTOR_ENTRIES[1], VERIFIER).size == 3


def test_extra_data_is_passed_over():
    assert receipt.check(RECEIPT.replace("@v1\n", "@v1\nextra AAE=\n"), VECTOR_ENTRIES[1], VERIFIER).size == 3


@pytest.mark.parametrize("entry", [VECTOR_ENTRIES[0], VECTOR_ENTRIES[2], b""])
def test_it_proves_no_other_entry(entry):
    with pytest.raises(ProofInvalid):
        receipt.check(RECEIPT, entry, VERIFIER)


@given(st.integers(0, len(RECEIPT.encode()) * 8 - 1))
@settings(max_examples=300, deadline=None)
def test_any_flipped_bit_is_found(bit):
    data = bytearray(RECEIPT.encode())
    data[bit // 8] ^= 1 << bit % 8
    with pytest.raises((NoteInvalid, SignatureInvalid, ProofInvalid)):
        receipt.check(decode(bytes(data)), VECTOR_ENTRIES[1], VERIFIER)


@pytest.mark.parametrize(
    "text", ["", "\n\n", "c2sp.org/tlog-proof@v1\n\n", "c2sp.org/tlog-proof@v1\nindex 01\n\n", RECEIPT.replace("index 1", "index -1")]
)
def test_other_forms_are_refused(text):
    with pytest.raises(NoteInvalid):
        receipt.parse(text)
