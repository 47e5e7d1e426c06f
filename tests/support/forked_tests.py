"""Runs the collected tests in several forks of this process.

pytest-xdist collects again in each of its processes. For this suite a collection costs 13 seconds of CPU, and three
times as much in a new clone, where no module is compiled yet: a fifth of the CPU time of all tests. Forks share the
collected tests, the imported modules and their memory.

A process gets one test module after another, so that the servers of a module start once. Modules run in the order of
their names: acceptance and integration tests, which wait, come before the many short unit tests, which fill the gaps at
the end. A process that crashes fails the test that it ran, and another process takes over the rest of the module.
"""

from __future__ import annotations

import gc
import itertools
import multiprocessing
import os
import time
import warnings
from collections import deque
from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkProcess
from pathlib import Path
from typing import Any

import pytest
from _pytest.config import create_terminal_writer

END_TIMEOUT_S = 60.0
"""Maximum seconds until the processes have ended their tests and servers after an interruption."""
_FORK = multiprocessing.get_context("fork")


class ForkedTests:
    """A pytest plugin that runs the tests in `processes` forks. Other plugins, such as the summary, receive the reports
    of all tests in this process as usual."""

    def __init__(self, processes: int) -> None:
        self.processes = processes

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool | None:
        failed = session.testsfailed and not session.config.option.continue_on_collection_errors
        if failed or session.config.option.collectonly or not session.items:
            return None  # as without this plugin
        if reporter := session.config.pluginmanager.getplugin("terminalreporter"):
            reporter.showfspath = False  # results of several files arrive in turn
        _Controller(session, self.processes).run()
        return True


@dataclass
class _Worker:
    """A fork. `module`: indices of the tests that it has not finished yet. `running`: the test that it runs."""

    process: ForkProcess
    connection: Connection
    module: deque[int] = field(default_factory=deque)
    running: int | None = None


class _Controller:
    """Distributes modules to forks, and passes their reports to the plugins."""

    def __init__(self, session: pytest.Session, processes: int) -> None:
        self._session = session
        self._processes = processes
        numbered = enumerate(session.items)
        self._modules = deque(
            [index for index, _ in tests] for _, tests in itertools.groupby(numbered, lambda test: test[1].path)
        )
        self._workers: dict[Connection, _Worker] = {}
        self._numbers = itertools.count()

    def run(self) -> None:
        # Otherwise each garbage collection of a fork writes to all objects, and so copies their memory.
        gc.collect()
        gc.freeze()
        try:
            for _ in range(min(self._processes, len(self._modules))):
                self._fork()
            while self._workers:
                for connection in wait(list(self._workers)):
                    assert isinstance(connection, Connection)
                    self._receive(self._workers[connection])
                if self._session.shouldfail or self._session.shouldstop:
                    self._modules.clear()
                    for worker in self._workers.values():
                        _send(worker.connection, None)
        finally:
            until = time.monotonic() + END_TIMEOUT_S
            for connection in self._workers:
                connection.close()
            for worker in self._workers.values():
                worker.process.join(max(0.0, until - time.monotonic()))
                worker.process.kill()
        if self._session.shouldfail:
            raise self._session.Failed(self._session.shouldfail)
        if self._session.shouldstop:
            raise self._session.Interrupted(self._session.shouldstop)

    def _fork(self) -> None:
        ours, theirs = _FORK.Pipe()
        number = next(self._numbers)
        others = [ours, *self._workers]
        process = _FORK.Process(target=_run_in_fork, args=(self._session, theirs, others, number))
        process.start()
        theirs.close()
        self._workers[ours] = _Worker(process, ours)

    def _receive(self, worker: _Worker) -> None:
        message = _receive(worker.connection)
        if message is None:
            self._ended(worker)
            return
        kind, *values = message
        hook = self._session.config.hook
        if kind == "next":
            worker.module.clear()
            if self._modules:
                worker.module.extend(self._modules.popleft())
            _send(worker.connection, list(worker.module) or None)
        elif kind == "start":
            worker.running = values[0]
        elif kind == "finish":
            self._finished(worker)
        elif kind == "report":
            report = hook.pytest_report_from_serializable(config=self._session.config, data=values[0])
            hook.pytest_runtest_logreport(report=report)
        else:
            text, category, filename, line, when, nodeid, location = values
            warning = warnings.WarningMessage(text, category, filename, line)
            arguments = {"when": when, "nodeid": nodeid, "location": location}
            hook.pytest_warning_recorded.call_historic(kwargs={"warning_message": warning, **arguments})

    def _finished(self, worker: _Worker) -> None:
        assert worker.running is not None
        item = self._session.items[worker.running]
        item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
        if worker.running in worker.module:
            worker.module.remove(worker.running)
        worker.running = None

    def _ended(self, worker: _Worker) -> None:
        """A process has ended. If this was no regular end, fail its test, and start another process."""
        worker.connection.close()
        worker.process.join()
        del self._workers[worker.connection]
        if not worker.process.exitcode:
            return
        crash = f"the test process ended with exit code {worker.process.exitcode}"
        if worker.running is None:
            raise self._session.Interrupted(f"{crash} between two tests")
        item = self._session.items[worker.running]
        report = pytest.TestReport(item.nodeid, item.location, {}, "failed", crash, "call")
        item.ihook.pytest_runtest_logreport(report=report)
        self._finished(worker)
        if worker.module:
            self._modules.appendleft(list(worker.module))
        if self._modules:
            self._fork()


