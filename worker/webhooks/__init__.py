"""Webhooks: outbox, schedule of deliveries and the HTTP request."""
