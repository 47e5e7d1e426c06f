"""The Celery broker: the hardened Redis transport of kombu, and the validation of messages."""
