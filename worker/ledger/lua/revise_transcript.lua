-- Replaces the transcript of a job that has ended, if it is still the one with the SHA-1 `before`. It keeps its expiry.
-- Returns 1, 0 if another client has replaced it, or -1 if there is no transcript.
-- ARGV: before, document
local transcript = KEYS[6]
local before, document = unpack(ARGV)
local current = redis.call('GET', transcript)
if not current then return -1 end
if redis.sha1hex(current) ~= before then return 0 end
redis.call('SET', transcript, document, 'KEEPTTL')
return 1
