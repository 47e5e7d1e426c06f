"""The names of all commands, where their code is, and their short help."""

from __future__ import annotations

from typing import Final

COMMANDS: Final = {
    "run": ("run.command:command", "Transcribe files and folders on this machine."),
    "studio": ("studio:command", "Transcribe in the browser, on this machine."),
    "submit": ("submit:command", "Queue files, folders, manifests and addresses for running workers."),
    "watch": ("watch.watch:command", "Transcribe files that arrive in a folder."),
    "status": ("status:command", "Show jobs and batches."),
    "list": ("status:list_", "List the newest batches."),
    "cancel": ("control:cancel", "Cancel jobs and batches."),
    "pause": ("control:pause", "Pause jobs and batches."),
    "resume": ("control:resume", "Resume paused jobs and batches, or a paused API key."),
    "retry": ("control:retry", "Run failed, incomplete and cancelled jobs again."),
    "export": ("export:command", "Write finished transcripts in other formats or to another place."),
    "apply": ("apply:command", "Add corrections from a transcript page to the JSON transcripts."),
    "plan": ("plan:command", "Estimate a batch: hours, sessions, time, cost, failures."),
    "worker": ("worker:command", "Run the jobs in the queue."),
    "intake": ("intake:command", "Take jobs from the intake stream (every worker does this too)."),
    "server": ("server:command", "Serve the real-time API with the embedded recognizer."),
    "api": ("api:command", "Serve the HTTP API: submit jobs, follow them, read transcripts."),
    "webhooks": ("webhooks:command", "List undelivered webhooks; send dead letters again."),
    "delete": ("delete:command", "Delete jobs with everything that they left behind."),
    "ledger": ("ledger:command", "Check the records in Redis, and repair them."),
    "doctor": ("doctor:command", "Check settings, Redis, the service, outputs, disk and clock."),
    "config": ("config:command", "Show each setting with its value and its origin."),
    "schema": ("schema:command", "Print the JSON Schema of the transcripts."),
    "health": ("health:command", "Check whether a worker or server on this machine is alive, or ready."),
    "completion": ("completion:command", "Print the completion script for bash, zsh or fish."),
}
"""Name of each command -> its module below `tasks.cli` with the attribute of the click command, and its short help. The
help of the group is here, because it would otherwise import all commands: 1.0 instead of 0.1 CPU seconds."""
