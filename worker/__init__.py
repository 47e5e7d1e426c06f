"""Transcribes one audio source with a real-time service.

`worker.pipeline.run` runs the stages below, in the order in which data flows.
`worker.pipeline.session_sequence` opens a new session after a lost one.

1. `worker.storage.sources.download`  downloads the source to the local disk
2. `worker.audio.recording`           scans it once and splits it into sections at the quietest points
3. `worker.audio.decoding.decode`     decodes each section to blocks of samples
4. `worker.audio.resample`            resamples to mono float32 at the rate of the session
5. `worker.audio.frames`              16-bit PCM frames, as sent to the service
6. `worker.realtime.pacing`           computes the send time of each frame
7. `worker.realtime.client`           connects one Socket.IO session; `worker.realtime.session` is its state machine
8. `worker.realtime.commit_pairing`   pairs the committed messages that repeat the same speech
9. `worker.session_timeline`          maps session time to file time
10. `worker.ledger.ledger`            stores each commit in Redis before it counts
11. `worker.transcript`               commits to segments, merged sections, and output as JSON, SRT, VTT, HTML and more

`worker.server` is a self-hosted service with the same API and its own recognizer.
Only `tasks` imports Celery, never `worker`.
"""
