"""Harbor's own API: creates the project that a push needs, where the spec says so (`create_repository`)."""

from __future__ import annotations

import json
import threading
from typing import Final

from mirrorsync.errors import Denied, MirrorsyncError, RegistryFailure
from mirrorsync.events import Noticed, Observer
from mirrorsync.stores.registry.http.answers import failure
from mirrorsync.stores.registry.http.client import Client
from mirrorsync.stores.registry.http.messages import Request
from mirrorsync.stores.registry.http.scopes import with_password

_JSON: Final = {"Content-Type": "application/json", "Accept": "application/json"}
_CONFLICT: Final = 409  # the project is there
_NO_API: Final = frozenset({301, 302, 303, 307, 308, 400, 404, 405, 501})


class Projects:
    """Creates projects at one Harbor: the first component of a repository's name. host: as references name it."""

    def __init__(self, client: Client, host: str, observer: Observer) -> None:
        self._client = client
        self._host = host
        self._observer = observer
        self._settled: dict[str, bool | MirrorsyncError] = {}  # by project: made, or there before, or why not
        self._lock = threading.Lock()

    def made(self, repository: str) -> bool:
        """Tell whether this run has made the project of a repository."""
        return self._settled.get(_project(repository)) is True

    def make(self, repository: str, *, after: bool) -> bool:
        """Make the project of a repository, private; tell whether a write that was refused may work now. Blocking.

        Each project is made once in a run, however many ask for it. after: what `made` said before the write. False: it
        was there already, and the write was refused for another reason. Raises: Denied, RegistryFailure when it cannot
        be made.
        """
        project = _project(repository)
        with self._lock:
            if project not in self._settled:
                try:
                    self._settled[project] = self._post(project, repository)
                except (Denied, RegistryFailure) as error:
                    self._settled[project] = error
            settled = self._settled[project]
        if isinstance(settled, MirrorsyncError):
            raise type(settled)(settled.message, remedy=settled.remedy)
        return settled and not after

    def _post(self, project: str, repository: str) -> bool:
        doing = f"creating project {project}"
        body = json.dumps({"project_name": project, "metadata": {"public": "false"}}).encode()
        url = f"{self._client.url}/api/v2.0/projects"
        scopes = with_password(repository)
        known = _NO_API | {401, 403, _CONFLICT}
        answer = self._client.ask_blocking(Request("POST", url, scopes, _JSON, body, known=known, stays=True), doing)
        if answer.ok:
            self._observer(Noticed(self._host, f"project {project} was missing, and has been created"))
        if answer.ok or answer.status == _CONFLICT:
            return answer.ok
        told = failure(answer, doing).message
        if answer.status in (401, 403):
            raise Denied(told, remedy="create the project by hand, or use an account that may create projects")
        raise RegistryFailure(
            f"{told} (create_repository speaks the API of Harbor)",
            remedy="create the repository there by hand (ECR: aws ecr create-repository --repository-name NAME), and "
            "leave create_repository out",
        )


def _project(repository: str) -> str:
    return repository.partition("/")[0]
