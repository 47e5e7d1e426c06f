"""Connections to servers: proxies, certificates, and the reasons for which connections fail."""
