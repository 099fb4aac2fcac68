"""Whether a token's bearer is still in good standing: one query, asked at each use and never cached."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

#: One row, of one word and an organisation id: ``good``, or why not. No row: we know no such token.
#: An organisation is as suspended as any that it belongs to; UNION ends the walk should a circle ever be stored.
STANDING = """
WITH RECURSIVE above (id, parent_id, status) AS (
    SELECT o.id, o.parent_id, o.status FROM organization o JOIN client c ON c.organization_id = o.id WHERE c.id = %(client)s
    UNION
    SELECT o.id, o.parent_id, o.status FROM organization o JOIN above ON o.id = above.parent_id
)
SELECT CASE WHEN t.revoked_at IS NOT NULL THEN 'token-revoked'
            WHEN c.status <> 'active' OR EXISTS (SELECT FROM above WHERE status <> 'active') THEN 'caller-suspended'
            WHEN t.person_id IS NOT NULL AND p.status IS DISTINCT FROM 'active' THEN 'caller-suspended'
            ELSE 'good' END AS standing,
       c.organization_id, c.encryption_jwk
FROM token t JOIN client c ON c.id = t.client_id LEFT JOIN person p ON p.id = t.person_id
WHERE t.jti = %(jti)s AND t.client_id = %(client)s AND t.grant_id = %(grant)s
"""


def parameters(claims: Mapping[str, Any]) -> dict[str, str]:
    """Parameters of STANDING for a token's verified claims."""
    return {"jti": claims["jti"], "client": claims["client_id"], "grant": claims["grant"]}
