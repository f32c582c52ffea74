"""Retry requests: which errors are retried, how long to wait, and when to stop requests to a host.

Retries of single requests happen here and nowhere else; whole blobs are retried by the engine. The rules
are those that go-containerregistry, regclient and oras agree on where they agree, and the strictest where they do not:
full jitter, Retry-After in both forms and never shortened, nothing sent to a host before its Retry-After is over.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Final, TypeVar

from mirrorsync.environment import Clock
from mirrorsync.errors import ConnectionRefused, MirrorsyncError, RateLimited, RegistryUnavailable
from mirrorsync.events import Observer, Retrying
from mirrorsync.stores.registry.http.messages import Answer

if TYPE_CHECKING:
    import tenacity

T = TypeVar("T")

ATTEMPTS: Final = 5
BACKOFF_SECONDS: Final = 0.5  # the first wait is between 0 and this; it doubles each time (full jitter)
LONGEST_BACKOFF_SECONDS: Final = 30.0
LONGEST_RETRY_AFTER_SECONDS: Final = 120.0  # if a host asks for more, the run goes on without it
RETRY_BUDGET_SECONDS: Final = 900.0  # of failing requests, for each host and run
# A registry that is just being restarted refuses connections; one that is down or mistyped does so too, so once only.
REFUSED_ATTEMPTS: Final = 2
RESTART_SECONDS: Final = 2.0
DOWN_SECONDS: Final = 30.0  # how long a host that was unreachable is not asked again

# 408 and 429 by their definition; 499 and 522 are answers of proxies in front of registries to a broken connection (the
# list of go-containerregistry, and 503, which regclient leaves out). Never: other statuses of 4xx.
RETRIED_STATUSES: Final = frozenset({408, 429, 499, 500, 502, 503, 504, 522})


class Transient(Exception):
    """An error that is worth a retry; `failure` is raised if the retries fail too.

    retry_after: seconds that the server asked for, or None. silent: the host did not answer at all. attempts: how often
    at most a request that fails like this is sent, None = as often as any. sent: when the request was, by the clock of
    the run, None = when it was tried; it may have waited for its turn.
    final: if the retries fail too, the host is not asked again in this run.
    """

    final = False

    def __init__(
        self,
        failure: MirrorsyncError,
        *,
        status: int = 0,
        retry_after: float | None = None,
        silent: bool = False,
        attempts: int | None = None,
        sent: float | None = None,
    ) -> None:
        super().__init__(failure.message)
        self.failure = failure
        self.status = status
        self.retry_after = retry_after
        self.silent = silent
        self.attempts = attempts
        self.sent = sent


def unanswered(failure: MirrorsyncError, *, silent: bool, sent: float | None = None) -> Transient | MirrorsyncError:
    """Return the exception for a request without a complete answer: a Transient if a retry may help."""
    if isinstance(failure, ConnectionRefused):
        return Transient(failure, silent=silent, retry_after=RESTART_SECONDS, attempts=REFUSED_ATTEMPTS, sent=sent)
    return Transient(failure, silent=silent, sent=sent) if failure.transient else failure


def retry_after(answer: Answer, now: float) -> float | None:
    """Return the seconds that a Retry-After header asks for (RFC 9110, 10.2.3: seconds or a date), None without one.

    now: the time, in seconds since the epoch; a date is relative to the answer's own Date if it has one, so that
    a wrong clock of this machine does not matter.
    """
    text = answer.header("Retry-After").strip()
    if text.isascii() and text.isdigit():
        return float(text[:9])
    moment = _date(text)
    if moment is None:
        return None
    started = _date(answer.header("Date"))
    return max(0.0, moment - (now if started is None else started))


def _date(text: str) -> float | None:
    from email.utils import parsedate_to_datetime  # takes a few ms, and is needed only for a date

    try:
        return parsedate_to_datetime(text).timestamp() if text else None
    except (ValueError, OverflowError, TypeError):
        return None


class Gate:
    """Whether a host may be asked now: all requests wait if it asked for a pause, or fail at once if it is down."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._open_at = 0.0
        self._closed_until = 0.0
        self._closed_by: MirrorsyncError | None = None

    def delay(self) -> float:
        """Return how many seconds to wait before asking. Raises: the error that closed the gate, while it is closed."""
        if self._open_at == 0.0 and self._closed_by is None:
            return 0.0
        now = self._clock.monotonic()
        closed_by = self._closed_by
        if closed_by is not None:
            if now < self._closed_until:
                raise closed_by.with_()
            self._closed_by = None
        if now >= self._open_at:
            self._open_at = 0.0
            return 0.0
        return self._open_at - now

    def pause(self, seconds: float) -> None:
        """Delay all requests for so many seconds."""
        self._open_at = max(self._open_at, self._clock.monotonic() + seconds)

    def close(self, error: MirrorsyncError, seconds: float) -> None:
        """Fail every request with a copy of `error` for so many seconds."""
        self._closed_until = self._clock.monotonic() + seconds
        self._closed_by = error


