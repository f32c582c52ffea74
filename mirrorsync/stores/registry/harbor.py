"""Harbor's own API: create the project that a push needs, if the spec allows it (`create_repository`)."""

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
_CONFLICT: Final = 409  # the project exists
_NO_API: Final = frozenset({301, 302, 303, 307, 308, 400, 404, 405, 501})


class Projects:
    """Creates projects at one Harbor: the first component of a repository's name. host: as in references."""

    def __init__(self, client: Client, host: str, observer: Observer) -> None:
        self._client = client
        self._host = host
        self._observer = observer
        self._outcomes: dict[str, bool | MirrorsyncError] = {}  # by project: whether it was created, or the error
        self._lock = threading.Lock()

    def created(self, repository: str) -> bool:
        """Return whether this run has created the project of a repository."""
        return self._outcomes.get(_project(repository)) is True

    def create(self, repository: str, *, after: bool) -> bool:
        """Create the project of a repository, private; return whether a rejected write may be retried now. Blocking.

        Each project is created once in a run, however many repositories need it. after: the result of `created` before
        the write. False: it already existed, and the write was rejected for another reason. Raises: Denied,
        RegistryFailure if it cannot be created.
        """
        project = _project(repository)
        with self._lock:
            if project not in self._outcomes:
                try:
                    self._outcomes[project] = self._post(project, repository)
                except (Denied, RegistryFailure) as error:
                    self._outcomes[project] = error
            outcome = self._outcomes[project]
        if isinstance(outcome, MirrorsyncError):
            raise outcome.with_()
        return outcome and not after

    def _post(self, project: str, repository: str) -> bool:
        doing = f"creating project {project}"
        body = json.dumps({"project_name": project, "metadata": {"public": "false"}}).encode()
        url = f"{self._client.url}/api/v2.0/projects"
        scopes = with_password(repository)
        known = _NO_API | {401, 403, _CONFLICT}
        answer = self._client.ask_blocking(Request("POST", url, scopes, _JSON, body, known=known, stays=True), doing)
        if answer.ok:
            # Before another attempt begins: a token that was asked for earlier has no rights in the new project.
            self._client.forget_tokens()
            self._observer(Noticed(self._host, f"created the missing project {project}"))
        if answer.ok or answer.status == _CONFLICT:
            return answer.ok
        message = failure(answer, doing).message
        if answer.status in (401, 403):
            raise Denied(message, remedy="create the project by hand, or use an account that may create projects")
        raise RegistryFailure(
            f"{message} (create_repository uses the API of Harbor)",
            remedy="create the repository by hand (ECR: aws ecr create-repository --repository-name NAME), and leave "
            "create_repository out",
        )


def _project(repository: str) -> str:
    return repository.partition("/")[0]