def _receive(connection: Connection) -> tuple[Any, ...] | None:
    """Return the next message of a fork, or None if the fork has ended."""
    try:
        message: tuple[Any, ...] = connection.recv()
    except (EOFError, ConnectionResetError):
        return None
    return message


def _send(connection: Connection, module: list[int] | None) -> None:
    try:
        connection.send(module)
    except BrokenPipeError:
        return  # the process has crashed; the controller reads the end of its connection next


# -- in the forks ------------------------------------------------------------------------------------------------------


def _run_in_fork(session: pytest.Session, connection: Connection, others: Iterable[Connection], number: int) -> None:
    """Run the tests of the modules that the controller sends."""
    for other in others:
        other.close()
    _separate(session.config, number)
    sender = _Sender(session.config, connection)
    session.config.pluginmanager.register(sender, "forked-sender")
    sender.started = True
    try:
        for index, following in _with_next(_tests(connection)):
            item, nextitem = session.items[index], None if following is None else session.items[following]
            connection.send(("start", index))
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=nextitem)
            connection.send(("finish", index))
            if session.shouldfail or session.shouldstop:
                break
    except (KeyboardInterrupt, BrokenPipeError, EOFError):
        return  # the controller has ended, or gets the same signal
    finally:
        session._setupstate.teardown_exact(None)


def _tests(connection: Connection) -> Generator[int]:
    """Ask the controller for modules, and return their tests until it sends None."""
    while True:
        connection.send(("next",))
        module = connection.recv()
        for index in module or ():
            if connection.poll():  # None: the run ends early
                return
            yield index
        if module is None:
            return


def _with_next(indices: Iterable[int]) -> Iterator[tuple[int, int | None]]:
    """Return each test with the test that follows, or with None for the last one: fixtures that the following test
    needs are not torn down."""
    current, following = itertools.tee(indices)
    next(following, None)
    return itertools.zip_longest(current, following)


def _separate(config: pytest.Config, number: int) -> None:
    """Give this fork its own captured output and temporary folder, and stop its writing to the terminal."""
    capture: Any = config.pluginmanager.getplugin("capturemanager")
    capture.stop_global_capturing()
    nothing = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115 - open until the process ends
    os.dup2(nothing.fileno(), 1)  # threads that outlive their test would print between the dots of the results
    capture.start_global_capturing()
    capture.suspend_global_capture(in_=False)
    factory: Any = config._tmp_path_factory  # type: ignore[attr-defined]
    factory._basetemp = factory.getbasetemp() / f"process-{number}"
    factory._basetemp.mkdir(mode=0o700)
    if reporter := config.pluginmanager.getplugin("terminalreporter"):
        reporter._tw = create_terminal_writer(config, nothing)


class _Sender:
    """Sends reports and warnings to the controller. `started`: False while pytest repeats the warnings before the fork,
    which the controller has already."""

    def __init__(self, config: pytest.Config, connection: Connection) -> None:
        self._config = config
        self._connection = connection
        self.started = False

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        data = self._config.hook.pytest_report_to_serializable(config=self._config, report=report)
        self._connection.send(("report", data))

    def pytest_warning_recorded(
        self, warning_message: warnings.WarningMessage, when: str, nodeid: str, location: tuple[str, int, str] | None
    ) -> None:
        if not self.started:
            return
        message = warning_message
        values = (str(message.message), message.category, message.filename, message.lineno)
        self._connection.send(("warning", *values, when, nodeid, location))
