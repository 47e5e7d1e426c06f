"""The time for which a service is remembered as one that can only be reached by polling."""

from __future__ import annotations

from worker.realtime.transport_memory import MAX_ENDPOINTS, RETRY_WEBSOCKET_S, TransportMemory


def test_an_endpoint_is_remembered_until_its_time_is_over() -> None:
    memory = TransportMemory()
    assert not memory.needs_polling("a", 100)
    memory.remember_polling("a", 100)
    assert memory.needs_polling("a", 100 + RETRY_WEBSOCKET_S - 1)
    assert not memory.needs_polling("b", 101)
    assert not memory.needs_polling("a", 100 + RETRY_WEBSOCKET_S)


def test_a_forgotten_endpoint_gets_a_websocket_again() -> None:
    memory = TransportMemory()
    memory.remember_polling("a", 0)
    memory.forget("a")
    memory.forget("never seen")
    assert not memory.needs_polling("a", 1)


def test_the_number_of_endpoints_is_limited() -> None:
    memory = TransportMemory()
    for number in range(MAX_ENDPOINTS + 5):
        memory.remember_polling(str(number), 0)
    assert not memory.needs_polling("4", 1)
    assert memory.needs_polling("5", 1)
