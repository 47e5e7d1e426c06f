"""One audio source in, one transcript out.

The stages, in the order the data flows (`worker.pipeline` runs them, `worker.section` follows a lost session by
another):

1. `worker.audio.decode`      opens the source and yields blocks of samples
2. `worker.audio.resample`    mono float32 blocks at the wire rate, state kept between blocks
3. `worker.audio.frames`      16-bit PCM frames as they travel
4. `worker.realtime.pacing`   when each frame may leave
5. `worker.realtime.client`   one Socket.IO session, driven by `worker.realtime.session`
6. `worker.realtime.pairing`  the service's committed messages, each piece of speech once
7. `worker.timeline`          session seconds to file seconds
8. `worker.storage.ledger`    each commit durable in Redis before it counts
9. `worker.transcript`        commits to segments, segments to JSON, SRT, VTT and text

`worker.server` is the other end of stages 4 to 6: the same endpoint, self-hosted, with a recognizer.
Nothing in here knows of Celery; `tasks` does.
"""
