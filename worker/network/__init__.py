"""The way to servers: proxies, certificates, and the reasons of failed connections."""