class Budget:
    """The time that one host may cost in requests that fail: retries of all requests share it.

    Each request is tried a few times, and each try may take minutes: a host that never answers, or never completely,
    would delay a run of thousands of requests for days. Failing requests that run side by side count once.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._opened = clock.monotonic()
        self._counted_until = self._opened
        self._spent = 0.0

    def spend(self, begun: float) -> None:
        """Record that a request, begun at that time, has failed now."""
        now = self._clock.monotonic()
        self._spent += max(0.0, now - max(begun, self._counted_until))
        self._counted_until = max(self._counted_until, now)

    @property
    def exhausted(self) -> bool:
        """Whether it is used up: RETRY_BUDGET_SECONDS and a tenth of the time that has passed, for runs of days."""
        return self._spent > RETRY_BUDGET_SECONDS + (self._clock.monotonic() - self._opened) / 10

    def explained(self, failure: MirrorsyncError) -> MirrorsyncError:
        """Return the failure, with the reason why it is not retried."""
        minutes = max(1, round(self._spent / 60))
        return failure.with_(
            message=f"{failure.message} (requests to this host have failed for {minutes} minutes: no more retries)"
        )


class Persistence:
    """Retries requests, for both engines. attempts: how often in all, at least once.

    The first attempt goes without tenacity: its bookkeeping costs 66 microseconds a call, a fifth of a whole HEAD.
    """

    def __init__(self, clock: Clock, gate: Gate, observer: Observer, attempts: int = ATTEMPTS) -> None:
        self._clock = clock
        self._gate = gate
        self._observer = observer
        self._attempts = attempts
        self._budget = Budget(clock)

    async def ask(self, what: str, attempt: Callable[[], Awaitable[T]]) -> T:
        """Return what `attempt` returns, retrying while it raises Transient. what: the action, for messages.

        Raises: the failure inside the last Transient; RateLimited if a host asks for a pause over the limit.
        """
        begun = self._clock.monotonic()
        try:
            return await self._once(attempt)
        except Transient as error:
            first = [self._judged(error, begun)]

        async def again() -> T:
            if first:
                raise first.pop()
            begun = self._clock.monotonic()
            try:
                return await self._once(attempt)
            except Transient as error:
                raise self._judged(error, begun) from error.failure

        import tenacity  # imported late: a run without failures starts 4 ms sooner

        try:
            return await tenacity.AsyncRetrying(sleep=self._clock.asleep, **self._policy(what))(again)
        except Transient as error:
            raise self._given_up(error) from error.__cause__

    def call(self, what: str, attempt: Callable[[], T]) -> T:
        """Do the same as `ask` for a blocking `attempt`."""
        pending: list[Transient] = []

        def again() -> T:
            if pending:
                raise pending.pop()
            while delay := self._gate.delay():
                self._clock.sleep(delay)
            begun = self._clock.monotonic()
            try:
                return attempt()
            except Transient as error:
                raise self._judged(error, begun) from error.failure

        try:
            return again()
        except Transient as error:
            pending.append(error)
        import tenacity

        try:
            return tenacity.Retrying(sleep=self._clock.sleep, **self._policy(what))(again)
        except Transient as error:
            raise self._given_up(error) from error.__cause__

    def noted(self, error: Transient) -> MirrorsyncError:
        """Return the error for callers that cannot retry here but may start over; a Retry-After is respected.

        Raises: RateLimited if it asks for a longer one than the limit.
        """
        judged = self._judged(error, self._clock.monotonic())
        if judged.retry_after:
            self._gate.pause(judged.retry_after)
        return judged.failure if judged.failure.transient else RegistryUnavailable(judged.failure.message)

    def end(self, error: MirrorsyncError) -> MirrorsyncError:
        """Fail all later requests to the host with `error`, which concerns the host as a whole; return a copy of it."""
        self._gate.close(error, math.inf)
        return error.with_()

    async def _once(self, attempt: Callable[[], Awaitable[T]]) -> T:
        while delay := self._gate.delay():
            await self._clock.asleep(delay)
        return await attempt()

    def _judged(self, error: Transient, begun: float) -> Transient:
        """Return `error`, or raise if it must not be retried. begun: when the request was tried."""
        self._budget.spend(begun if error.sent is None else error.sent)
        if self._budget.exhausted:
            raise self._budget.explained(error.failure) from error.failure
        if error.retry_after is None or error.retry_after <= LONGEST_RETRY_AFTER_SECONDS:
            return error
        failure = error.failure
        if error.status == 429:
            failure = RateLimited(
                f"rate limited: the registry asks to retry after {error.retry_after:.0f} seconds: {failure.message}",
                remedy=failure.remedy,
            )
        self._gate.close(failure, error.retry_after)
        raise failure.with_()

    def _given_up(self, error: Transient) -> MirrorsyncError:
        if error.final:
            return self.end(error.failure)
        if error.silent:
            self._gate.close(error.failure, DOWN_SECONDS)
            return error.failure.with_()
        return error.failure

    def _policy(self, what: str) -> dict[str, Any]:
        import tenacity

        return {
            "retry": tenacity.retry_if_exception_type(Transient),
            "stop": self._is_last,
            "wait": _wait,
            "before_sleep": lambda state: self._announce(what, state),
            "reraise": True,
        }

    def _is_last(self, state: tenacity.RetryCallState) -> bool:
        error = state.outcome.exception() if state.outcome else None
        most = error.attempts if isinstance(error, Transient) and error.attempts else self._attempts
        return state.attempt_number >= min(self._attempts, most)

    def _announce(self, what: str, state: tenacity.RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        delay = state.next_action.sleep if state.next_action else 0.0
        if not isinstance(error, Transient):
            return
        if error.status == 429 or error.retry_after:
            self._gate.pause(delay)
        self._observer(Retrying(what, state.attempt_number, delay, error.failure.message))


def _wait(state: tenacity.RetryCallState) -> float:
    """Return the seconds to wait: the server's Retry-After with some jitter added, or a full-jitter backoff."""
    import tenacity

    error = state.outcome.exception() if state.outcome else None
    if isinstance(error, Transient) and error.retry_after is not None:
        return error.retry_after + tenacity.wait_random(0, 1)(state)
    return tenacity.wait_random_exponential(multiplier=BACKOFF_SECONDS, max=LONGEST_BACKOFF_SECONDS)(state)
