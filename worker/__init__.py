"""One audio source in, one transcript out.

The stages, in the order in which data flows. `worker.pipeline.run` runs them;
`worker.pipeline.session_sequence` opens a new session after a lost one.

1. `worker.storage.sources.download`  the source on the local disk, wherever it lies
2. `worker.audio.recording`           scanned once, and cut into sections at the quietest points
3. `worker.audio.decoding.decode`     blocks of samples of each section
4. `worker.audio.resample`            mono float32 blocks at the rate of the session
5. `worker.audio.frames`              16-bit PCM frames, as they are sent
6. `worker.realtime.pacing`           the time at which each frame may be sent
7. `worker.realtime.client`           one Socket.IO session, driven by `worker.realtime.session`
8. `worker.realtime.commit_pairing`   the service's committed messages, each piece of speech once
9. `worker.session_timeline`                  session seconds to file seconds
10. `worker.ledger.ledger`            each commit durable in Redis before it counts
11. `worker.transcript`               commits to segments, sections merged, segments to JSON, SRT, VTT, HTML and more

`worker.server` is the other end of stages 6 to 8: the same endpoint, self-hosted, with a recognizer.
Nothing in here knows of Celery; `tasks` does.
"""
