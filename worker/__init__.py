"""One audio source in, one transcript out.

The stages, in the order the data flows (`worker.pipeline` runs them, `worker.section` follows a lost session by
another):

1. `worker.storage.fetch`     the source on the local disk, wherever it lies
2. `worker.audio.recording`   looked through once and cut into sections at the quietest points (`sections`, `skipping`)
3. `worker.audio.decode`      blocks of samples of each section
4. `worker.audio.resample`    mono float32 blocks at the wire rate, state kept between blocks
5. `worker.audio.frames`      16-bit PCM frames as they travel
6. `worker.realtime.pacing`   when each frame may leave
7. `worker.realtime.client`   one Socket.IO session, driven by `worker.realtime.session`
8. `worker.realtime.pairing`  the service's committed messages, each piece of speech once
9. `worker.timeline`          session seconds to file seconds
10. `worker.storage.ledger`   each commit durable in Redis before it counts
11. `worker.transcript`       commits to segments, sections merged, segments to JSON, SRT, VTT, HTML and more

`worker.server` is the other end of stages 6 to 8: the same endpoint, self-hosted, with a recognizer.
Nothing in here knows of Celery; `tasks` does.
"""
