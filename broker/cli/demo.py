"""``broker demo``: the whole story on a hospital of its own, then a server to look around in."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Annotated

import typer
import uvicorn
from rich.console import Console

from broker.cli.serve import UnbufferedProtocol, ready_database, stop_on_sigterm
from broker.identity.access import NAMES_ZH, Role
from broker.settings import settings

if TYPE_CHECKING:
    from broker.demo.seed import Cast


def demo(
    port: Annotated[int, typer.Option(help="Port to serve on.", min=0, max=65535)] = 8000,
    once: Annotated[bool, typer.Option("--once", help="Stop after the story; exit 0 only if every step came out as told.")] = False,
) -> None:
    """Seed a hospital, play the whole story step by step, print addresses and logins, serve until stopped."""
    from broker.app import create_app, open_installation
    from broker.database import stop_embedded
    from broker.demo.client import Unexpected
    from broker.demo.seed import seed, write_credentials
    from broker.demo.story import Story
    from broker.demo.waiting import leave_waiting

    console = Console()
    console.print("[bold]信息资源共享与知情同意登记 · Data-sharing broker and consent registry[/]")
    ready_database()
    listener = uvicorn.Config("unused", host="127.0.0.1", port=port).bind_socket()
    base_url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    given = settings()
    # Whoever looks around has no app for every one of the cast: nobody needs a second factor here unless the settings say so, and whoever
    # adds one is asked for it.
    eased = {"second_factor_roles": "none", "emergency_second_factor": False, "step_up_minutes": 120}
    left = {name: value for name, value in eased.items() if name not in given.model_fields_set}
    chosen = given.model_copy(update={"base_url": base_url, "hospital": "renhe", **left})
    installation = open_installation(chosen)
    config = uvicorn.Config(
        create_app(installation), host="127.0.0.1", port=port, http=UnbufferedProtocol, log_level="warning", server_header=False, lifespan="on"
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, name="server", daemon=True)
    code = 1
    stop_on_sigterm()
    try:
        cast = seed(installation)
        thread.start()
        while not server.started:
            time.sleep(0.05)
        story = Story(installation, cast, base_url, console)
        try:
            story.play()
            story.standing_grants()
            leave_waiting(story)
            code = 0
        except Unexpected as error:
            console.print(f"[bold red]NOT AS TOLD[/] {error}", markup=True)
        path = chosen.var / "demo" / "credentials.json"
        write_credentials(path, base_url, cast, story.grants)
        if code == 0:
            console.print("\n[bold green]Every step came out as told. 各步骤均如所述。[/]")
        if not once:
            _looking_around(console, base_url, cast, path.as_posix())
            while thread.is_alive():
                thread.join(0.5)
    except KeyboardInterrupt:
        pass
    finally:
        server.should_exit = True
        if thread.ident is not None:
            thread.join(10)
        stop_embedded()
    raise typer.Exit(code)


def _looking_around(console: Console, base_url: str, cast: Cast, path: str) -> None:
    console.print(f"\n[bold]{base_url}/console/[/]  控制台 · the console, in Chinese and English", highlight=False)
    for one in cast.hospital["people"]:
        roles = sorted({held["role"] for held in one["roles"]})
        said = " ".join(f"{NAMES_ZH[Role(role)]} {role.replace('_', ' ')}" for role in roles)
        console.print(f"  {one['username']:<10} {cast.passwords[one['username']]:<18} {one['name']['zh']}  {said}", highlight=False, markup=False)
    console.print(
        f"  患者页面 {base_url}/console/patient，验证码由信息管理员生成 · a patient's own page; the information manager makes the code",
        highlight=False,
    )
    console.print(
        f"  二次验证在演示中不强制，可在 {base_url}/console/account/security 登记 · second factors are not demanded here; add one there",
        highlight=False,
    )
    console.print(f"\n[bold]{base_url}[/]  API /openapi.json · FHIR /fhir/metadata · log /log/checkpoint", highlight=False)
    console.print(f"clients' keys and everybody's passwords: {path} (mode 0600)", highlight=False)
    console.print("Ctrl+C stops.")


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(demo)
