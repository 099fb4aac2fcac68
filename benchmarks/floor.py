"""The floor: the same rows read and sent with no token, policy, decryption, masking or log, by the same server and driver."""

from __future__ import annotations

import os
from contextlib import asynccontextmanager

from fastapi import FastAPI, Request, Response
from psycopg_pool import AsyncConnectionPool

from broker import edge

QUERY = "SELECT type, id, body FROM floor WHERE patient = %s ORDER BY type, id"


@asynccontextmanager
async def lifespan(app: FastAPI):
    async with AsyncConnectionPool(os.environ["FLOOR_DATABASE"], min_size=2, max_size=16, open=False, kwargs={"autocommit": True}) as pool:
        app.state.pool = pool
        yield


async def everything(request: Request, patient: str) -> Response:
    async with request.app.state.pool.connection() as connection:
        cursor = connection.cursor(binary=True)
        await cursor.execute(QUERY, (patient,), prepare=True)
        rows = await cursor.fetchall()
    entries = b",".join(b'{"fullUrl":"' + kind.encode() + b"/" + name.encode() + b'","resource":' + body + b"}" for kind, name, body in rows)
    return Response(b'{"resourceType":"Bundle","type":"searchset","entry":[' + entries + b"]}", media_type="application/fhir+json")


def app() -> FastAPI:
    """A pass-through endpoint: the broker's framework, edge and server, and nothing of what it does with the rows."""
    built = FastAPI(lifespan=lifespan, docs_url=None, redoc_url=None)
    edge.install(built)
    built.add_api_route("/{patient}", everything)
    return built
