"""Transcribes one audio source with a real-time service.

`worker.pipeline.run` runs the stages below. They are listed in the order in which data flows.
`worker.pipeline.session_sequence` opens a new session after a lost session.

1. `worker.storage.sources.download`  downloads the source to the local disk
2. `worker.audio.recording`           scans the source once and splits it into sections at the quietest points
3. `worker.audio.decoding.decode`     decodes each section to blocks of samples
4. `worker.audio.resample`            resamples to mono float32 at the sample rate of the session
5. `worker.audio.pcm_frames`              converts to frames of 16-bit PCM, as sent to the service
6. `worker.realtime.pacing`           computes the send time of each frame
7. `worker.realtime.client`           connects one Socket.IO session; `worker.realtime.session` is its state machine
8. `worker.realtime.commit_pairing`   pairs the committed messages that contain the same speech
9. `worker.session_timeline`          maps session time to file time
10. `worker.ledger.ledger`            stores each commit in Redis before the next step uses it
11. `worker.transcript`               converts commits to segments, merges sections, writes JSON, SRT, VTT, HTML etc.

`worker.server` is a self-hosted service with the same API and its own recognizer.
Only `tasks` imports Celery, never `worker`.
"""
