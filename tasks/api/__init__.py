"""The HTTP API (`stt-batch api`): submits jobs and follows them over HTTP, on the same ledger as all other producers.

Needs the extra `api` (FastAPI, uvicorn and python-multipart).
"""
