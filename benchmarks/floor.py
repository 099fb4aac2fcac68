"""The floor: the same rows read and sent with no token, policy, decryption, masking or log, by the same server and driver."""

from __future__ import annotations

import os
from contextlib import asynccontextmanager

from psycopg_pool import AsyncConnectionPool
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

QUERY = "SELECT type, id, body FROM floor WHERE patient = %s ORDER BY type, id"


@asynccontextmanager
async def lifespan(app: Starlette):
    async with AsyncConnectionPool(os.environ["FLOOR_DATABASE"], min_size=2, max_size=16, open=False, kwargs={"autocommit": True}) as pool:
        app.state.pool = pool
        yield


async def everything(request: Request) -> Response:
    async with request.app.state.pool.connection() as connection:
        cursor = connection.cursor(binary=True)
        await cursor.execute(QUERY, (request.path_params["patient"],), prepare=True)
        rows = await cursor.fetchall()
    entries = b",".join(b'{"fullUrl":"' + kind.encode() + b"/" + name.encode() + b'","resource":' + body + b"}" for kind, name, body in rows)
    return Response(b'{"resourceType":"Bundle","type":"searchset","entry":[' + entries + b"]}", media_type="application/fhir+json")


app = Starlette(routes=[Route("/{patient}", everything)], lifespan=lifespan)
