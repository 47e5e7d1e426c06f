"""The Celery settings that the design depends on."""

from __future__ import annotations

import pytest

from tasks.app import make_app
from tasks.celery_config import for_settings
from worker.settings import load


def test_settings_that_the_design_depends_on() -> None:
    app = make_app(load({}, worker_sessions=12, queue="calls"))
    conf = app.conf
    assert conf.task_acks_late
    assert conf.worker_prefetch_multiplier == 1
    assert (conf.worker_pool, conf.worker_concurrency, conf.task_default_queue) == ("threads", 12, "calls")
    assert conf.accept_content == ["json"]
    assert conf.broker_connection_max_retries is None
    assert conf.broker_transport_options["visibility_timeout"] == 43200


def test_every_setting_is_one_celery_knows() -> None:
    from celery.app.defaults import NAMESPACES, flatten

    known = {name for name, _ in flatten(NAMESPACES)}
    assert not [name for name in for_settings(load({})) if name not in known]


@pytest.mark.parametrize(
    ("redis", "broker"),
    [
        ("redis://h:1/2", "redis://h:1/2"),
        ("rediss://:p@h/0", "rediss://:p@h:6379/0"),
        ("valkey://h", "redis://h:6379/0"),
        ("redis://h?db=3", "redis://h:6379/3"),
        ("redis://[::1]/1", "redis://[::1]:6379/1"),
        ("sentinel://u:p@a,b:1/main/2", "sentinel://a:26379/2;sentinel://b:1/2"),
        ("unix:///run/r.sock?db=3", "redis+socket:///run/r.sock?virtual_host=3"),
        ("unix://:p@/run/r.sock", "redis+socket://:p@/run/r.sock?virtual_host=0"),
    ],
)
def test_the_broker_s_form_of_the_address(redis: str, broker: str) -> None:
    assert for_settings(load({}, redis_url=redis))["broker_url"] == broker
